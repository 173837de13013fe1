/**
 * The time that packets from a peer get for leaving to the LAN, or between tunnels (bpf/path/playout.h, hold.h), through wan_ingress and hold_ingress. World:
 * rig.ts; no clock of the peer's runs.
 */
import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import { openMap } from '../../agent/kernel/bpf-map.ts'
import { monotonicNs } from '../../agent/kernel/native.ts'
import { plainSteering } from '../../agent/plan/values.ts'
import {
  ABI_MP_F_SPREAD,
  ABI_PORT_F_FQ,
  ABI_TRANSIT_EPOCH_SHIFT,
  bundleCodec,
  mpType,
  trafficClass,
} from '../../schema/abi.gen.ts'
import { be32 } from '../../schema/address.ts'
import { u32Codec } from '../../schema/codec.ts'
import { address, esp, ip, tcp, udp } from './build.ts'
import { behind, FAMILIES, type Family } from './hosts.ts'
import { dissect, type MpFields, mp, outer } from './mp.ts'
import { expectOutcome, NEXT, NODE, PEER, REDIRECT, Rig, SHOT, SID, VRF, WAN } from './rig.ts'

const rig = new Rig(['wan', 'hold'])
const bundles = openMap('bundles', rig.fd('bundles'), u32Codec, bundleCodec)
const noBundle = bundleCodec.decode(new Uint8Array(bundleCodec.size))
afterAll(() => rig[Symbol.dispose]())

const LO = 1
const GATHER = 7
/** Least transit of the world's paths; half the range of a u32, so that no sum below is what it is by accident. */
const TRANSIT = 0x8765_4321
const STAMP = { valid: 1 << 31, class: 29, time: (1 << 29) - 1 }
const WAITS = { CLASS_DEFAULT: 0, CLASS_REALTIME: 40, CLASS_TRANSACTIONAL: 0, CLASS_BULK: 200 } as const

function setPort(flags: number): void {
  rig.maps.ports.set(LO, { ifindex: LO, vrf: VRF, addr4: be32('10.1.0.1'), addr6: address('fd01::1'), flags })
}

beforeEach(() => {
  rig.reset()
  rig.setNode({ gatherIfindex: GATHER })
  setPort(ABI_PORT_F_FQ)
  bundles.set(SID / 16 / 2, noBundle)
  const steering = plainSteering(0, 3)
  for (const [name, playoutMs] of Object.entries(WAITS)) {
    const index = trafficClass[name as keyof typeof WAITS]
    steering[index] = { ...(steering[index] as (typeof steering)[number]), playoutMs }
  }
  rig.setPeer(9, { steering })
  for (const handle of [SID, SID | 1]) know(handle, TRANSIT)
})

/** A path that was measured, and will not be again by the rows' packets: the next one is neither behind a gap nor a 16th. */
function know(handle: number, transitUs: number): void {
  const epoch = Number(monotonicNs() >> BigInt(ABI_TRANSIT_EPOCH_SHIFT)) + 2
  const never = monotonicNs() + 3_600_000_000_000n
  rig.setState(handle, { transitUs, transitNewestUs: transitUs, transitEpoch: epoch, lastRxNs: never })
}

const now = () => Number((monotonicNs() / 1000n) & 0xffffffffn)
/** Timestamp of a packet that the quickest path would have brought `agoUs` ago. */
const sent = (agoUs: number) => (now() - TRANSIT - agoUs) >>> 0

function arrives(outside: Family, payload: Uint8Array, fields: MpFields) {
  const { local, remote } = WAN[outside]
  const header = { session: SID, path: outside === 4 ? 0 : 1, number: 3n, ...fields }
  return rig.run('wan', outer({ src: remote, dst: local }, mp(header, payload)))
}

/** Of a class that is spread. */
const qos = (of: number) => (of << 6) | ABI_MP_F_SPREAD
const REALTIME = qos(trafficClass.CLASS_REALTIME)
const toHost = (inside: Family, layer4 = udp(7, 8)) => ip({ src: behind(inside, 2), dst: behind(inside, 1) }, layer4)
const DELIVERED = { 'mp-in': 1, 'from-peer-clear': 1, 'flow-new': 1, 'lan-out': 1 }
const leavesAtUs = () => (rig.left?.tstamp ?? 0n) / 1000n

