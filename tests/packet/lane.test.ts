/**
 * Packets that are sent twice: sequences, the two ways out, and which of the two is taken (bpf/path/lane.h, twice.h). World: rig.ts; path 0 has IPv4 outside,
 * path 1 IPv6.
 */
import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import { zeroBundle } from '../../agent/plan/values.ts'
import { ABI_MP_F_SPREAD, spread } from '../../schema/abi.gen.ts'
import { concat, esp, ethernet, ip, udp } from './build.ts'
import { behind, FAMILIES, host } from './hosts.ts'
import { carried, dissect, ipOf, type MpFields, mp, NODE_KEY, outer } from './mp.ts'
import { expectOutcome, NEXT, NODE, PEER, REDIRECT, Rig, SHOT, SID, WAN } from './rig.ts'

const rig = new Rig(['lan', 'wan', 'wan-egress', 'mp-egress'])
const ADDRESSES = Uint8Array.of(2, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11)

beforeEach(() => {
  rig.reset()
  rig.maps.bundles.delete(SID)
  rig.maps.bundles.set(SID, zeroBundle())
  const word = { mode: spread.SPREAD_TWICE, best: 0, second: 1, fec: 0, mask: 3, playoutMs: 0 }
  rig.setPeer(9, { steering: [word, word, word, word] })
})
afterAll(() => rig[Symbol.dispose]())

/** The kernel has just named the next hop of a path, and nobody is to ask again. */
function learnHop(path: 0 | 1): void {
  const { local, remote } = WAN[path === 0 ? 4 : 6]
  const message = mp({ session: 0x900, path, key: NODE_KEY }, ip({ src: NODE, dst: PEER }, esp()))
  const frame = concat(ADDRESSES, outer({ src: local, dst: remote }, message).subarray(12))
  rig.run('wan-egress', frame, { mark: SID | path })
  const { hop = [], hopRemote = [] } = rig.maps.pathState.get(SID | path) ?? {}
  rig.setState(SID | path, { hop, hopRemote, hopAsked: Number((hop[0] ?? 0n) >> 48n) + 1 })
}

/** The programs have found the path silent. */
function leave(path: number): void {
  rig.setState(SID | path, { ...rig.maps.pathState.get(SID | path), left: 1 })
}

const numbers = () => [SID, SID | 1].map(handle => rig.maps.pathState.get(handle)?.txNumber)
const numberOf = (sequence: number) => sequence & 0x1fffffff
/** Of all lanes: which CPU runs the test is not ours to say. */
const sequences = () => rig.maps.bundles.get(SID)?.lanes.reduce((sum, lane) => sum + lane.txSequence, 0n)

