/** mp_egress (ESP) and mp_ingress (everything else): into MP, byte by byte. World: rig.ts. */
import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import { mpType } from '../../schema/abi.gen.ts'
import { be32 } from '../../schema/address.ts'
import * as build from './build.ts'
import { ethernet, filler, icmp, ip, tcp, udp } from './build.ts'
import { behind, FAMILIES, host } from './hosts.ts'
import { carried, dissect, ipOf, trigger } from './mp.ts'
import { expectOutcome, NEXT, NODE, OTHER, OTHER_SID, PEER, REDIRECT, Rig, SHOT, SID } from './rig.ts'

const rig = new Rig()
beforeEach(() => rig.reset())
afterAll(() => rig[Symbol.dispose]())

const ESP = ip({ src: NODE, dst: PEER, tos: 0xb8 }, build.esp())
const handleOf = (outside: 4 | 6) => (outside === 4 ? SID : SID | 1)

describe.each(FAMILIES)('IPv%i outside', outside => {
  const mark = handleOf(outside)

  it('mp_egress puts ESP into MP at once', () => {
    rig.setState(mark, { txNumber: 6n })
    const out = rig.run('mp-egress', ethernet(ESP), { mark })
    expectOutcome(out, { verdict: REDIRECT, mark, drops: {}, counters: { 'mp-out': 1 } })
    expect(ipOf(out.packet)).toEqual(carried(out.packet, mark, ESP, { tos: 0xb8, number: 7n }))
    const length = BigInt(out.packet.length - 14)
    expect(rig.maps.pathState.get(mark)).toMatchObject({ txNumber: 7n, txBytes: length, rxPackets: 0n })
  })

  describe.each(FAMILIES)('IPv%i inside', inside => {
    const ends = { src: host(inside), dst: behind(inside, 2) }

    it.each([
      ['TCP', tcp()],
      ['UDP', udp(2426, 2426)],
      ['ping', icmp(inside, inside === 4 ? 8 : 128)],
      ['a packet of the shortest kind', build.raw(253, new Uint8Array(0))],
    ])('mp_ingress takes a host’s packet by its mark: %s', (_name, layer4) => {
      const packet = ip({ ...ends, tos: 0x2b }, layer4)
      const out = rig.run('mp-ingress', ethernet(packet), { mark })
      expectOutcome(out, { verdict: REDIRECT, mark, drops: {}, counters: { 'mp-out': 1 } })
      expect(ipOf(out.packet)).toEqual(carried(out.packet, mark, packet, { tos: 0x2b }))
    })

    it('fills the WAN’s MTU to the byte and no more', () => {
      const overhead = (outside === 4 ? 20 : 40) + 8 + 40
      const sized = (length: number) => ethernet(ip(ends, udp(7, 8, filler(length - (inside === 4 ? 28 : 48)))))
      expectOutcome(rig.run('mp-ingress', sized(1500 - overhead), { mark }), {
        verdict: REDIRECT,
        counters: { 'mp-out': 1 },
      })
      expectOutcome(rig.run('mp-ingress', sized(1501 - overhead), { mark }), {
        verdict: SHOT,
        drops: { 'too-big': 1 },
        counters: {},
      })
    })

    it('refuses a malformed packet', () => {
      const out = rig.run('mp-ingress', ethernet(ip(ends, build.raw(6, filler(3)))), { mark })
      expectOutcome(out, { verdict: SHOT, drops: { 'inner-malformed': 1 }, counters: {} })
    })
  })

  it('sends a probe on the path that its trigger names, usable or not', () => {
    rig.setPeer(9, { pathMask: 0 })
    const path = outside === 4 ? 0 : 1
    const packet = ip({ src: NODE, dst: PEER }, udp(2426, 2426, trigger(path)))
    rig.setPeer(9, { pathMask: 1 << (1 - path), pathBest: 1 - path })
    const out = rig.run('mp-ingress', ethernet(packet))
    expectOutcome(out, { verdict: REDIRECT, drops: {}, counters: { 'mp-out': 1, 'local-out': 1 } })
    expect(ipOf(out.packet)).toEqual(carried(out.packet, mark, packet, { type: mpType.MP_PROBE }))
  })

  it('cannot send on a path that is not learned', () => {
    rig.setPath(mark, { family: 0 })
    const drop = { verdict: SHOT, drops: { 'no-path': 1 }, counters: {} }
    expectOutcome(rig.run('mp-egress', ethernet(ESP), { mark }), drop)
    expectOutcome(rig.run('mp-ingress', ethernet(ip({ src: host(4), dst: behind(4, 2) }, tcp())), { mark }), drop)
    rig.maps.pathConf.delete(mark)
    expectOutcome(rig.run('mp-egress', ethernet(ESP), { mark }), drop)
    rig.setPath(mark, {})
    rig.maps.pathState.delete(mark)
    expectOutcome(rig.run('mp-egress', ethernet(ESP), { mark }), drop)
  })
})

