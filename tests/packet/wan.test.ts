/** wan_ingress: what good MP packets become; wan-bad.test.ts has the others. World: rig.ts. */
import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import { monotonicNs } from '../../agent/kernel/native.ts'
import { mpHdrCodec, mpType } from '../../schema/abi.gen.ts'
import { siphash24 } from '../../schema/siphash.ts'
import * as build from './build.ts'
import { ethernet, filler, icmp, ip, tcp, udp } from './build.ts'
import { behind, FAMILIES, type IcmpKind, icmpError } from './hosts.ts'
import { carried, ipOf, type MpFields, mp, outer } from './mp.ts'
import { expectOutcome, MTU, NEXT, NODE, OTHER, OTHER_SID, PEER, REDIRECT, Rig, SHOT, SID, WAN } from './rig.ts'

const rig = new Rig()
beforeEach(() => rig.reset())
afterAll(() => rig[Symbol.dispose]())

/** A packet from the peer: over path 0 with IPv4 outside, over path 1 with IPv6. */
function arrives(outside: 4 | 6, payload: build.Bytes, fields: MpFields = {}, tos = 0): build.Bytes {
  const { local, remote } = WAN[outside]
  const path = outside === 4 ? 0 : 1
  return outer({ src: remote, dst: local, tos }, mp({ session: SID, path, ...fields }, payload))
}

const IN = { 'mp-in': 1 }

