/** What wan_ingress learns from a packet's timestamp (bpf/path/delay.h). World: rig.ts; the peer's clock is set by hand. */
import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import { openMap } from '../../agent/kernel/bpf-map.ts'
import { monotonicNs } from '../../agent/kernel/native.ts'
import {
  ABI_DELAY_BUCKET_US,
  ABI_DELAY_BUCKETS,
  ABI_TRANSIT_EPOCH_SHIFT,
  bundleCodec,
  type PathState,
} from '../../schema/abi.gen.ts'
import { u32Codec } from '../../schema/codec.ts'
import { esp, ip, patched } from './build.ts'
import { type MpFields, mp, outer } from './mp.ts'
import { NODE, PEER, Rig, SID, WAN } from './rig.ts'

const rig = new Rig(['wan'])
beforeEach(() => rig.reset())
afterAll(() => rig[Symbol.dispose]())

const SECOND = 1_000_000
const HOUR = 3600 * SECOND
const modulo = (us: number) => us >>> 0
const epochNow = () => Number(monotonicNs() >> BigInt(ABI_TRANSIT_EPOCH_SHIFT)) + 2
const payload = ip({ src: PEER, dst: NODE }, esp())

function frame(path: 0 | 1, transitUs: number, fields: MpFields = {}) {
  const now = Number((monotonicNs() / 1000n) & 0xffffffffn)
  const header = { session: SID, path, timestampUs: modulo(now - transitUs), ...fields }
  const { local, remote } = WAN[path === 0 ? 4 : 6]
  return outer({ src: remote, dst: local }, mp(header, payload))
}

/** A packet that took about `transitUs`, on a path that knows `before`; what the path knows then. Within one epoch, which `before` may name. */
function arrives(before: (epoch: number) => Partial<PathState>, transitUs: number, fields: MpFields = {}): PathState {
  for (;;) {
    const epoch = epochNow()
    rig.setState(SID, { lastRxNs: 0n, ...before(epoch) })
    expect(rig.run('wan', frame(0, transitUs, fields)).drops).toEqual({})
    const state = rig.maps.pathState.get(SID)
    if (state && epochNow() === epoch) return state
  }
}

const known =
  (transitUs: number, more: Partial<PathState> = {}) =>
  (epoch: number) => ({
    transitUs: modulo(transitUs),
    transitNewestUs: modulo(transitUs),
    transitLastUs: modulo(transitUs),
    transitEpoch: epoch,
    ...more,
  })

/** From the declaration of DELAY_BUCKET_US, by counting. */
function bucketOf(delayUs: number): number {
  let bucket = 0
  while (bucket < ABI_DELAY_BUCKETS - 1 && delayUs >= ABI_DELAY_BUCKET_US * 2 ** bucket) bucket++
  return bucket
}

describe('the first packet', () => {
  it.each([
    ['whatever the two clocks are', -5 * HOUR],
    ['also where a transit is about 0', 0],
  ])('sets the least, %s', (_name, transitUs) => {
    const state = arrives(() => ({}), transitUs)
    expect(modulo(state.transitUs - transitUs)).toBeLessThan(5 * SECOND)
    expect(state).toMatchObject({ transitNewestUs: state.transitUs, transitLastUs: state.transitUs, jitterUs: 0 })
    expect(state.delay).toEqual([1, ...Array(ABI_DELAY_BUCKETS - 1).fill(0)])
  })
})

describe.each([
  ['of a clock behind', 77 * SECOND],
  ['of a clock far ahead', -HOUR / 2],
  ['across the wrap of 2^32', 2 ** 32 - 4 * SECOND],
])('transits %s', (_name, base) => {
  it.each([
    0, 100, 200, 400, 900, 1_900, 3_900, 7_900, 15_000, 31_000, 63_000, 127_000, 255_000, 511_000, 1_020_000, 9_000_000,
  ])('count a delay of %i µs and more where it belongs', delayUs => {
    const state = arrives(known(base), base + delayUs)
    const delay = modulo(state.transitLastUs - state.transitUs)
    expect(delay).toBeGreaterThanOrEqual(delayUs)
    expect(state.transitUs).toBe(modulo(base))
    expect(state.delay.map((count, bucket) => (count ? bucket : -1)).filter(bucket => bucket >= 0)).toEqual([
      bucketOf(delay),
    ])
  })

  it('lower the least, and count as no delay', () => {
    const state = arrives(known(base), base - SECOND)
    expect(state.transitUs).toBe(state.transitLastUs)
    expect(state.transitNewestUs).toBe(state.transitLastUs)
    expect(state.delay[0]).toBe(1)
  })

  it('move the jitter by a sixteenth of the change, up and down', () => {
    for (const change of [40_000, -900_000]) {
      const { jitterUs, transitLastUs } = arrives(known(base, { jitterUs: 16_000 }), base + change)
      const by = modulo(Math.abs((transitLastUs - modulo(base)) | 0))
      expect(jitterUs).toBe(16_000 + by - 1000)
    }
  })
})