describe('mp_egress', () => {
  it.each([
    ['a host’s packet', ip({ src: host(4), dst: behind(4, 2) }, tcp()), SID],
    ['a host’s IPv6 packet', ip({ src: host(6), dst: behind(6, 2) }, tcp()), SID],
    ['a packet of the node', ip({ src: NODE, dst: PEER }, tcp()), 0],
    ['a malformed one, for mp1 to count', ip({ src: NODE, dst: PEER }, build.raw(6, filler(2))), 0],
    ['ESP in IPv6', ip({ src: host(6), dst: behind(6, 2) }, build.esp()), SID],
    ['multicast ESP', ip({ src: NODE, dst: '224.0.0.5' }, build.esp()), 0],
  ])('passes on what the kernel may have to cut: %s', (_name, packet, mark) => {
    const frame = ethernet(packet)
    expect(rig.run('mp-egress', frame, { mark })).toEqual({
      verdict: NEXT,
      packet: frame,
      mark,
      drops: {},
      counters: {},
    })
  })

  it('passes what is not IP', () => {
    const frame = ethernet(filler(28), { type: 0x0806 })
    expectOutcome(rig.run('mp-egress', frame), { verdict: NEXT, packet: frame, drops: {}, counters: {} })
    expectOutcome(rig.run('mp-ingress', frame), { verdict: NEXT, packet: frame, drops: {}, counters: {} })
  })

  it.each([
    ['without a mark', 0],
    ['with another peer’s mark', OTHER_SID],
    ['with somebody’s firewall mark', 0x1234],
  ])('sends ESP %s to its destination’s peer, on the best path', (_name, mark) => {
    rig.setPeer(9, { pathBest: 1 })
    const out = rig.run('mp-egress', ethernet(ESP), { mark })
    expectOutcome(out, { verdict: REDIRECT, drops: {}, counters: { 'mp-out': 1 } })
    expect(ipOf(out.packet)).toEqual(carried(out.packet, SID | 1, ESP, { tos: 0xb8 }))
  })

  it('does not send ESP to nobody, whatever its mark says', () => {
    const packet = ip({ src: NODE, dst: '100.64.0.77' }, build.esp())
    for (const hook of ['mp-egress', 'mp-ingress'] as const)
      for (const mark of [0, SID])
        expectOutcome(rig.run(hook, ethernet(packet), { mark }), {
          verdict: SHOT,
          drops: { 'not-ours': 1 },
          counters: {},
        })
  })

  it('passes on a host’s own ESP, which is a packet like any other', () => {
    const frame = ethernet(ip({ src: host(4), dst: behind(4, 2) }, build.esp()))
    expectOutcome(rig.run('mp-egress', frame, { mark: SID }), {
      verdict: NEXT,
      packet: frame,
      drops: {},
      counters: {},
    })
    const out = rig.run('mp-ingress', frame, { mark: SID })
    expect(ipOf(out.packet)).toEqual(carried(out.packet, SID, ipOf(frame)))
  })

  it('has no path when its peer has none', () => {
    rig.setPeer(9, { pathMask: 0 })
    const drop = { verdict: SHOT, drops: { 'no-path': 1 }, counters: {} }
    expectOutcome(rig.run('mp-egress', ethernet(ESP)), drop)
    expectOutcome(rig.run('mp-ingress', ethernet(ip({ src: NODE, dst: PEER }, tcp()))), drop)
  })

  it('has no path when the session is gone', () => {
    rig.maps.sessions.delete(SID)
    const out = rig.run('mp-egress', ethernet(ESP), { mark: SID })
    expectOutcome(out, { verdict: SHOT, drops: { 'no-path': 1 }, counters: {} })
  })

  it('takes ESP in fragments, which the kernel makes of packets without DF', () => {
    const fragment = (offset: number, more: boolean) =>
      ip({ src: NODE, dst: PEER, df: false, fragment: { offset, more } }, build.esp(filler(64)))
    for (const [offset, more] of [
      [0, true],
      [72, false],
    ] as const) {
      rig.reset()
      const out = rig.run('mp-egress', ethernet(fragment(offset, more)), { mark: SID })
      expect(out.drops).toEqual({})
      expect(ipOf(out.packet)).toEqual(carried(out.packet, SID, fragment(offset, more)))
    }
  })

  describe.each(FAMILIES)('holds ESP that is not encrypted (esp offload), IPv%i inside', inside => {
    const IV = filler(8)
    const inner = ip({ src: host(inside), dst: behind(inside, 2) }, tcp())
    const frame = (data: build.Bytes) => ethernet(ip({ src: NODE, dst: PEER }, build.esp(build.concat(IV, data))))
    const run = (data: build.Bytes) => rig.run('mp-egress', frame(data), { mark: SID })

    it('when a whole packet follows the IV', () => {
      expectOutcome(run(inner), { verdict: SHOT, drops: { plaintext: 1 }, counters: {} })
    })

    it('but not ciphertext that only looks a little like it', () => {
      const near = [
        build.concat(inner, filler(2)),
        build.patched(inner, 0, 0x35),
        build.patched(inner, inside === 4 ? 10 : 6, 0x99),
      ]
      for (const data of near) expectOutcome(run(data), { verdict: REDIRECT, counters: { 'mp-out': 1 } })
    })
  })
})

