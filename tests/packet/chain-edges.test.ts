/**
 * Where a chain meets what is around it: the way to the Internet, a second tenant, secure and clear tunnels, a policy that changes, routes that change.
 * World: chain-world.ts, and an upstream device behind next hop 30 (default route of both tenants, for what passed a chain).
 */
import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import { ABI_NH_F_CHAINED, ABI_VRF_UPSTREAM, nexthopKind } from '../../schema/abi.gen.ts'
import { ACK, ethernet, ip, SYN, tcp, udp } from './build.ts'
import { ChainRig, into, stage } from './chain-world.ts'
import { behind, FAMILIES, host, icmpFrame } from './hosts.ts'
import { mp, outer } from './mp.ts'
import { expectOutcome, REDIRECT, SHOT, SID, VRF, WAN } from './rig.ts'

const rig = new ChainRig()
const OTHER_VRF = 8
beforeEach(() => {
  rig.reset()
  rig.setNexthop(30, nexthopKind.NH_LAN, ABI_NH_F_CHAINED, UPSTREAM)
  for (const vrf of [VRF, OTHER_VRF]) {
    rig.fib.set({ vrf, address: '0.0.0.0', prefixLength: 0 }, 30)
    rig.fib.set({ vrf, address: '::', prefixLength: 0 }, 30)
  }
  rig.maps.ports.set(UPSTREAM, port(UPSTREAM, ABI_VRF_UPSTREAM))
})
afterAll(() => rig[Symbol.dispose]())

const UPSTREAM = 77
const port = (ifindex: number, vrf: number) => ({
  ifindex,
  vrf,
  addr4: 0x0100010a,
  flags: 0,
  addr6: new Uint8Array(16).fill(1),
})
const FIRST = { 'lan-in': 1, 'flow-new': 2, steered: 1, 'to-service': 1 }
const LAST = { 'from-service': 1, 'flow-new': 2, 'lan-out': 1 }

