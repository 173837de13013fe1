/** Next hop sets: which member a flow gets, and who moves when members come and go. World: rig.ts; set 1 leads to peer 9 and peer 8. */
import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import { ABI_NEXTHOP_SET_MEMBERS, nexthopKind } from '../../schema/abi.gen.ts'
import { ethernet, ip, udp } from './build.ts'
import { behind, FAMILIES, host } from './hosts.ts'
import { dissect } from './mp.ts'
import { REMOTE_SID, Rig, SHOT, VRF } from './rig.ts'

const rig = new Rig(['lan', 'wan', 'mp-egress', 'mp-ingress'], 4096)
afterAll(() => rig[Symbol.dispose]())

const NEXTHOP = 30
const FLOWS = 400
/** Session that carries what goes to a peer. */
const PEER9 = REMOTE_SID
const PEER8 = 0x800

const setMembers = (...members: number[]) =>
  rig.maps.nexthopSets.set(1, {
    members: Array.from({ length: ABI_NEXTHOP_SET_MEMBERS }, (_, index) => members[index] ?? 0),
  })

let epoch = 1
const newEpoch = () => rig.setNode({ routeEpoch: ++epoch })

beforeEach(() => {
  rig.reset()
  newEpoch()
  rig.setNexthop(NEXTHOP, nexthopKind.NH_SET, 0, 1)
})

describe.each(FAMILIES)('IPv%i', family => {
  const prefix = { vrf: VRF, address: behind(family, 2), prefixLength: family === 4 ? 32 : 128 }
  const send = (flow: number) =>
    rig.run('lan', ethernet(ip({ src: host(family), dst: behind(family, 2) }, udp(1000 + flow, 53))))
  /** Session by flow. */
  const sessions = () =>
    Array.from({ length: FLOWS }, (_, flow) => {
      const out = send(flow)
      return out.verdict === SHOT ? Object.keys(out.drops)[0] : dissect(out.packet).header.session
    })
  const count = (list: unknown[], wanted: unknown) => list.filter(each => each === wanted).length

  beforeEach(() => rig.fib.set(prefix, NEXTHOP))

  it('spread flows by shares, and a flow stays where it is', () => {
    setMembers(2, 2, 2, 4)
    const first = sessions()
    expect(count(first, PEER9) + count(first, PEER8)).toBe(FLOWS)
    // Binomial: 300 expected, standard deviation 8.7.
    expect(Math.abs(count(first, PEER9) - 300)).toBeLessThan(50)
    expect(sessions()).toEqual(first)
    // Also when the table has forgotten it, or routes have changed.
    rig.flows.clear()
    newEpoch()
    expect(sessions()).toEqual(first)
  })

  it('pass over a member without a path, and move only its flows', () => {
    setMembers(2, 4)
    const first = sessions()
    for (const change of [{ pathMask: 0 }, { sid: 0 }]) {
      rig.setPeer(8, change)
      newEpoch()
      expect(new Set(sessions())).toEqual(new Set([PEER9]))
      rig.setPeer(8, { sid: 0x200, pathMask: 1 })
      newEpoch()
      expect(sessions()).toEqual(first)
    }
  })

  it('lead to a member that cannot be used when none can, which is counted', () => {
    setMembers(2, 4)
    rig.setPeer(8, { pathMask: 0 })
    rig.setPeer(9, { pathMask: 0 })
    expect(new Set(sessions())).toEqual(new Set(['no-path']))
  })

  it('lose a member, or get one, at the cost of its flows alone', () => {
    setMembers(2, 4, 12)
    rig.setPeer(77, { sid: 0x200, pathMask: 1 })
    const first = sessions()
    setMembers(2, 4)
    newEpoch()
    const without = sessions()
    const moved = without.filter((session, flow) => session !== first[flow])
    expect(new Set(moved)).toEqual(new Set([PEER9]))
    expect(moved.length).toBeGreaterThan(FLOWS / 12)
    expect(moved.length).toBeLessThan(FLOWS / 4)
    setMembers(2, 4, 12)
    newEpoch()
    expect(sessions()).toEqual(first)
    rig.setPeer(77, { sid: 0 })
  })

  it('that are empty, or not there, are no route', () => {
    setMembers()
    expect(send(1).drops).toEqual({ 'no-route': 1 })
    rig.setNexthop(NEXTHOP, nexthopKind.NH_SET, 0, 2 ** 31)
    expect(send(2).drops).toEqual({ 'no-route': 1 })
  })
})