describe.each(FAMILIES)('over IPv%i', outside => {
  it.each(FAMILIES)('an IPv%i packet leaves so long after its timestamp as its class says', inside => {
    for (const [name, wait] of Object.entries(WAITS)) {
      rig.flows.clear()
      const timestampUs = sent(5_000)
      const out = arrives(outside, toHost(inside), {
        timestampUs,
        qos: qos(trafficClass[name as keyof typeof WAITS]),
        number: BigInt(trafficClass[name as keyof typeof WAITS] + 1),
      })
      const played = wait ? { played: 1 } : {}
      expectOutcome(out, { verdict: REDIRECT, mark: 0, counters: { ...DELIVERED, ...played } })
      const due = (timestampUs + TRANSIT + wait * 1000) >>> 0
      expect(Number(leavesAtUs() & 0xffffffffn)).toBe(wait ? due : 0)
    }
  })

  it('a late packet has its time all the same, for its place among others', () => {
    const timestampUs = sent(90_000)
    const out = arrives(outside, toHost(4), { timestampUs, qos: REALTIME })
    expectOutcome(out, { verdict: REDIRECT, counters: { ...DELIVERED, played: 1, 'played-late': 1 } })
    expect(Number(leavesAtUs() & 0xffffffffn)).toBe((timestampUs + TRANSIT + 40_000) >>> 0)
  })

  it.each([
    ['of a clock that went ahead', -10_000_000, 250_000],
    ['of a clock that went back', 10_000_000, -250_000],
  ])('a timestamp %s moves it by a quarter of a second at most', (_name, agoUs, aheadUs) => {
    const before = monotonicNs() / 1000n
    arrives(outside, toHost(4), { timestampUs: sent(agoUs), qos: REALTIME })
    const after = monotonicNs() / 1000n
    expect(leavesAtUs()).toBeGreaterThanOrEqual(before + BigInt(aheadUs) - 1n)
    expect(leavesAtUs()).toBeLessThanOrEqual(after + BigInt(aheadUs) + 1n)
  })

  it.each([3_600, -3_600, 268, -268, 1e6])('a clock that is %i s off lets no packet wait longer', seconds => {
    arrives(outside, toHost(4), { timestampUs: sent(seconds * 1_000_000), qos: REALTIME })
    const ahead = Number(leavesAtUs() - monotonicNs() / 1000n)
    expect(ahead).toBeLessThanOrEqual(250_000)
    expect(ahead).toBeGreaterThan(-5_000_000)
  })

  it('ESP takes time and class along in its priority', () => {
    const timestampUs = 0xfedc_ba98
    const out = arrives(outside, ip({ src: PEER, dst: NODE }, esp()), { timestampUs, qos: REALTIME })
    expectOutcome(out, { verdict: NEXT, counters: { 'mp-in': 1 } })
    const stamp = STAMP.valid | (trafficClass.CLASS_REALTIME << STAMP.class) | (timestampUs & STAMP.time)
    expect(rig.left).toMatchObject({ priority: stamp >>> 0, tstamp: 0n })
  })

  it('a packet that is not spread leaves at once, and takes nothing along', () => {
    const plain = trafficClass.CLASS_REALTIME << 6
    expectOutcome(arrives(outside, toHost(4), { timestampUs: sent(0), qos: plain }), {
      verdict: REDIRECT,
      counters: DELIVERED,
    })
    expect(rig.left?.tstamp).toBe(0n)
    arrives(outside, ip({ src: PEER, dst: NODE }, esp()), { timestampUs: sent(0), qos: plain, number: 4n })
    expect(rig.left).toMatchObject({ priority: 0, tstamp: 0n })
  })

  it('the node’s own packets take nothing along', () => {
    arrives(outside, ip({ src: PEER, dst: NODE }, tcp({ dport: 4000 })), { timestampUs: sent(0), qos: REALTIME })
    expect(rig.left).toMatchObject({ priority: 0, tstamp: 0n })
  })

  it('a packet for another peer has no time', () => {
    const onward = ip({ src: behind(4, 2), dst: behind(4, 4) }, udp(7, 8))
    const out = arrives(outside, onward, { timestampUs: sent(0), qos: REALTIME })
    expectOutcome(out, {
      verdict: REDIRECT,
      counters: { 'mp-in': 1, 'from-peer-clear': 1, 'flow-new': 1, 'to-peer-clear': 1, 'mp-out': 1 },
    })
    expect(rig.left?.tstamp).toBe(0n)
  })
})