it('measures every bucket that there is', () => {
  const delays = Array.from({ length: 40 }, (_, n) => Math.floor(100 * 1.4 ** n))
  expect(new Set(delays.map(bucketOf)).size).toBe(ABI_DELAY_BUCKETS)
})

describe('the least', () => {
  const T = 500 * SECOND

  it('of the epoch before counts as long as the next one has none below', () => {
    const state = arrives(epoch => ({ ...known(T)(epoch - 1), transitUs: T - SECOND }), T + SECOND)
    expect(state).toMatchObject({ transitUs: T, transitNewestUs: state.transitLastUs })
    expect(state.transitNewestUs).toBeGreaterThan(T)
  })

  it('follows a shorter way in a new epoch', () => {
    const state = arrives(epoch => known(T)(epoch - 1), T - SECOND)
    expect(state.transitUs).toBe(state.transitLastUs)
  })

  it.each([2, 3, 1000])('is forgotten after %i epochs', ago => {
    const state = arrives(epoch => known(T)(epoch - ago), T + SECOND)
    expect(state).toMatchObject({ transitUs: state.transitLastUs, transitNewestUs: state.transitLastUs })
  })

  it.each([
    ['forward', HOUR],
    ['back', -HOUR],
    ['by eleven seconds', 11 * SECOND],
    ['back by eleven seconds', -11 * SECOND],
  ])('begins anew when a clock jumps %s, and the jump is neither delay nor jitter', (_name, jump) => {
    const state = arrives(known(T, { jitterUs: 160 }), T + jump)
    expect(state).toMatchObject({ transitUs: state.transitLastUs, transitNewestUs: state.transitLastUs, jitterUs: 160 })
    expect(state.delay[0]).toBe(1)
  })

  it('recovers at once from one packet that somebody held back for long', () => {
    const held = arrives(known(T), T + 20 * SECOND)
    const after = arrives(() => ({ ...held, lastRxNs: 0n }), T, { number: 2n })
    expect(after.transitUs).toBe(after.transitLastUs)
    expect(after.transitUs).toBeLessThan(T + SECOND)
  })
})

describe('a packet is measured', () => {
  const measured = (lastRxNs: bigint, number: bigint) => arrives(() => ({ lastRxNs }), 0, { number }).delay[0] === 1
  const soon = () => monotonicNs() + 60_000_000_000n

  it('after a gap', () => expect(measured(monotonicNs() - 20_000_000n, 17n)).toBe(true))
  it('by its number, right behind another', () => expect(measured(soon(), 32n)).toBe(true))
  it('else not', () => expect(measured(soon(), 33n)).toBe(false))

  it('not when it is forged, damaged or a repetition', () => {
    const good = frame(0, 0)
    for (const bad of [
      patched(good, 14 + 28 + 24, (good[14 + 28 + 24] ?? 0) ^ 1),
      frame(0, 0, { key: new Uint8Array(16) }),
    ]) {
      expect(rig.run('wan', bad).drops).toEqual({ 'mp-tag': 1 })
      expect(rig.maps.pathState.get(SID)).toMatchObject({ transitEpoch: 0, delay: Array(ABI_DELAY_BUCKETS).fill(0) })
    }
    rig.run('wan', good)
    const once = rig.maps.pathState.get(SID)
    expect(rig.run('wan', good).drops).toEqual({ 'mp-replay': 1 })
    expect(rig.maps.pathState.get(SID)).toEqual(once)
  })
})

it('counts packets behind a later one', () => {
  for (const number of [1n, 2n, 5n, 3n, 4n, 6n, 0n]) rig.run('wan', frame(0, 0, { number }))
  expect(rig.maps.pathState.get(SID)?.reordered).toBe(3)
})

describe('a session of several paths', () => {
  const bundles = openMap('bundles', rig.fd('bundles'), u32Codec, bundleCodec)
  const place = SID / 16 / 2
  const empty = bundleCodec.decode(new Uint8Array(bundleCodec.size))

  it('knows the least of all paths', () => {
    bundles.set(place, { ...empty, sid: SID })
    const T = 500 * SECOND
    for (const [path, transit] of [
      [0, T + SECOND],
      [1, T],
      [0, T + SECOND],
    ] as const)
      rig.run('wan', frame(path, transit, { number: 16n * BigInt(path + 1) }))
    expect(bundles.get(place)?.transitUs).toBe(rig.maps.pathState.get(SID | 1)?.transitUs)
    expect(bundles.get(place)?.transitUs).not.toBe(rig.maps.pathState.get(SID)?.transitUs)
  })

  it('is not told of another’s', () => {
    bundles.set(place, { ...empty, sid: 0x300 })
    rig.run('wan', frame(0, 7))
    expect(bundles.get(place)).toEqual({ ...empty, sid: 0x300 })
  })
})