describe.each(FAMILIES)('sent twice, IPv%i inside', family => {
  const packet = ethernet(ip({ src: host(family), dst: behind(family, 2) }, udp(7, 8)))
  const inner = ip({ src: host(family), dst: behind(family, 2), ttl: 63 }, udp(7, 8))
  const COUNTED = { 'lan-in': 1, 'flow-new': 1, 'to-peer-clear': 1 }

  it.each([
    ['both next hops are known', [0, 1], 0, 0],
    ['that of the second', [1], 0, SID],
    ['that of the best: it takes the copy', [0], 1, SID | 1],
  ] as const)('%s', (_name, known, last, mark) => {
    for (const path of known) learnHop(path)
    const out = rig.run('lan', packet)
    expectOutcome(out, { verdict: REDIRECT, mark, counters: { ...COUNTED, 'mp-out': 2, 'copy-out': 1 } })
    expect(numbers()).toEqual([1n, 1n])
    const { sequence } = dissect(out.packet).header
    expect(numberOf(sequence)).toBe(1)
    expect(ipOf(out.packet)).toEqual(carried(out.packet, SID | last, inner, { sequence, qos: ABI_MP_F_SPREAD }))
    expect(sequences()).toBe(1n)
  })

  it('by a second path that is good enough for copies alone: none of the mask', () => {
    const word = { mode: spread.SPREAD_TWICE, best: 0, second: 1, fec: 0, mask: 1, playoutMs: 0 }
    rig.setPeer(9, { steering: [word, word, word, word] })
    learnHop(1)
    const out = rig.run('lan', packet)
    expectOutcome(out, { verdict: REDIRECT, counters: { ...COUNTED, 'mp-out': 2, 'copy-out': 1 } })
    expect(numbers()).toEqual([1n, 1n])
  })

  it.each([
    ['the second was left', [1]],
    ['the best was left', [0]],
    ['both were left', [0, 1]],
  ])('also when %s: it may be held back, and carry', (_name, left) => {
    learnHop(1)
    for (const path of left) leave(path)
    const out = rig.run('lan', packet)
    expectOutcome(out, { verdict: REDIRECT, counters: { ...COUNTED, 'mp-out': 2, 'copy-out': 1 } })
    expect(numbers()).toEqual([1n, 1n])
  })

  it('by one that lives rather than the second that was left', () => {
    rig.setSession(SID, { pathMask: 7 })
    rig.setPath(SID | 2, {})
    rig.setState(SID | 2, {})
    const word = { mode: spread.SPREAD_TWICE, best: 0, second: 1, fec: 0, mask: 7, playoutMs: 0 }
    rig.setPeer(9, { pathMask: 7, steering: [word, word, word, word] })
    learnHop(0)
    leave(1)
    expectOutcome(rig.run('lan', packet), { verdict: REDIRECT, counters: { ...COUNTED, 'mp-out': 2, 'copy-out': 1 } })
    expect([SID, SID | 1, SID | 2].map(handle => rig.maps.pathState.get(handle)?.txNumber)).toEqual([1n, 0n, 1n])
  })

  it.each<[string, () => void]>([
    ['no next hop is known', () => {}],
    ['the second carries less', () => rig.setPath(SID | 1, { mtu: 100 })],
    ['the second has no address yet', () => rig.setPath(SID | 1, { family: 0 })],
  ])('once, under its sequence, when %s', (name, spoil) => {
    if (name !== 'no next hop is known') learnHop(0)
    spoil()
    const out = rig.run('lan', packet)
    expectOutcome(out, { verdict: REDIRECT, counters: { ...COUNTED, 'mp-out': 1 } })
    const { sequence } = dissect(out.packet).header
    expect(numberOf(sequence)).toBe(1)
    expect(ipOf(out.packet)).toEqual(carried(out.packet, SID, inner, { sequence, qos: ABI_MP_F_SPREAD }))
  })

  it('once and without one when the session has no bundle', () => {
    rig.maps.bundles.delete(SID)
    learnHop(0)
    const out = rig.run('lan', packet)
    expectOutcome(out, { verdict: REDIRECT, counters: { ...COUNTED, 'mp-out': 1 } })
    expect(ipOf(out.packet)).toEqual(carried(out.packet, SID, inner))
  })
})

it('ESP is sent twice', () => {
  learnHop(1)
  const packet = ip({ src: NODE, dst: PEER }, esp())
  const out = rig.run('mp-egress', ethernet(packet), { mark: SID })
  expectOutcome(out, { verdict: REDIRECT, counters: { 'mp-out': 2, 'copy-out': 1 } })
  const { sequence } = dissect(out.packet).header
  expect(ipOf(out.packet)).toEqual(carried(out.packet, SID, packet, { sequence, qos: ABI_MP_F_SPREAD }))
})

it('a sequence is never 0', () => {
  const bundle = zeroBundle()
  rig.maps.bundles.set(SID, {
    ...bundle,
    lanes: bundle.lanes.map(lane => ({ ...lane, txSequence: (1n << 29n) - 2n })),
  })
  const send = () => dissect(rig.run('mp-egress', ethernet(ip({ src: NODE, dst: PEER }, esp())), { mark: SID }).packet)
  const sent = Array.from({ length: 40 }, () => numberOf(send().header.sequence))
  expect(sent).not.toContain(0)
  expect(sent).toContain(1)
})