describe('mp_ingress', () => {
  it('takes the virtual address of any session for the node’s own, since an edge has one with each gateway', () => {
    const session = rig.maps.sessions.get(SID)
    if (!session) throw new Error('no session')
    rig.maps.sessions.set(SID, { ...session, vaddrLocal: be32('100.64.64.7') })
    const packet = ip({ src: '100.64.64.7', dst: PEER }, tcp({ dport: 4000 }))
    const out = rig.run('mp-ingress', ethernet(packet))
    expectOutcome(out, { verdict: REDIRECT, drops: {}, counters: { 'mp-out': 1, 'local-out': 1 } })
  })

  it.each([
    ['TCP of a route session', tcp({ dport: 4000 })],
    ['UDP to another port', udp(2426, 53)],
    ['ping', icmp(4, 8)],
  ])('finds the path of the node’s own packet by its destination: %s', (_name, layer4) => {
    rig.setPeer(9, { pathBest: 1 })
    const packet = ip({ src: NODE, dst: PEER }, layer4)
    const out = rig.run('mp-ingress', ethernet(packet))
    expectOutcome(out, { verdict: REDIRECT, drops: {}, counters: { 'mp-out': 1, 'local-out': 1 } })
    expect(ipOf(out.packet)).toEqual(carried(out.packet, SID | 1, packet))
  })

  it('sends the node’s ICMP error to a host by its mark', () => {
    const packet = ip({ src: NODE, dst: behind(4, 2) }, icmp(4, 3))
    const out = rig.run('mp-ingress', ethernet(packet), { mark: SID })
    expectOutcome(out, { verdict: REDIRECT, counters: { 'mp-out': 1 } })
    expect(ipOf(out.packet)).toEqual(carried(out.packet, SID, packet))
  })

  it('finds the other peer too', () => {
    const packet = ip({ src: NODE, dst: OTHER }, tcp())
    const out = rig.run('mp-ingress', ethernet(packet))
    expect(dissect(out.packet).header).toMatchObject({ session: 0x800, path: 0 })
    expect(rig.maps.pathState.get(OTHER_SID)).toMatchObject({ txNumber: 1n })
  })

  it.each([
    ['a host’s packet without a mark', ip({ src: host(4), dst: behind(4, 2) }, tcp()), 0],
    ['a host’s IPv6 packet without a mark', ip({ src: host(6), dst: behind(6, 2) }, tcp()), 0],
    ['a mark that is no handle', ip({ src: host(4), dst: behind(4, 2) }, tcp()), 0x5550],
    ['the node’s packet to nobody', ip({ src: NODE, dst: '100.64.0.77' }, tcp()), 0],
    ['a packet to a peer from another address', ip({ src: '100.64.0.5', dst: PEER }, tcp()), 0],
  ])('drops %s', (_name, packet, mark) => {
    expectOutcome(rig.run('mp-ingress', ethernet(packet), { mark }), {
      verdict: SHOT,
      drops: { 'not-ours': 1 },
      counters: {},
    })
  })

  it.each([
    ['multicast', ip({ src: NODE, dst: '224.0.0.22' }, udp(1, 2))],
    ['router solicitations', ip({ src: 'fe80::1', dst: 'ff02::2' }, icmp(6, 133))],
  ])('leaves the kernel’s own %s to the stack', (_name, packet) => {
    const frame = ethernet(packet)
    expect(rig.run('mp-ingress', frame)).toEqual({ verdict: NEXT, packet: frame, mark: 0, drops: {}, counters: {} })
  })

  it.each([
    ['path 16', trigger(16), {}],
    ['path 255', trigger(255), {}],
    ['no byte', new Uint8Array(0), {}],
    ['what is no whole trigger', trigger(0).subarray(1), {}],
    ['a path that the session has not', trigger(5), { 'local-out': 1 }],
    ['a path that the session has not, at any size', trigger(5, 1, 1400), { 'local-out': 1 }],
  ])('cannot probe %s', (_name, data, counters) => {
    const out = rig.run('mp-ingress', ethernet(ip({ src: NODE, dst: PEER }, udp(2426, 2426, data))))
    expectOutcome(out, { verdict: SHOT, drops: { 'no-path': 1 }, counters })
  })

  it('cannot probe nobody', () => {
    const out = rig.run('mp-ingress', ethernet(ip({ src: NODE, dst: '100.64.0.77' }, udp(2426, 2426, trigger(0)))))
    expectOutcome(out, { verdict: SHOT, drops: { 'not-ours': 1 }, counters: {} })
  })

  it('refuses GSO: the kernel should have cut it', () => {
    const packet = ethernet(ip({ src: host(4), dst: behind(4, 2) }, tcp({ data: filler(900) })))
    expectOutcome(rig.run('mp-ingress', packet, { mark: SID, gsoSize: 300 }), {
      verdict: SHOT,
      drops: { rewrite: 1 },
      counters: {},
    })
  })
})
