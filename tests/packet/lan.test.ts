/** lan_ingress: packet in, verdict, exact packet out, exact counters and drops. World: rig.ts. */
import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import { be32 } from '../../schema/address.ts'
import * as build from './build.ts'
import { ethernet, filler, icmp, ip, tcp, udp } from './build.ts'
import { behind, FAMILIES, type Family, host, type IcmpKind, icmpFrame } from './hosts.ts'
import { carried, dissect, ipOf } from './mp.ts'
import { expectOutcome, NEXT, NODE, OTHER_SID, REDIRECT, REMOTE_SID, Rig, SHOT, SID, VRF } from './rig.ts'

const rig = new Rig()
beforeEach(() => rig.reset())
afterAll(() => rig[Symbol.dispose]())

const NEW = { 'lan-in': 1, 'flow-new': 1 }

describe.each(FAMILIES)('IPv%i', family => {
  const to = (n: number) => ({ src: host(family), dst: behind(family, n) })

  describe('goes on with one TTL less', () => {
    describe.each(FAMILIES)('in MP over IPv%i', outside => {
      const handle = outside === 4 ? SID : SID | 1
      beforeEach(() => rig.setPeer(9, { pathBest: handle & 1 }))

      it.each([
        ['TCP', tcp()],
        ['UDP', udp(1000, 53)],
        ['ping', icmp(family, family === 4 ? 8 : 128)],
        ['SCTP', build.raw(132)],
        ['GRE', build.raw(47)],
        ['another protocol without data', build.raw(253, new Uint8Array(0))],
      ])('%s', (_name, layer4) => {
        rig.setState(handle, { txNumber: 6n })
        const out = rig.run('lan', ethernet(ip({ ...to(2), tos: 0x2b }, layer4)))
        expectOutcome(out, { verdict: REDIRECT, mark: handle, counters: { ...NEW, 'to-peer-clear': 1, 'mp-out': 1 } })
        const inner = ip({ ...to(2), tos: 0x2b, ttl: 63 }, layer4)
        expect(ipOf(out.packet)).toEqual(carried(out.packet, handle, inner, { tos: 0x2b, number: 7n }))
        const length = BigInt(out.packet.length - 14)
        expect(rig.maps.pathState.get(handle)).toMatchObject({ txNumber: 7n, txBytes: length })
      })

      it('unless it is GSO: mp0’s kernel side cuts it and completes it first', () => {
        const out = rig.run('lan', ethernet(ip(to(2), tcp({ data: filler(900) }))), { gsoSize: 300 })
        expect(out).toEqual({
          verdict: REDIRECT,
          packet: ethernet(ip({ ...to(2), ttl: 63 }, tcp({ data: filler(900) }))),
          mark: handle,
          drops: {},
          counters: { ...NEW, 'to-peer-clear': 1 },
        })
      })

      it('fills the WAN’s MTU to the byte and no more', () => {
        rig.setPeer(9, { pathBest: handle & 1, mtuClear: 9000 })
        const overhead = (outside === 4 ? 20 : 40) + 8 + 40 + (family === 4 ? 28 : 48)
        const sized = (length: number) => ethernet(ip(to(2), udp(7, 8, filler(length - overhead))))
        const passes = rig.run('lan', sized(1500))
        expect(passes.packet.length).toBe(1514)
        expectOutcome(passes, { verdict: REDIRECT, counters: { ...NEW, 'to-peer-clear': 1, 'mp-out': 1 } })
        expectOutcome(rig.run('lan', sized(1501)), {
          verdict: SHOT,
          drops: { 'too-big': 1 },
          counters: { 'lan-in': 1, 'flow-hit': 1, 'to-peer-clear': 1 },
        })
      })

      it.each([
        ['a path that is not learned', () => rig.setPath(handle, { family: 0 })],
        ['a session that is gone', () => rig.maps.sessions.delete(SID)],
      ])('not by %s', (_name, spoil) => {
        spoil()
        expectOutcome(rig.run('lan', ethernet(ip(to(2), tcp()))), {
          verdict: SHOT,
          drops: { 'no-path': 1 },
          counters: { ...NEW, 'to-peer-clear': 1 },
        })
      })
    })

    it('to peer 8 clear', () => {
      const out = rig.run('lan', ethernet(ip(to(4), tcp())))
      expectOutcome(out, { verdict: REDIRECT, mark: OTHER_SID, counters: { ...NEW, 'to-peer-clear': 1, 'mp-out': 1 } })
      expect(ipOf(out.packet)).toEqual(carried(out.packet, OTHER_SID, ip({ ...to(4), ttl: 63 }, tcp())))
    })

    it.each([
      ['peer 9 secure', 3, SID, 'to-peer-secure'],
      ['peer 8 secure', 5, OTHER_SID, 'to-peer-secure'],
      ['LAN', 1, 0, 'lan-out'],
      ['LAN of a secure segment', 6, 0, 'lan-out'],
    ] as const)('to %s', (_name, n, mark, counter) => {
      const out = rig.run('lan', ethernet(ip(to(n), tcp())))
      expect(out).toEqual({
        verdict: REDIRECT,
        packet: ethernet(ip({ ...to(n), ttl: 63 }, tcp())),
        mark,
        drops: {},
        counters: { ...NEW, [counter]: 1 },
      })
    })

    it.each([[255], [128], [2]])('TTL %i', ttl => {
      const out = rig.run('lan', ethernet(ip({ ...to(2), ttl, tos: 0xb9 }, tcp())))
      expect(dissect(out.packet).payload).toEqual(ip({ ...to(2), ttl: ttl - 1, tos: 0xb9 }, tcp()))
    })

    it('without the padding that Ethernet added', () => {
      const packet = ip(to(2), udp(1, 2, filler(1)))
      const out = rig.run('lan', build.concat(ethernet(packet), new Uint8Array(17)))
      expect(dissect(out.packet).payload).toEqual(ip({ ...to(2), ttl: 63 }, udp(1, 2, filler(1))))
    })
  })

  it('hands packets for the node itself to the stack, untouched', () => {
    const packet = ethernet(ip({ src: host(family), dst: family === 4 ? '10.1.0.1' : 'fd01::1', ttl: 1 }, tcp()))
    expect(rig.run('lan', packet)).toEqual({ verdict: NEXT, packet, mark: 0, drops: {}, counters: { 'lan-in': 1 } })
  })

  describe('answers what it drops', () => {
    it.each<[string, number, number, string, IcmpKind]>([
      ['no route', 200, 64, 'no-route', 'unreachable'],
      ['an empty next hop', 15, 64, 'no-route', 'unreachable'],
      ['an unreachable prefix', 10, 64, 'unreachable', 'unreachable'],
      ['a prohibited prefix', 11, 64, 'prohibited', 'prohibited'],
      ['TTL 1 to a peer', 2, 1, 'ttl', 'time-exceeded'],
      ['TTL 0 to a peer', 2, 0, 'ttl', 'time-exceeded'],
      ['TTL 1 to a secure peer', 3, 1, 'ttl', 'time-exceeded'],
      ['TTL 1 to the LAN', 1, 1, 'ttl', 'time-exceeded'],
    ])('%s', (_name, n, ttl, reason, kind) => {
      const dst = n === 200 ? (family === 4 ? '192.0.2.1' : '2001:db8:ffff::1') : behind(family, n)
      for (const layer4 of [udp(7, 8, filler(1)), tcp({ data: filler(700) })]) {
        rig.reset()
        const original = ip({ src: host(family), dst, ttl }, layer4)
        const out = rig.run('lan', ethernet(original))
        // Only what has somewhere to go is remembered as a flow.
        const flow = reason === 'ttl' ? { 'flow-new': 1 } : {}
        expectOutcome(out, {
          verdict: REDIRECT,
          packet: icmpFrame(family, kind, host(family), original),
          drops: { [reason]: 1 },
          counters: { 'lan-in': 1, 'icmp-sent': 1, ...flow },
        })
      }
    })

    it('says nothing from a port without an address of the family', () => {
      rig.maps.ports.set(1, { ifindex: 1, vrf: VRF, addr4: 0, flags: 0, addr6: new Uint8Array(16) })
      const out = rig.run('lan', ethernet(ip(to(10), udp(7, 8))))
      expectOutcome(out, { verdict: SHOT, drops: { unreachable: 1 }, counters: { 'lan-in': 1 } })
    })

    it.each([
      ['an ICMP error', ip(to(10), icmp(family, family === 4 ? 3 : 1))],
      ['a later fragment', ip({ ...to(10), df: false, fragment: { offset: 64, more: false } }, build.raw(17))],
      ['a multicast source', ip({ ...to(10), src: family === 4 ? '224.0.0.5' : 'ff02::5' }, udp(7, 8))],
      ['a loopback source', ip({ ...to(10), src: family === 4 ? '127.0.0.1' : '::1' }, udp(7, 8))],
    ])('but never %s', (_name, packet) => {
      const out = rig.run('lan', ethernet(packet))
      expectOutcome(out, { verdict: SHOT, drops: { unreachable: 1 }, counters: { 'lan-in': 1 } })
      expect(out.counters).not.toHaveProperty('icmp-sent')
    })

    it('and does answer an echo request and a first fragment', () => {
      const echo = rig.run('lan', ethernet(ip(to(10), icmp(family, family === 4 ? 8 : 128))))
      expect(echo.counters).toHaveProperty('icmp-sent', 1)
      const first = ip({ ...to(10), df: false, fragment: { offset: 0, more: true } }, udp(7, 8))
      expect(rig.run('lan', ethernet(first)).counters).toHaveProperty('icmp-sent', 1)
    })

    it('but not more than a burst of 20 at once', () => {
      const packet = ethernet(ip(to(10), udp(7, 8)))
      const sent = Array.from({ length: 60 }, () => rig.run('lan', packet).counters['icmp-sent'] ?? 0)
      const total = sent.reduce((a, b) => a + b, 0)
      expect(sent.slice(0, 20)).toEqual(sent.slice(0, 20).fill(1))
      // 100 a second are given back while the loop runs.
      expect(total).toBeLessThan(45)
    })
  })

  describe('drops without an answer', () => {
    it.each([
      ['a peer that is gone', 12, 'no-peer'],
      ['a peer without a usable path', 13, 'no-path'],
      ['a secure route over a peer without ESP', 14, 'no-esp'],
    ])('%s', (_name, n, reason) => {
      const out = rig.run('lan', ethernet(ip(to(n), tcp())))
      expectOutcome(out, { verdict: SHOT, drops: { [reason]: 1 }, counters: NEW })
    })

    it('a secure route on a kernel without ESP', () => {
      rig.setNode({ ipsecIfindex: 0 })
      const out = rig.run('lan', ethernet(ip(to(3), tcp())))
      expectOutcome(out, { verdict: SHOT, drops: { 'no-esp': 1 }, counters: NEW })
    })

    it.each([
      ['a port nobody configured', () => rig.maps.ports.delete(1)],
      [
        'a port without VRF',
        () =>
          rig.maps.ports.set(1, { ifindex: 1, vrf: 0, addr4: be32('10.1.0.1'), flags: 0, addr6: new Uint8Array(16) }),
      ],
    ])('%s', (_name, spoil) => {
      spoil()
      const packet = ethernet(ip(to(2), tcp()))
      expect(rig.run('lan', packet)).toEqual({ verdict: SHOT, packet, mark: 0, drops: { 'no-vrf': 1 }, counters: {} })
    })
  })

  describe('leaves to the stack', () => {
    const packet = ip({ src: host(family), dst: behind(family, 2) }, udp(1, 2))
    it.each([
      ['a frame for another station', ethernet(packet, { dst: [2, 0, 0, 0, 0, 1] })],
      ['a broadcast frame', ethernet(packet, { dst: [255, 255, 255, 255, 255, 255] })],
      ['ARP', ethernet(filler(28), { type: 0x0806 })],
      ['PPPoE', ethernet(filler(60), { type: 0x8864 })],
      ['multicast', ethernet(ip({ src: host(family), dst: family === 4 ? '239.1.1.1' : 'ff05::1' }, udp(1, 2)))],
      [
        'a link-local destination',
        ethernet(ip({ src: host(family), dst: family === 4 ? '169.254.1.1' : 'fe80::1' }, udp(1, 2))),
      ],
      [
        'a link-local source',
        ethernet(ip({ src: family === 4 ? '169.254.1.1' : 'fe80::1', dst: behind(family, 2) }, udp(1, 2))),
      ],
    ])('%s', (_name, frame) => {
      expect(rig.run('lan', frame)).toEqual({ verdict: NEXT, packet: frame, mark: 0, drops: {}, counters: {} })
    })
  })

  it.each(malformed(family))('refuses %s', (_name, packet) => {
    const frame = ethernet(packet, { type: family === 4 ? 0x0800 : 0x86dd })
    const out = rig.run('lan', frame)
    expect(out).toEqual({ verdict: SHOT, packet: frame, mark: 0, drops: { 'inner-malformed': 1 }, counters: {} })
  })

  it.each([
    ['the best one', 3, 1, SID | 1],
    ['the lowest when the best is not usable', 2, 0, SID | 1],
    ['the lowest when the best does not exist', 3, 99, SID],
  ])('chooses a path: %s', (_name, pathMask, pathBest, handle) => {
    rig.setPeer(9, { pathMask, pathBest })
    expect(dissect(rig.run('lan', ethernet(ip(to(2), tcp()))).packet).header).toMatchObject({
      session: REMOTE_SID,
      path: handle & 1,
    })
  })
})