it('goes by the session’s quickest path, not by the one it came on', () => {
  bundles.set(SID / 16 / 2, { ...noBundle, sid: SID, transitUs: TRANSIT - 30_000, transitEpoch: 1 })
  const timestampUs = sent(0)
  arrives(4, toHost(4), { timestampUs, qos: REALTIME })
  expect(Number(leavesAtUs() & 0xffffffffn)).toBe((timestampUs + TRANSIT + 10_000) >>> 0)
})

it.each([
  ['a port without fq', () => setPort(0)],
  ['a device that is no port', () => rig.maps.ports.delete(LO)],
  ['a peer that is gone', () => rig.maps.peers.delete(9)],
])('has no time towards or from %s', (_name, change) => {
  change()
  const out = arrives(4, toHost(4), { timestampUs: sent(0), qos: REALTIME })
  expectOutcome(out, { verdict: REDIRECT, counters: DELIVERED })
  expect(rig.left?.tstamp).toBe(0n)
})

it('TCP with a time goes straight to its port, without one by GRO', () => {
  // gather() writes the port into the frame's source address.
  const byGro = (packet: Uint8Array) => packet[6] === 2 && packet[8] === LO
  expect(byGro(arrives(4, toHost(4, tcp()), { timestampUs: sent(0), qos: REALTIME }).packet)).toBe(false)
  expect(byGro(arrives(4, toHost(4, tcp()), { timestampUs: sent(0), number: 4n, qos: 0 }).packet)).toBe(true)
})

it('a probe changes nothing of this', () => {
  arrives(4, ip({ src: PEER, dst: NODE }, udp(2426, 2426)), { type: mpType.MP_PROBE, qos: REALTIME })
  expect(rig.left?.tstamp).toBe(0n)
})

describe('what is added to timestamps', () => {
  const klass = trafficClass.CLASS_REALTIME
  /** A packet 1 ms after the quickest could have come; µs from its timestamp to its leaving. */
  function added(number: bigint): number {
    const timestampUs = sent(1000)
    arrives(4, toHost(4), { timestampUs, qos: REALTIME, number })
    return (Number(leavesAtUs() & 0xffffffffn) - timestampUs) >>> 0
  }
  function bundle(transitUs: number, playedUs: number, ageUs: number): void {
    const [us, at] = [
      [0, 0, 0, 0],
      [0, 0, 0, 0],
    ]
    us[klass] = playedUs >>> 0
    at[klass] = (now() - ageUs) >>> 0
    const known = { sid: SID, transitUs: transitUs >>> 0, transitEpoch: 1, playedUs: us, playedAt: at }
    bundles.set(SID / 16 / 2, { ...noBundle, ...known })
  }

  it('grows at once', () => {
    bundle(TRANSIT, TRANSIT + 10_000, 1000)
    expect(added(3n)).toBe(TRANSIT + 40_000)
  })

  it('falls by 8 ms a second, so that nothing overtakes what waits', () => {
    bundle(TRANSIT, TRANSIT + 90_000, 1_024_000)
    const fallen = TRANSIT + 90_000 - added(3n)
    expect(fallen).toBeGreaterThanOrEqual(8000)
    expect(fallen).toBeLessThan(8200)
    // No time has passed since.
    expect(TRANSIT + 90_000 - added(4n) - fallen).toBeLessThan(200)
  })

  it('falls no lower than it should be', () => {
    bundle(TRANSIT, TRANSIT + 41_000, 1_024_000)
    expect(added(3n)).toBe(TRANSIT + 40_000)
  })

  it.each([
    ['nothing was sent for long', 90_000, 3_000_000],
    ['a clock was set', 30_000_000, 1000],
  ])('is as it should be at once when %s', (_name, aboveUs, ageUs) => {
    bundle(TRANSIT, TRANSIT + aboveUs, ageUs)
    expect(added(3n)).toBe(TRANSIT + 40_000)
  })
})