describe.each(FAMILIES)('IPv%i outside', outside => {
  const handle = outside === 4 ? SID : SID | 1

  describe.each(FAMILIES)('IPv%i inside', inside => {
    const from = (n: number) => ({ src: behind(inside, 2), dst: behind(inside, n) })

    it('goes to a host of the LAN', () => {
      const out = rig.run('wan', arrives(outside, ip(from(1), tcp())))
      expect(out).toEqual({
        verdict: REDIRECT,
        packet: ethernet(ip({ ...from(1), ttl: 63 }, tcp())),
        mark: 0,
        drops: {},
        counters: { ...IN, 'from-peer-clear': 1, 'flow-new': 1, 'lan-out': 1 },
      })
    })

    it('goes on to another peer', () => {
      const out = rig.run('wan', arrives(outside, ip(from(4), tcp())))
      expectOutcome(out, {
        verdict: REDIRECT,
        mark: OTHER_SID,
        counters: { ...IN, 'from-peer-clear': 1, 'flow-new': 1, 'to-peer-clear': 1, 'mp-out': 1 },
      })
      expect(ipOf(out.packet)).toEqual(carried(out.packet, OTHER_SID, ip({ ...from(4), ttl: 63 }, tcp())))
    })

    it('does not go to the stack where the VRF says local: its answer would leave in clear, by the main table', () => {
      const original = ip({ src: behind(inside, 2), dst: inside === 4 ? '10.1.0.1' : 'fd01::1' }, udp(7, 8, filler(64)))
      const out = rig.run('wan', arrives(outside, original))
      const src = inside === 4 ? NODE : 'fd00:100::2'
      expectOutcome(out, {
        verdict: REDIRECT,
        mark: SID,
        drops: { prohibited: 1 },
        counters: { ...IN, 'from-peer-clear': 1, 'icmp-sent': 1, 'to-peer-clear': 1, 'mp-out': 1 },
      })
      const error = icmpError(inside, 'prohibited', { src, dst: behind(inside, 2) }, original)
      expect(ipOf(out.packet)).toEqual(carried(out.packet, SID, error, { tos: inside === 4 ? 0xc0 : 0 }))
    })

    it.each([
      ['a secure peer', 5, 'clear-on-secure'],
      ['the LAN of a secure segment', 6, 'clear-on-secure'],
      ['the peer it came from, over IPsec', 3, 'clear-on-secure'],
      ['the peer it came from', 2, 'loop'],
      ['a peer that is gone', 12, 'no-peer'],
      ['a peer without paths', 13, 'no-path'],
    ])('is not for %s', (_name, n, reason) => {
      const out = rig.run('wan', arrives(outside, ip(from(n), tcp())))
      expectOutcome(out, {
        verdict: SHOT,
        drops: { [reason]: 1 },
        counters: { ...IN, 'from-peer-clear': 1, 'flow-new': 1 },
      })
    })

    it('has no VRF when the session has none', () => {
      rig.setSession(SID, { vrf: 0 })
      const out = rig.run('wan', arrives(outside, ip(from(1), tcp())))
      expectOutcome(out, { verdict: SHOT, drops: { 'no-vrf': 1 }, counters: { ...IN, 'from-peer-clear': 1 } })
    })

    it.each<[string, number, number, string, IcmpKind, number]>([
      ['no route', 200, 64, 'no-route', 'unreachable', 20],
      ['unreachable', 10, 64, 'unreachable', 'unreachable', 20],
      ['prohibited', 11, 64, 'prohibited', 'prohibited', 20],
      ['TTL', 1, 1, 'ttl', 'time-exceeded', 20],
      ['size', 4, 64, 'too-big', 'too-big', 1000],
    ])('is answered through the tunnel: %s', (_name, n, ttl, reason, kind, length) => {
      rig.setPeer(8, { sid: OTHER_SID, pathMask: 1, mtuClear: 900 })
      const dst = n === 200 ? (inside === 4 ? '192.0.2.1' : '2001:db8:ffff::1') : behind(inside, n)
      const original = ip({ src: behind(inside, 2), dst, ttl }, udp(7, 8, filler(length)))
      const out = rig.run('wan', arrives(outside, original))
      const src = inside === 4 ? NODE : 'fd00:100::2'
      const mtu = kind === 'too-big' ? 900 : 0
      const flow = ['ttl', 'too-big'].includes(reason) ? { 'flow-new': 1 } : {}
      expectOutcome(out, {
        verdict: REDIRECT,
        mark: SID,
        drops: { [reason]: 1 },
        counters: { ...IN, 'from-peer-clear': 1, 'icmp-sent': 1, 'to-peer-clear': 1, 'mp-out': 1, ...flow },
      })
      const error = icmpError(inside, kind, { src, dst: behind(inside, 2) }, original, mtu)
      expect(ipOf(out.packet)).toEqual(carried(out.packet, SID, error, { tos: inside === 4 ? 0xc0 : 0 }))
    })

    it.each([
      ['its source has no route', inside === 4 ? '192.0.2.7' : '2001:db8:ffff::7'],
      ['its source is secure', behind(inside, 3)],
      ['its source is a host of the LAN', behind(inside, 1)],
      ["its source's peer is gone", behind(inside, 12)],
      ["its source's peer has no path", behind(inside, 13)],
    ])('is not answered when %s', (_name, src) => {
      const out = rig.run('wan', arrives(outside, ip({ src, dst: behind(inside, 10) }, tcp())))
      expectOutcome(out, { verdict: SHOT, drops: { unreachable: 1 }, counters: { ...IN, 'from-peer-clear': 1 } })
    })

    it.each([
      ['ECT(0)', 2, 3],
      ['ECT(1)', 1, 3],
      ['CE', 3, 3],
      ['Not-ECT', 0, 0],
    ])('takes a congestion mark of the way along: %s', (_name, before, after) => {
      const packet = (tos: number, ttl: number) => ip({ ...from(1), tos: 0xb8 | tos, ttl }, tcp())
      const out = rig.run('wan', arrives(outside, packet(before, 64), {}, 0xb8 | 3))
      expect(out.packet).toEqual(ethernet(packet(after, 63)))
    })

    it.each([
      ['a length that is not the payload’s', ip({ ...from(1), totalLength: 21, payloadLength: 3 }, udp(1, 2))],
      ['another IP version', build.patched(ip(from(1), udp(1, 2)), 0, 0x55)],
      ['a cut TCP header', ip(from(1), build.raw(6, filler(12)))],
    ])('is refused with %s', (_name, payload) => {
      const out = rig.run('wan', arrives(outside, payload))
      expectOutcome(out, { verdict: SHOT, drops: { 'inner-malformed': 1 }, counters: IN })
    })
  })

  it('hands ESP and the node’s own packets to the stack', () => {
    for (const [layer4, counters] of [
      [build.esp(), IN],
      [tcp({ dport: 4000 }), { ...IN, 'local-in': 1 }],
      [icmp(4, 8), { ...IN, 'local-in': 1 }],
    ] as const) {
      rig.reset()
      const packet = ip({ src: PEER, dst: NODE }, layer4)
      const out = rig.run('wan', arrives(outside, packet))
      expect(out).toEqual({ verdict: NEXT, packet: ethernet(packet), mark: 0, drops: {}, counters })
    }
  })

  it.each([
    ['another peer’s virtual address', OTHER],
    ['a host', behind(4, 2)],
    ['the node itself', NODE],
  ])('refuses a source that is %s', (_name, src) => {
    const out = rig.run('wan', arrives(outside, ip({ src, dst: NODE }, build.esp())))
    expectOutcome(out, { verdict: SHOT, drops: { 'inner-spoofed': 1 }, counters: IN })
  })

  it('keeps the book of the path', () => {
    const before = monotonicNs()
    const frame = arrives(outside, ip({ src: PEER, dst: NODE }, build.esp()), { number: 70n })
    rig.run('wan', frame)
    const state = rig.maps.pathState.get(handle)
    expect(state).toMatchObject({
      rxPackets: 1n,
      rxBytes: BigInt(frame.length - 14),
      rxHighest: 70n,
      txNumber: 0n,
    })
    expect(state?.window[2]).toBe(1n << 6n)
    // The coarse clock is up to one tick behind.
    expect(state?.lastRxNs).toBeGreaterThan(before - 20_000_000n)
  })

  it('refuses to forward what claims to come from the node itself', () => {
    const out = rig.run('wan', arrives(outside, ip({ src: NODE, dst: behind(4, 4) }, tcp())))
    expectOutcome(out, {
      verdict: SHOT,
      drops: { 'inner-spoofed': 1 },
      counters: { ...IN, 'from-peer-clear': 1 },
    })
  })

  it.each([mpType.MP_INIT, mpType.MP_RESPONSE, mpType.MP_COOKIE, mpType.MP_RESET, 15])(
    'leaves handshake type %i to the agent',
    type => {
      const { local, remote } = WAN[outside]
      const frame = outer({ src: remote, dst: local }, build.concat(Uint8Array.of(0x10 | type), filler(30)))
      expect(rig.run('wan', frame)).toEqual({
        verdict: NEXT,
        packet: frame,
        mark: 0,
        drops: {},
        counters: { 'handshake-in': 1 },
      })
    },
  )

  it.each([
    ['UDP to another port', 6000, false],
    ['TCP to the same port', 2426, true],
  ])('does not touch %s', (_name, dport, isTcp) => {
    const { local, remote } = WAN[outside]
    const frame = ethernet(ip({ src: remote, dst: local }, isTcp ? tcp({ dport }) : udp(2426, dport, filler(80))))
    expect(rig.run('wan', frame)).toEqual({ verdict: NEXT, packet: frame, mark: 0, drops: {}, counters: {} })
  })
})