it('leaves an answer to neighbour discovery to the stack, whatever address had asked', () => {
  const frame = ethernet(ip({ src: host(6), dst: behind(6, 2) }, icmp(6, 136)))
  expect(rig.run('lan', frame)).toEqual({ verdict: NEXT, packet: frame, mark: 0, drops: {}, counters: {} })
})

it('refuses the node’s own virtual address as a source', () => {
  const out = rig.run('lan', ethernet(ip({ src: NODE, dst: behind(4, 2) }, tcp())))
  expectOutcome(out, { verdict: SHOT, drops: { 'inner-spoofed': 1 }, counters: { 'lan-in': 1 } })
})

describe('extension headers and options', () => {
  it('are stepped over for the ports', () => {
    const extensions = [
      { type: 0, bytes: filler(8).fill(0, 1, 2) },
      { type: build.PROTOCOL.ROUTING, bytes: filler(16).fill(1, 1, 2) },
      { type: build.PROTOCOL.DESTINATION, bytes: filler(8).fill(0, 1, 2) },
    ]
    const options = { 4: { options: new Uint8Array(8).fill(1) }, 6: { extensions } }
    for (const family of FAMILIES) {
      const ends = { src: host(family), dst: behind(family, 2) }
      const run = (more: object, sport: number, dport: number) =>
        rig.run('lan', ethernet(ip({ ...ends, ...more }, udp(sport, dport)))).counters
      expect(run(options[family], 1111, 2222)).toMatchObject({ 'flow-new': 1 })
      expect(run({}, 1111, 2222)).toMatchObject({ 'flow-hit': 1 })
      for (const [sport, dport] of [
        [2222, 1111],
        [1112, 2222],
        [1111, 2223],
      ] as const)
        expect(run(options[family], sport, dport)).toMatchObject({ 'flow-new': 1 })
    }
  })
})