describe.each(FAMILIES)('IPv%i', family => {
  const server = family === 4 ? '203.0.113.80' : '2001:db8:80::1'
  const nat = family === 4 ? '198.51.100.7' : '2001:db8:7::7'
  const there = { src: host(family), dst: server }
  const question = ip(there, tcp({ flags: SYN }))
  const lan = (packet = question) => rig.run('lan', ethernet(packet))
  /** prog test run knows one device: what arrives on it is of this VRF. */
  const arrives = (vrf: number) => rig.maps.ports.set(1, port(1, vrf))

  describe('to the Internet', () => {
    it('goes what passed the chain, and answers to its translated address come back through it', () => {
      expectOutcome(lan(), { verdict: REDIRECT, packet: into(11, 'inside', question), counters: FIRST })
      const translated = ip({ src: nat, dst: server }, tcp({ sport: 61000, flags: SYN }))
      rig.out(11, 'outside', translated)
      const left = rig.out(21, 'outside', translated)
      expectOutcome(left, { verdict: REDIRECT, counters: LAST })
      arrives(ABI_VRF_UPSTREAM)
      const answer = ip({ src: server, dst: nat }, tcp({ sport: 443, dport: 61000, flags: SYN | ACK }))
      expectOutcome(lan(answer), {
        verdict: REDIRECT,
        packet: into(21, 'outside', answer),
        counters: { 'lan-in': 1, 'flow-hit': 1, 'to-service': 1 },
      })
      expectOutcome(rig.out(21, 'inside', answer), {
        verdict: REDIRECT,
        packet: into(11, 'outside', answer),
        counters: { 'from-service': 1, 'flow-hit': 1, 'to-service': 1 },
      })
    })

    it('nothing goes past a chain, and it may once a rule says so', () => {
      rig.setPolicy([{ dportFrom: 80, dportTo: 80 }])
      for (let time = 0; time < 2; time++)
        expectOutcome(lan(), {
          verdict: REDIRECT,
          packet: icmpFrame(family, 'prohibited', there.src, question),
          drops: { 'not-chained': 1 },
          counters: { 'lan-in': 1, 'icmp-sent': 1 },
        })
      rig.setPolicy([{}], { version: 6 }, 10)
      expectOutcome(lan(), { verdict: REDIRECT, packet: into(11, 'inside', question), counters: FIRST })
    })

    it('nothing comes that nobody asked for', () => {
      arrives(ABI_VRF_UPSTREAM)
      const scan = ip({ src: server, dst: nat }, tcp({ flags: SYN }))
      expect(lan(scan)).toMatchObject({ drops: { 'no-route': 1 } })
      expect(lan(ip({ src: server, dst: host(family) }, tcp({ flags: SYN })))).toMatchObject({
        drops: { 'no-route': 1 },
      })
      expect(rig.flows.entries()).toEqual([])
    })

    it('no tenant takes another’s tuple', () => {
      lan()
      rig.out(11, 'outside', question)
      rig.out(21, 'outside', question)
      // The same instances, now of another tenant, whose host has the same address.
      for (const adapter of [12, 22]) {
        const hop = adapter === 12 ? 0 : 1
        rig.setAdapter(adapter, { chain: 4, hop, vrfStage: stage(hop, OTHER_VRF) })
      }
      rig.maps.chain.chains.set(4, {
        ...rig.maps.chain.chains.get(3),
        vrf: OTHER_VRF,
        pools: [5, 6, 0, 0, 0, 0, 0, 0],
      } as never)
      rig.setPool(5, [12])
      rig.setPool(6, [22])
      rig.maps.chain.policyRules.set(20, { ...rig.maps.chain.policyRules.get(0), chain: 4 } as never)
      rig.maps.chain.policies.set(OTHER_VRF, { first: 20, rules: 1, reserved: 0, version: 1, oldest: 0 })
      arrives(OTHER_VRF)
      expectOutcome(lan(), { verdict: REDIRECT, packet: into(12, 'inside', question), counters: FIRST })
      rig.out(12, 'outside', question)
      expect(rig.out(22, 'outside', question)).toMatchObject({ verdict: SHOT, drops: { 'inner-spoofed': 1 } })
    })
  })

  describe('secure and clear', () => {
    const clear = (packet = question) =>
      rig.run(
        'wan',
        outer({ src: WAN[4].remote, dst: WAN[4].local }, mp({ session: SID, number: BigInt(++numbers) }, packet)),
      )
    let numbers = 0
    beforeEach(() => {
      numbers = 0
    })

    it('a clear packet enters no secure chain, first or later', () => {
      rig.setSecure()
      expect(clear()).toMatchObject({ verdict: SHOT, drops: { 'no-chain': 1 } })
      lan()
      expect(clear()).toMatchObject({ verdict: SHOT, drops: { 'clear-on-secure': 1 } })
    })

    it('out of a secure chain nothing leaves in clear but to the Internet', () => {
      rig.setSecure()
      const branch = ip({ ...there, dst: behind(family, 2) }, tcp({ flags: SYN }))
      lan(branch)
      rig.out(11, 'outside', branch)
      expect(rig.out(21, 'outside', branch)).toMatchObject({ verdict: SHOT, drops: { 'secure-on-clear': 1 } })
      const secure = ip({ ...there, dst: behind(family, 3) }, tcp({ flags: SYN }))
      lan(secure)
      rig.out(11, 'outside', secure)
      const counters = { 'from-service': 1, 'flow-new': 2, 'to-peer-secure': 1 }
      expectOutcome(rig.out(21, 'outside', secure), { verdict: REDIRECT, mark: SID, counters })
      lan()
      rig.out(11, 'outside', question)
      expectOutcome(rig.out(21, 'outside', question), { verdict: REDIRECT, counters: LAST })
    })

    it('out of a clear chain nothing reaches a secure peer', () => {
      const secure = ip({ ...there, dst: behind(family, 3) }, tcp({ flags: SYN }))
      lan(secure)
      rig.out(11, 'outside', secure)
      expect(rig.out(21, 'outside', secure)).toMatchObject({ verdict: SHOT, drops: { 'clear-on-secure': 1 } })
    })
  })

  describe('a policy that changes', () => {
    const data = ip(there, tcp())
    const known = { 'lan-in': 1, 'to-service': 1 }
    const branch = ip({ ...there, dst: behind(family, 2) }, udp(7, 443))

    it('leaves connections with their instances, whatever routes do', () => {
      lan()
      rig.setNode({ routeEpoch: 2 })
      rig.setPolicy([{ chain: 0 }], { version: 6 }, 10)
      expectOutcome(lan(data), { verdict: REDIRECT, packet: into(11, 'inside', data), counters: known })
      expectOutcome(lan(data), {
        verdict: REDIRECT,
        packet: into(11, 'inside', data),
        counters: { ...known, 'flow-hit': 1 },
      })
    })

    it('that moves connections decides anew', () => {
      lan(branch)
      expect(rig.connections(11)).toEqual([1, 1])
      rig.setNode({ routeEpoch: 2 })
      rig.setPolicy([{ chain: 0 }], { version: 6, oldest: 6 }, 10)
      expectOutcome(lan(branch), { verdict: REDIRECT, counters: { 'lan-in': 1, 'to-peer-clear': 1, 'mp-out': 1 } })
      expect(rig.connections(11)).toEqual([0, 1])
      rig.setNode({ routeEpoch: 3 })
      rig.setPolicy([{}], { version: 7, oldest: 7 }, 20)
      expectOutcome(lan(branch), {
        verdict: REDIRECT,
        packet: into(12, 'inside', branch),
        // Both entries are those of the former link still.
        counters: { 'lan-in': 1, steered: 1, 'to-service': 1 },
      })
    })

    it('leaves those alone that were not steered, unless it moves them', () => {
      rig.setPolicy([{ chain: 0 }])
      lan(branch)
      rig.setNode({ routeEpoch: 2 })
      rig.setPolicy([{}], { version: 6 }, 10)
      expectOutcome(lan(branch), { verdict: REDIRECT, counters: { 'lan-in': 1, 'to-peer-clear': 1, 'mp-out': 1 } })
      rig.setNode({ routeEpoch: 3 })
      rig.setPolicy([{}], { version: 7, oldest: 7 }, 20)
      expect(lan(branch).counters).toMatchObject({ steered: 1, 'to-service': 1 })
    })
  })

  it('routes that change move the end of a chain, and nothing before it', () => {
    const branch = ip({ ...there, dst: behind(family, 2) }, udp(7, 443))
    lan(branch)
    rig.out(11, 'outside', branch)
    expectOutcome(rig.out(21, 'outside', branch), {
      verdict: REDIRECT,
      mark: SID,
      counters: { 'from-service': 1, 'flow-new': 2, 'to-peer-clear': 1, 'mp-out': 1 },
    })
    rig.setNode({ routeEpoch: 2 })
    rig.setNexthop(2, nexthopKind.NH_PEER, 0, 8)
    try {
      const out = rig.out(21, 'outside', branch)
      expectOutcome(out, { verdict: REDIRECT, counters: { 'from-service': 1, 'to-peer-clear': 1, 'mp-out': 1 } })
      expect(out.mark).not.toBe(SID)
      expect(lan(branch).packet).toEqual(into(11, 'inside', branch))
    } finally {
      rig.setNexthop(2, nexthopKind.NH_PEER, 0, 9)
    }
  })
})