it('tags as the TypeScript SipHash does, over header and payload', () => {
  const frame = arrives(4, ip({ src: PEER, dst: NODE }, build.esp()), { number: 1n, timestampUs: 77, policyVersion: 3 })
  const message = frame.subarray(14 + 28)
  const { tag } = mpHdrCodec.decode(message)
  const key = Uint8Array.from({ length: 16 }, (_, index) => 0xf0 - index)
  expect(tag).toBe(siphash24(key, message.subarray(0, 32), message.subarray(40, 56)))
  expect(rig.run('wan', frame).drops).toEqual({})
})

// Each makes the tag begin at the key instead of at the path's state (bpf/path/tag.h).
it.each([{ qos: 0xff }, { fec: 1 }, { sequence: 1 }, { servicePath: 1 }, {}])('takes DATA with %o', fields => {
  const payload = ip({ src: PEER, dst: NODE }, build.esp())
  expect(rig.run('wan', arrives(4, payload, fields)).drops).toEqual({})
  // The same under a key whose beginning alone is right.
  rig.setSession(SID, { rxKey: [1n, 2n] })
  const plain = Object.keys(fields).length === 0
  expect(rig.run('wan', arrives(4, payload, { ...fields, number: 2n })).drops).toEqual(plain ? {} : { 'mp-tag': 1 })
})

it('decides by the larger MTU only when the packet is larger', () => {
  const packet = ip({ src: behind(4, 2), dst: behind(4, 4) }, udp(7, 8, filler(MTU.clear - 28)))
  expect(rig.run('wan', arrives(4, packet)).verdict).toBe(REDIRECT)
})
