/** lan_ingress: what fits a tunnel, and the MSS that makes TCP fit. World: rig.ts. */
import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import * as build from './build.ts'
import { ethernet, filler, ip, tcp, udp } from './build.ts'
import { behind, FAMILIES, host, icmpFrame } from './hosts.ts'
import { dissect } from './mp.ts'
import { expectOutcome, MTU, REDIRECT, Rig, SID } from './rig.ts'

const rig = new Rig()
beforeEach(() => rig.reset())
afterAll(() => rig[Symbol.dispose]())

const NEW = { 'lan-in': 1, 'flow-new': 1 }

describe.each(FAMILIES)('IPv%i', family => {
  const to = (n: number) => ({ src: host(family), dst: behind(family, n) })
  const header = family === 4 ? 20 : 40

  describe('size', () => {
    const sized = (n: number, length: number, df = true) => ip({ ...to(n), df }, udp(7, 8, filler(length - header - 8)))

    it.each([
      ['clear', 2, MTU.clear, { 'to-peer-clear': 1, 'mp-out': 1 }],
      ['secure', 3, MTU.secure, { 'to-peer-secure': 1 }],
    ])('%s: the MTU passes, one byte more is answered', (_name, n, mtu, sent) => {
      expectOutcome(rig.run('lan', ethernet(sized(n, mtu))), { verdict: REDIRECT, counters: { ...NEW, ...sent } })
      expectOutcome(rig.run('lan', ethernet(sized(n, mtu + 1))), {
        verdict: REDIRECT,
        packet: icmpFrame(family, 'too-big', host(family), sized(n, mtu + 1), mtu),
        drops: { 'too-big': 1 },
        counters: { 'lan-in': 1, 'flow-hit': 1, 'icmp-sent': 1 },
      })
    })

    it('secure without DF goes on in IPv4, for the kernel to fragment the ESP; clear does not', () => {
      const secure = rig.run('lan', ethernet(sized(3, 1500, false)))
      const clear = rig.run('lan', ethernet(sized(2, 1500, false)))
      expect(clear.drops).toEqual({ 'too-big': 1 })
      if (family === 4) {
        expectOutcome(secure, { verdict: REDIRECT, mark: SID, counters: { ...NEW, 'to-peer-secure': 1 } })
      } else {
        expect(secure.drops).toEqual({ 'too-big': 1 })
      }
    })

    it('of a GSO packet is that of its segments', () => {
      const packet = ethernet(ip(to(2), tcp({ data: filler(2800) })))
      const fits = MTU.clear - header - 20
      expectOutcome(rig.run('lan', packet, { gsoSize: fits }), {
        verdict: REDIRECT,
        mark: SID,
        counters: { ...NEW, 'to-peer-clear': 1 },
      })
      expectOutcome(rig.run('lan', packet, { gsoSize: fits + 1 }), {
        verdict: REDIRECT,
        packet: icmpFrame(family, 'too-big', host(family), packet.subarray(14), MTU.clear),
        drops: { 'too-big': 1 },
        counters: { 'lan-in': 1, 'flow-hit': 1, 'icmp-sent': 1 },
      })
    })
  })

  describe('MSS of a SYN', () => {
    const syn = (flags: number, ...options: build.Bytes[]) =>
      tcp({ flags, options: build.concat(...options), data: new Uint8Array(0) })
    const NOP = Uint8Array.of(1)
    const END = Uint8Array.of(0)
    const TIMESTAMP = Uint8Array.of(8, 10, 1, 2, 3, 4, 5, 6, 7, 8)
    const { mssOption } = build
    /** A clear packet left in MP, a secure one as it is. */
    const innerOf = (n: number, frame: build.Bytes) => (n === 2 ? dissect(frame).payload : frame.subarray(14))
    const limit = (n: number) => (n === 3 ? MTU.secure : MTU.clear) - header - 20

    it.each([
      ['clear', 2],
      ['secure', 3],
    ])('is lowered to what fits: %s', (_name, n) => {
      for (const flags of [build.SYN, build.SYN | build.ACK]) {
        const out = rig.run('lan', ethernet(ip(to(n), syn(flags, mssOption(1460)))))
        expect(innerOf(n, out.packet)).toEqual(ip({ ...to(n), ttl: 63 }, syn(flags, mssOption(limit(n)))))
        expect(out.counters).toHaveProperty('mss-clamped', 1)
      }
    })

    it('is found behind other options, at odd offsets too', () => {
      const around = (mss: number) => [NOP, TIMESTAMP, mssOption(mss), NOP]
      const out = rig.run('lan', ethernet(ip(to(2), syn(build.SYN, ...around(9000)))))
      expect(innerOf(2, out.packet)).toEqual(ip({ ...to(2), ttl: 63 }, syn(build.SYN, ...around(limit(2)))))
    })

    it.each([
      ['small enough', syn(build.SYN, mssOption(1000))],
      ['just right', syn(build.SYN, mssOption(limit(2)))],
      ['none', syn(build.SYN)],
      ['behind the end of options', syn(build.SYN, END, NOP, NOP, NOP, mssOption(9000))],
      ['of a wrong length', syn(build.SYN, Uint8Array.of(2, 3, 0xff, 1))],
      ['behind an option of length 0', syn(build.SYN, Uint8Array.of(9, 0, 1, 1), mssOption(9000))],
      ['behind an option of length 1', syn(build.SYN, Uint8Array.of(9, 1, 1, 1), mssOption(9000))],
      ['behind an option that runs over the end', syn(build.SYN, Uint8Array.of(9, 200, 1, 1), mssOption(9000))],
      ['not in a SYN', syn(build.ACK, mssOption(9000))],
    ])('stays when it is %s', (_name, layer4) => {
      const out = rig.run('lan', ethernet(ip(to(2), layer4)))
      expect(innerOf(2, out.packet)).toEqual(ip({ ...to(2), ttl: 63 }, layer4))
      expect(out.counters).not.toHaveProperty('mss-clamped')
    })
  })
})