/** A cut IP header is not among them: the test run itself refuses such a frame. */
function malformed(family: Family): [string, build.Bytes][] {
  const to = { src: host(family), dst: behind(family, 2) }
  const good = ip(to, tcp())
  const common: [string, build.Bytes][] = [
    ['a wrong version', build.patched(good, 0, 0x25)],
    ['a cut TCP header', ip(to, build.raw(6, filler(19)))],
    ['a TCP header that claims more than there is', ip(to, build.raw(6, build.patched(filler(24), 12, 0xf0)))],
    ['a TCP header below 20 bytes', ip(to, build.raw(6, build.patched(filler(24), 12, 0x40)))],
    ['a cut UDP header', ip(to, build.raw(17, filler(7)))],
    ['a cut ICMP header', ip(to, build.raw(family === 4 ? 1 : 58, filler(7)))],
  ]
  if (family === 4)
    return [
      ...common,
      ['a header length below 5', build.patched(good, 0, 0x44)],
      [
        'a header length beyond the packet',
        build.patched(ip({ ...to, totalLength: 24 }, build.raw(6, filler(4))), 0, 0x4f),
      ],
      ['a total length beyond the frame', ip({ ...to, totalLength: 1000 }, tcp())],
      ['a total length below the header', ip({ ...to, totalLength: 19 }, tcp())],
    ]
  const hop = (bytes: number, length: number) => ({ type: 60, bytes: filler(bytes).fill(length, 1, 2) })
  return [
    ...common,
    ['a payload length beyond the frame', ip({ ...to, payloadLength: 1000 }, tcp())],
    ['an extension header that runs over the end', ip({ ...to, extensions: [hop(8, 40)] }, tcp())],
    [
      'an endless chain of extension headers',
      ip({ ...to, extensions: Array.from({ length: 6 }, () => hop(8, 0)) }, tcp()),
    ],
    ['a cut extension header', ip(to, build.raw(60, filler(2)))],
  ]
}