describe('between tunnels', () => {
  const HOLD = 6
  const onward = (inside: Family) => ip({ src: behind(inside, 2), dst: behind(inside, 4) }, udp(7, 8))
  beforeEach(() => rig.setNode({ holdIfindex: HOLD }))

  it.each(FAMILIES)('an IPv%i packet waits, and then goes on as if it had just come', inside => {
    const timestampUs = sent(5000)
    const out = arrives(4, onward(inside), { timestampUs, qos: REALTIME })
    expectOutcome(out, { verdict: REDIRECT, mark: 0, counters: { 'mp-in': 1, 'from-peer-clear': 1, held: 1 } })
    expect(Number(leavesAtUs() & 0xffffffffn)).toBe((timestampUs + TRANSIT + 40_000) >>> 0)
    const after = rig.run('hold', out.packet)
    expectOutcome(after, { verdict: REDIRECT, counters: { 'flow-new': 1, 'to-peer-clear': 1, 'mp-out': 1 } })
    expect(rig.left?.tstamp).toBe(0n)
    // Only its sender said that it was spread.
    expect(dissect(after.packet).header.qos).toBe(0)
  })

  it('a late one goes the same way, for its place among others', () => {
    const out = arrives(4, onward(4), { timestampUs: sent(90_000), qos: REALTIME })
    expectOutcome(out, { verdict: REDIRECT, counters: { 'mp-in': 1, 'from-peer-clear': 1, held: 1, 'held-late': 1 } })
  })

  it('what is not spread does not wait', () => {
    const out = arrives(4, onward(4), { timestampUs: sent(0), qos: trafficClass.CLASS_REALTIME << 6 })
    expect(out.counters).toMatchObject({ 'to-peer-clear': 1, 'mp-out': 1 })
    expect(out.counters).not.toHaveProperty('held')
  })

  it('what came in clear stays so, and what came over IPsec', () => {
    const { packet } = arrives(4, onward(4), { timestampUs: sent(0), qos: REALTIME })
    const secure = ip({ src: behind(4, 2), dst: behind(4, 5) }, udp(7, 8))
    const frame = (inner: Uint8Array, origin: number) => {
      const bytes = Uint8Array.from([...packet.subarray(0, 14), ...inner])
      bytes[7] = origin
      return bytes
    }
    const [clear, ipsec] = [1, 2]
    expect(rig.run('hold', frame(secure, clear)).drops).toEqual({ 'clear-on-secure': 1 })
    expect(rig.run('hold', frame(onward(4), ipsec)).drops).toEqual({ 'secure-on-clear': 1 })
    expect(rig.run('hold', frame(secure, ipsec)).counters).toMatchObject({ 'to-peer-secure': 1 })
  })

  it('drops what it did not send itself, and what is of no session any more', () => {
    const { packet } = arrives(4, onward(4), { timestampUs: sent(0), qos: REALTIME })
    for (const origin of [0, 3]) {
      const foreign = Uint8Array.from(packet)
      foreign[7] = origin
      expectOutcome(rig.run('hold', foreign), { verdict: SHOT, drops: { 'not-ours': 1 }, counters: {} })
    }
    rig.maps.sessions.delete(SID)
    expectOutcome(rig.run('hold', packet), { verdict: SHOT, drops: { 'no-vrf': 1 }, counters: {} })
  })

  it('answers about what it cannot send on', () => {
    const lost = ip({ src: behind(4, 2), dst: behind(4, 11) }, udp(7, 8))
    const { packet } = arrives(4, lost, { timestampUs: sent(0), qos: REALTIME })
    const out = rig.run('hold', packet)
    expect(out.drops).toEqual({ prohibited: 1 })
    expect(out.counters).toMatchObject({ 'icmp-sent': 1 })
  })
})