describe('received', () => {
  const PAYLOAD = ip({ src: PEER, dst: NODE }, esp())
  let number = 0n
  const arrive = (path: 0 | 1, sequence: number, fields: MpFields = {}) => {
    number += 1n
    const { local, remote } = WAN[path === 0 ? 4 : 6]
    const message = mp({ session: SID, path, number, sequence: sequence >>> 0, ...fields }, PAYLOAD)
    return rig.run('wan', outer({ src: remote, dst: local }, message))
  }
  const FIRST = { verdict: NEXT, counters: { 'mp-in': 1 } }
  const COPY = { verdict: SHOT, counters: { 'mp-in': 1, 'copy-in': 1 } }
  const lane = (index: number, low: number) => ((index << 29) | low) >>> 0
  const taken = (...list: number[]) => list.map(low => arrive(0, lane(0, low)).verdict === NEXT)

  it('the first is taken, on whichever path, the other counted', () => {
    expectOutcome(arrive(1, lane(2, 7)), FIRST)
    expectOutcome(arrive(0, lane(2, 7)), COPY)
    expectOutcome(arrive(0, lane(2, 8)), FIRST)
    expectOutcome(arrive(1, lane(2, 8)), COPY)
    expect([SID, SID | 1].map(handle => rig.maps.pathState.get(handle)?.rxLate)).toEqual([1n, 1n])
  })

  it('each lane counts for itself', () => {
    for (let index = 0; index < 8; index++) expectOutcome(arrive(0, lane(index, 5)), FIRST)
    for (let index = 0; index < 8; index++) expectOutcome(arrive(1, lane(index, 5)), COPY)
  })

  it('in any order, each once', () => {
    expect(taken(5, 3, 4, 1, 2)).toEqual([true, true, true, true, true])
    expect(taken(1, 2, 3, 4, 5)).toEqual([false, false, false, false, false])
  })

  describe.each([0, 1] as const)('too late to tell, by path %i: a drop, and no copy', path => {
    const TOO_OLD = { verdict: SHOT, drops: { 'mp-too-old': 1 }, counters: { 'mp-in': 1 } }

    it.each([
      ['behind the whole window', 2000, 2000 - 512, TOO_OLD],
      ['in a word that a later number took over', 2000, 2000 - 511, TOO_OLD],
      ['but not in the oldest word that is left', 2000, 2000 - 480, FIRST],
      ['nor in the last place of a window that ends with a word', 2015, 2015 - 511, FIRST],
    ])('%s', (_name, newest, late, outcome) => {
      expectOutcome(arrive(0, lane(3, newest)), FIRST)
      expectOutcome(arrive(path, lane(3, late)), outcome)
      expect(rig.maps.pathState.get(SID | path)?.rxLate).toBe(0n)
    })

    it('and every time that it comes', () => {
      expectOutcome(arrive(0, lane(3, 2000)), FIRST)
      for (let time = 0; time < 2; time++) expectOutcome(arrive(path, lane(3, 7)), TOO_OLD)
    })
  })

  it('across the end of the 29 bits', () => {
    const end = 1 << 29
    expect(taken(end - 2, 1, end - 1, 2, end - 1, 1, end - 3)).toEqual([true, true, true, true, false, false, true])
  })

  it('always, without a bundle', () => {
    rig.maps.bundles.delete(SID)
    expect(taken(4, 4)).toEqual([true, true])
  })

  it('a forged one takes no number', () => {
    expectOutcome(arrive(0, lane(0, 9), { key: NODE_KEY }), { verdict: SHOT, drops: { 'mp-tag': 1 }, counters: {} })
    expectOutcome(arrive(0, lane(0, 9)), FIRST)
  })

  it('agrees with a set, whatever comes', () => {
    const seed = Date.now() % 1_000_000
    let state = seed
    const random = (below: number) => {
      state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0
      return (state >>> 8) % below
    }
    const seen = new Set<number>()
    let newest = (1 << 29) - 300
    for (let step = 0; step < 600; step++) {
      newest += random(3)
      const at = newest - random(200)
      const first = arrive(random(2) as 0 | 1, lane(0, at & 0x1fffffff)).verdict === NEXT
      if ((at & 0x1fffffff) === 0) continue
      expect(first, `seed ${seed}, step ${step}`).toBe(!seen.has(at))
      seen.add(at)
    }
  })
})
