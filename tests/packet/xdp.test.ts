/** wan_xdp: what goes from one clear tunnel into the next without an skb, and that everything else comes to wan_ingress as it was. World: rig.ts. */
import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import { ABI_NH_F_SECURE, ABI_PEER_F_ESP, mpType, nexthopKind } from '../../schema/abi.gen.ts'
import { type Bytes, concat, ethernet, filler, icmp, ip, type Layer4, SYN, tcp, udp } from './build.ts'
import { behind, FAMILIES, type Family } from './hosts.ts'
import { carried, dissect, ipOf, type MpFields, mp, NODE_KEY, outer } from './mp.ts'
import { expectOutcome, MTU, NODE, OTHER, OTHER_SID, Rig, SID, WAN } from './rig.ts'

const XDP_DROP = 1
const XDP_PASS = 2
const XDP_REDIRECT = 4
const LO = 1
const ROUTER = [2, 1, 2, 3, 4, 5]
const OWN = [6, 7, 8, 9, 10, 11]
const RELAYED = { 'mp-in': 1, 'from-peer-clear': 1, 'to-peer-clear': 1, 'mp-out': 1, relayed: 1 }

const rig = new Rig(['wan', 'wan-egress', 'wan-xdp'])
afterAll(() => rig[Symbol.dispose]())

beforeEach(() => {
  rig.reset()
  rig.maps.frameDevices.set(LO, LO)
  rig.setSession(OTHER_SID, { remoteSid: 0x800, peer: 8, pathMask: 3 })
  rig.setPath(OTHER_SID | 1, {})
  for (const path of [0, 1]) {
    rig.setState(OTHER_SID | path, {})
    learnHop(OTHER_SID | path)
  }
})

/** The kernel has just sent something there. */
function learnHop(handle: number): void {
  const { local, remote } = WAN[handle & 1 ? 6 : 4]
  const message = mp({ session: 0x800, path: handle & 1, key: NODE_KEY }, ip({ src: NODE, dst: OTHER }, udp(7, 8)))
  rig.run('wan-egress', addressed(outer({ src: local, dst: remote }, message)), { mark: handle })
  const state = rig.maps.pathState.get(handle)
  // As if a packet had asked already when half of the time is over: no row depends on when it runs.
  if (state) rig.maps.pathState.set(handle, { ...state, hopAsked: Number((state.hop[0] ?? 0n) >> 48n) + 1 })
}

function addressed(frame: Bytes): Bytes {
  return concat(Uint8Array.of(...ROUTER, ...OWN), frame.subarray(12))
}

function arrives(outside: Family, payload: Bytes, fields: MpFields = {}, tos = 0): Bytes {
  const { local, remote } = WAN[outside]
  return outer({ src: remote, dst: local, tos }, mp({ session: SID, path: outside === 4 ? 0 : 1, ...fields }, payload))
}

describe.each(FAMILIES)('came over IPv%i', came => {
  describe.each(FAMILIES)('leaves over IPv%i', leaves => {
    const handle = OTHER_SID | (leaves === 4 ? 0 : 1)
    beforeEach(() => rig.setPeer(8, { sid: OTHER_SID, pathMask: 3, pathBest: handle & 1 }))

    describe.each(FAMILIES)('IPv%i inside', inside => {
      const ends = { src: behind(inside, 2), dst: behind(inside, 4), tos: 0x2a }

      it.each([
        ['TCP', tcp({ data: filler(900) })],
        ['UDP', udp(1000, 53, filler(18))],
      ])('%s', (_name, layer4) => {
        rig.setState(came === 4 ? SID : SID | 1, { rxBytes: 10n, lastRxNs: 0n })
        const frame = arrives(came, ip(ends, layer4), { number: 7n })
        const out = rig.runXdp(frame)
        expectOutcome(out, { verdict: XDP_REDIRECT, counters: { ...RELAYED, 'flow-new': 1 } })
        expect([...out.packet.subarray(0, 14)]).toEqual([...ROUTER, ...OWN, ...(leaves === 4 ? [8, 0] : [0x86, 0xdd])])
        const inner = ip({ ...ends, ttl: 63 }, layer4)
        expect(ipOf(out.packet)).toEqual(carried(out.packet, handle, inner, { tos: 0x2a }))
        expect(dissect(out.packet).header.timestampUs).not.toBe(0)

        const rx = rig.maps.pathState.get(came === 4 ? SID : SID | 1)
        expect(rx).toMatchObject({ rxHighest: 7n, rxPackets: 1n, rxBytes: 10n + BigInt(frame.length - 14) })
        expect(rx?.lastRxNs).toBeGreaterThan(0n)
        expect(rx?.delay[0]).toBe(1)
        expect(rig.maps.pathState.get(handle)).toMatchObject({ txNumber: 1n, txBytes: BigInt(out.packet.length - 14) })
      })
    })
  })
})

