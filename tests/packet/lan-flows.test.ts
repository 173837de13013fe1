/** lan_ingress: what a flow remembers, and when it forgets. World: rig.ts. */
import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import { ABI_NH_F_SECURE, flowState, nexthopKind } from '../../schema/abi.gen.ts'
import * as build from './build.ts'
import { ethernet, filler, ip, tcp, udp } from './build.ts'
import { behind, FAMILIES, host } from './hosts.ts'
import { dissect } from './mp.ts'
import { expectOutcome, REDIRECT, REMOTE_SID, Rig, VRF } from './rig.ts'

const rig = new Rig()
beforeEach(() => rig.reset())
afterAll(() => rig[Symbol.dispose]())

const NEW = { 'lan-in': 1, 'flow-new': 1 }

describe.each(FAMILIES)('IPv%i', family => {
  const to = (n: number) => ({ src: host(family), dst: behind(family, n) })

  describe('flows', () => {
    const packet = ethernet(ip(to(2), tcp()))

    it('are looked up once, until routes change', () => {
      expect(rig.run('lan', packet).counters).toEqual({ ...NEW, 'to-peer-clear': 1, 'mp-out': 1 })
      rig.setNexthop(2, nexthopKind.NH_PEER, ABI_NH_F_SECURE, 9)
      // The flow remembers the index, so a changed next hop counts at once.
      expect(rig.run('lan', packet).counters).toEqual({ 'lan-in': 1, 'flow-hit': 1, 'to-peer-secure': 1 })
      rig.setNexthop(2, nexthopKind.NH_PEER, 0, 9)
      rig.fib.set({ vrf: VRF, address: behind(family, 2), prefixLength: family === 4 ? 32 : 128 }, 4)
      expect(dissect(rig.run('lan', packet).packet).header.session).toBe(REMOTE_SID)
      rig.setNode({ routeEpoch: 2 })
      const out = rig.run('lan', packet)
      expectOutcome(out, { verdict: REDIRECT, counters: { 'lan-in': 1, 'to-peer-clear': 1, 'mp-out': 1 } })
      expect(dissect(out.packet).header.session).toBe(0x800)
      // The second look-up replaces the decision, not the flow.
      const tuple = { proto: 6, source: host(4), destination: behind(4, 2), sourcePort: 40000, destinationPort: 443 }
      expect(rig.flows.entries()).toEqual([
        {
          slot: expect.any(Number),
          vrf: VRF,
          tuple: family === 4 ? tuple : undefined,
          nexthop: 4,
          routeEpoch: 2,
          seen: expect.any(Number),
          policyVersion: 4,
          qos: 0,
          step: 0,
          packets: 3,
          state: flowState.FLOW_NEW,
        },
      ])
      rig.fib.delete({ vrf: VRF, address: behind(family, 2), prefixLength: family === 4 ? 32 : 128 })
    })

    it('are not kept for what goes nowhere', () => {
      for (const n of [10, 11, 15]) rig.run('lan', ethernet(ip(to(n), tcp())))
      expect(rig.flows.entries()).toEqual([])
    })

    it('are one for all fragments of a packet', () => {
      const fragment = (offset: number, more: boolean) => ({ ...to(3), df: false, fragment: { offset, more } })
      rig.run('lan', ethernet(ip(fragment(0, true), udp(7, 8, filler(64)))))
      const later = rig.run('lan', ethernet(ip(fragment(72, false), build.raw(17, filler(30)))))
      expect(later.counters).toEqual({ 'lan-in': 1, 'flow-hit': 1, 'to-peer-secure': 1 })
    })
  })
})