it('drops, for a reason, what it has accepted and has no room for', () => {
  rig.setPeer(8, { sid: OTHER_SID, pathMask: 3, pathBest: 1 })
  const frame = arrives(4, ip({ src: behind(4, 2), dst: behind(4, 4) }, tcp()))
  const { 'mp-out': _out, ...counters } = { ...RELAYED, 'flow-new': 1 }
  expectOutcome(rig.runXdp(frame, 216), { verdict: XDP_DROP, drops: { rewrite: 1 }, counters })
})

it('goes once: the second time wan_ingress refuses it', () => {
  const frame = arrives(4, ip({ src: behind(4, 2), dst: behind(4, 4) }, tcp()))
  expect(rig.runXdp(frame).verdict).toBe(XDP_REDIRECT)
  expectOutcome(rig.runXdp(frame), { verdict: XDP_PASS, packet: frame, counters: { 'flow-hit': 1 } })
  expect(rig.run('wan', frame).drops).toEqual({ 'mp-replay': 1 })
})

/** After it the packet must still be acceptable: nothing but the flow table may know of it, and that somebody looked at the way out. */
function expectPassed(frame: Bytes, flow: Record<string, number> = {}): void {
  const states = () =>
    [SID, SID | 1, OTHER_SID, OTHER_SID | 1].map(handle => ({
      ...rig.maps.pathState.get(handle),
      hopAsked: 0n,
      looked: 0,
    }))
  const before = states()
  expectOutcome(rig.runXdp(frame), { verdict: XDP_PASS, packet: frame, counters: flow })
  expect(states()).toEqual(before)
}

describe.each(FAMILIES)('leaves to wan_ingress, IPv%i', family => {
  const to = (n: number, fields = {}) => ({ src: behind(family, 2), dst: behind(family, n), ...fields })
  const relayed = (fields: MpFields, tos = 0) => arrives(family, ip(to(4), tcp()), fields, tos)
  const inside = (layer4: Layer4, fields = {}) => arrives(family, ip(to(4, fields), layer4))
  const tampered = (at: number) => {
    const frame = relayed({})
    const index = at < 0 ? frame.length + at : at
    frame[index] = (frame[index] ?? 0) ^ 1
    return frame
  }
  const { local, remote } = WAN[family]
  const message = (fields: MpFields = {}) =>
    mp({ session: SID, path: family === 4 ? 0 : 1, ...fields }, ip(to(4), tcp()))

  it.each<[string, Bytes]>([
    ['a forged tag', tampered(14 + (family === 4 ? 20 : 40) + 8 + 39)],
    ['changed payload under the tag', tampered(14 + (family === 4 ? 20 : 40) + 8 + 40 + 1)],
    ['a session of nobody', relayed({ session: 0x7f0 })],
    ['a path of nobody', relayed({ path: 5 })],
    ['a path beyond', relayed({ path: 16 })],
    ['another version', relayed({ version: 2 })],
    ['a probe', relayed({ type: mpType.MP_PROBE })],
    ['a handshake', relayed({ type: mpType.MP_INIT })],
    ['a class', relayed({ qos: 0x40 })],
    ['a chain', relayed({ servicePath: 0x101 })],
    ['a policy to ask about', relayed({ policyVersion: 6 })],
    ['a mark of congestion', relayed({}, 3)],
    ['a peer that moved', outer({ src: family === 4 ? '198.51.100.77' : '2001:db8::77', dst: local }, message())],
    ['a peer behind another port', outer({ src: remote, dst: local, sport: 4000 }, message())],
    ['another of our addresses', outer({ src: remote, dst: family === 4 ? '198.51.100.3' : '2001:db8::3' }, message())],
    ['another port', outer({ src: remote, dst: local, dport: 2427 }, message())],
    ['bytes behind', concat(relayed({}), filler(3))],
    ['a fragment outside', outer({ src: remote, dst: local, fragment: { offset: 0, more: true } }, message())],
    ['a SYN', inside(tcp({ flags: SYN }))],
    ['a ping', inside(icmp(family, family === 4 ? 8 : 128))],
    ['a fragment inside', inside(udp(7, 8, filler(64)), { fragment: { offset: 0, more: true } })],
    ['a length that lies', inside(tcp(), { totalLength: 60, payloadLength: 20 })],
    [
      'a multicast destination',
      arrives(family, ip({ ...to(4), dst: family === 4 ? '224.0.0.9' : 'ff02::9' }, udp(7, 8))),
    ],
    ['a tail without layer 4', arrives(family, ip(to(4), { protocol: 17, bytes: filler(4) }))],
  ])('%s', (_name, frame) => {
    expectPassed(frame)
  })

  it.each([
    ['a host of the LAN', 1, 'flow-new'],
    ['the peer it came from', 2, 'flow-new'],
    ['a secure next hop', 5, 'flow-new'],
    ['a peer that is gone', 12, 'flow-new'],
    ['a peer without paths', 13, 'flow-new'],
    ['an unreachable destination', 10, undefined],
    ['nowhere', 200, undefined],
  ] as const)('what is for %s', (_name, n, flow) => {
    const dst = n === 200 ? (family === 4 ? '192.0.2.1' : '2001:db8:ffff::1') : behind(family, n)
    expectPassed(arrives(family, ip({ ...to(4), dst }, tcp())), flow ? { [flow]: 1 } : {})
  })

  it('a used-up TTL', () => {
    expectPassed(inside(tcp(), { ttl: 1 }), { 'flow-new': 1 })
  })

  it('what is too large for the peer or the path', () => {
    const frame = inside(udp(7, 8, filler(800)))
    rig.setPeer(8, { sid: OTHER_SID, pathMask: 1, mtuClear: 800 })
    expectPassed(frame, { 'flow-new': 1 })
    rig.setPeer(8, { sid: OTHER_SID, pathMask: 1, mtuClear: MTU.clear })
    rig.setPath(OTHER_SID, { mtu: 800 })
    expectPassed(frame, { 'flow-hit': 1 })
  })

  it('what leaves on a device that takes no frames', () => {
    rig.maps.frameDevices.delete(LO)
    expectPassed(relayed({}), { 'flow-new': 1 })
  })

  it('what leaves for a next hop that is not known, no longer known, or known on the way to another address', () => {
    rig.setState(OTHER_SID, {})
    expectPassed(relayed({}), { 'flow-new': 1 })
    rig.setState(OTHER_SID, { hop: [(9n << 48n) | 2n, 4n] })
    expectPassed(relayed({}), { 'flow-hit': 1 })
    rig.setState(OTHER_SID, {})
    learnHop(OTHER_SID)
    rig.setPath(OTHER_SID, { remote: rig.maps.pathConf.get(OTHER_SID | 1)?.remote ?? new Uint8Array(16) })
    expectPassed(relayed({}), { 'flow-hit': 1 })
  })

  it('a session without VRF', () => {
    rig.setSession(SID, { vrf: 0 })
    expectPassed(relayed({}))
  })
})

it('never relays what came clear to a next hop that has become secure', () => {
  const frame = arrives(4, ip({ src: behind(4, 2), dst: behind(4, 4) }, tcp()))
  rig.setNexthop(4, nexthopKind.NH_PEER, ABI_NH_F_SECURE, 8)
  rig.setPeer(8, { sid: OTHER_SID, pathMask: 1, flags: ABI_PEER_F_ESP })
  expectPassed(frame, { 'flow-new': 1 })
  rig.setNexthop(4, nexthopKind.NH_PEER, 0, 8)
})

it('frames of other protocols pass', () => {
  expectPassed(ethernet(filler(46), { type: 0x806 }))
  expectPassed(ethernet(filler(20), { type: 0x800 }))
})
