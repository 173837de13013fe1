import { beforeEach, describe, expect, it } from 'vitest'
import {
  ABI_ADAPTER_OUTSIDE,
  ABI_HASH,
  ABI_MAX_ADAPTERS,
  ABI_MAX_NEXTHOPS,
  ABI_MAX_PEERS,
  ABI_MAX_PORTS,
  ABI_MAX_RULES,
  ABI_PORT_PROBES,
  adapterCodec,
  adapterKind,
  adapterTrafficCodec,
  nexthopKind,
  type PathState,
  type Port,
  pathStateCodec,
  type Session,
  sessionCodec,
} from '../../../schema/abi.gen.ts'
import { formatBe32 } from '../../../schema/address.ts'
import { zero } from '../../../schema/codec.ts'
import { plainSteering } from '../../plan/values.ts'
import { cable, expectCode, type Machine, type MachineUnderTest } from '../conformance.ts'
import type { FibKey } from '../fib-key.ts'
import { countersOf } from '../path-counters.ts'
import type { Dataplane, FibRoute, Link } from '../port.ts'
import { edgeSizes, type MapSizes, vrfsIn } from '../sizes.ts'

const NOBODY = 9999

export function dataplaneConformance(machine: MachineUnderTest): void {
  const open = ({ kernel, bpffs }: Machine) => kernel.openDataplane({ bpffs, esp: false })
  /** Without programs: tables need none, and an emulated verifier takes seconds. */
  const openTables = ({ kernel, bpffs }: Machine, sizes: MapSizes = {}) =>
    kernel.openDataplane({ bpffs, esp: false, sizes, hooks: [] })
  const port = (ifindex: number, vrf: number): Port => ({ ifindex, vrf, addr4: 0, flags: 0, addr6: new Uint8Array(16) })
  const byKey = <K, V>(entries: [K, V][]) => entries.sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1))

  describe('maps', () => {
    let dataplane: Dataplane
    beforeEach(async () => {
      dataplane = await openTables(machine())
    })

    it('hold what was written until it is deleted', () => {
      const { ports } = dataplane.maps
      expect(ports.get(3)).toBeUndefined()
      ports.set(3, port(3, 1))
      ports.set(3, port(3, 2))
      ports.set(4, port(4, 7))
      expect(ports.get(3)).toEqual(port(3, 2))
      expect(byKey(ports.entries())).toEqual([
        [3, port(3, 2)],
        [4, port(4, 7)],
      ])
      expect(ports.delete(3)).toBe(true)
      expect(ports.delete(3)).toBe(false)
      expect(ports.entries()).toEqual([[4, port(4, 7)]])
    })

    it('are full at their size, but entries can still be replaced', async () => {
      const { vaddrs } = dataplane.maps
      const vaddr = (index: number) => formatBe32(0x64400000 + index)
      vaddrs.setMany(Array.from({ length: ABI_MAX_PEERS }, (_, index) => [vaddr(index), index]))
      await expectCode(() => vaddrs.set(vaddr(ABI_MAX_PEERS), 1), 'E2BIG')
      await expectCode(
        () =>
          vaddrs.setMany([
            [vaddr(0), 5],
            [vaddr(ABI_MAX_PEERS), 1],
          ]),
        'E2BIG',
      )
      expect(vaddrs.get(vaddr(0))).toEqual(5)
      expect(vaddrs.entries().length).toBe(ABI_MAX_PEERS)
      vaddrs.deleteMany([vaddr(0), '10.0.0.1', vaddr(1), vaddr(2)])
      expect(vaddrs.entries().length).toBe(ABI_MAX_PEERS - 3)
      vaddrs.set(vaddr(ABI_MAX_PEERS), 1)
    })

    it('with named places find the next free one near by, and say when there is none', async () => {
      const { ports } = dataplane.maps
      // All of these want the same place.
      const crowd = Array.from({ length: ABI_PORT_PROBES }, (_, index) => 5 + index * ABI_MAX_PORTS)
      const late = 5 + ABI_PORT_PROBES * ABI_MAX_PORTS
      ports.setMany(crowd.map(ifindex => [ifindex, port(ifindex, 1)]))
      for (const ifindex of crowd) expect(ports.get(ifindex)).toEqual(port(ifindex, 1))
      await expectCode(() => ports.set(late, port(late, 1)), 'E2BIG')
      expect(ports.delete(crowd[2] ?? 0)).toBe(true)
      expect(ports.get(crowd[3] ?? 0)).toBeDefined()
      ports.set(late, port(late, 2))
      expect(ports.entries().length).toBe(ABI_PORT_PROBES)
    })

    it('with named places tell a place from its holder', async () => {
      const { sessions, pathConf } = dataplane.maps
      const session: Session = { ...sessionCodec.decode(new Uint8Array(sessionCodec.size)), sid: 0x00100170, peer: 3 }
      sessions.set(session.sid, session)
      expect(sessions.get(0x00100170)).toEqual(session)
      // Same place, another name; and a name whose place this map has not.
      expect(sessions.get(0x00200170)).toBeUndefined()
      expect(sessions.delete(0x00200170)).toBe(false)
      await expectCode(() => sessions.set(0x00200170, session), 'E2BIG')
      expect(pathConf.get(0x00100170)).toBeUndefined()
      expect(sessions.delete(0x00100170)).toBe(true)
      expect(sessions.entries()).toEqual([])
    })

    it('of the plain array kind hold every index, and list those that are not zero', async () => {
      const { nexthops } = dataplane.maps
      const nowhere = { kind: 0, flags: 0, reserved: 0, target: 0 }
      const hop = { kind: nexthopKind.NH_PEER, flags: 1, reserved: 0, target: 0xfffffff0 }
      expect(nexthops.get(7)).toEqual(nowhere)
      nexthops.set(7, hop)
      nexthops.set(8, hop)
      nexthops.set(8, nowhere)
      expect(nexthops.entries()).toEqual([[7, hop]])
      expect(nexthops.get(ABI_MAX_NEXTHOPS)).toBeUndefined()
      await expectCode(() => nexthops.set(ABI_MAX_NEXTHOPS, hop), 'E2BIG')
      await expectCode(() => nexthops.delete(7), 'EINVAL')
    })

    it('carry 5,000 entries in and out at once', () => {
      const { peers } = dataplane.maps
      const peer = (sid: number) => ({
        sid,
        pathMask: 1,
        pathBest: 0,
        flags: 0,
        policyVersion: 0,
        mtuSecure: 1,
        mtuClear: 2,
        steering: plainSteering(0, 1),
        reserved: [0n, 0n],
      })
      peers.setMany(Array.from({ length: 5000 }, (_, index) => [index + 1, peer((index + 1) << 4)]))
      const entries = peers.entries()
      expect(entries.length).toBe(5000)
      expect(new Map(entries).get(5000)).toEqual(peer(5000 << 4))
      peers.deleteMany(Array.from({ length: 4999 }, (_, index) => index + 1))
      expect(peers.entries()).toEqual([[5000, peer(5000 << 4)]])
    })

    it('hold addresses as text, byte arrays and 64-bit numbers', () => {
      const { vaddrs, pathState } = dataplane.maps
      vaddrs.set('100.64.0.9', 5)
      expect(vaddrs.entries()).toEqual([['100.64.0.9', 5]])
      const state: PathState = {
        ...pathStateCodec.decode(new Uint8Array(pathStateCodec.size)),
        handle: 0xffffffe1,
        txNumber: (1n << 43n) - 1n,
        window: Array.from({ length: 64 }, (_, index) => (1n << 63n) + BigInt(index)),
      }
      pathState.set(0xffffffe1, state)
      expect(pathState.entries()).toEqual([[0xffffffe1, state]])
    })

    it('of service chains know adapters by device and by outer addresses', () => {
      const { adapterPorts, adapterOuters, adapters } = dataplane.maps.chain
      const outer = { remote: new Uint8Array(16).fill(7), local: new Uint8Array(16).fill(8), endpoint: 1n << 63n }
      const adapter = { ...zero(adapterCodec), kind: adapterKind.ADAPTER_GENEVE, endpoint: outer.endpoint }
      adapters.set(5, adapter)
      adapterPorts.set(12, 5 | ABI_ADAPTER_OUTSIDE)
      adapterOuters.set(outer, 5)
      expect(adapters.entries()).toEqual([[5, adapter]])
      expect(adapterPorts.entries()).toEqual([[12, 5 | ABI_ADAPTER_OUTSIDE]])
      expect(adapterOuters.entries()).toEqual([[outer, 5]])
      expect(adapterOuters.get({ ...outer, endpoint: 1n })).toBeUndefined()
    })

    it('of service chains count what has come so far: nothing', () => {
      const { adapterTraffic, ruleHits } = dataplane.maps.chain
      expect(adapterTraffic(ABI_MAX_ADAPTERS - 1)).toEqual(zero(adapterTrafficCodec))
      expect(adapterTraffic(ABI_MAX_ADAPTERS)).toBeUndefined()
      expect(ruleHits(ABI_MAX_RULES - 1)).toBe(0n)
      expect(ruleHits(ABI_MAX_RULES)).toBeUndefined()
    })

    it('tell what is counted of a path without the rest of its entry', () => {
      const { pathState, pathCounters } = dataplane.maps
      const bytes = new Uint8Array(pathStateCodec.size).map((_, index) => index % 251)
      const state = { ...pathStateCodec.decode(bytes), handle: 0x00100171, lastRxNs: 2n ** 40n + 3n }
      pathState.set(state.handle, state)
      const counters = countersOf(state)
      expect(counters.txNumber).toBe(Number(state.txNumber))
      expect(pathCounters(state.handle)).toEqual(counters)
      expect(pathCounters(0x00200171)).toBeUndefined()
      pathState.delete(state.handle)
      expect(pathCounters(state.handle)).toBeUndefined()
    })

    it('let senders use a path again that they left', () => {
      const { pathState, clearLeft } = dataplane.maps
      // The first and the last of a page, and one across two.
      for (const place of [0, 4, 5, 9, 1023]) {
        const handle = 0x00500000 | (place << 4)
        const state: PathState = {
          ...pathStateCodec.decode(new Uint8Array(pathStateCodec.size).fill(0xa5)),
          handle,
        }
        pathState.set(handle, state)
        expect(clearLeft(handle)).toBe(true)
        expect(pathState.get(handle)).toEqual({ ...state, left: 0 })
        expect(clearLeft(handle ^ 0x00100000)).toBe(false)
        expect(pathState.get(handle)).toEqual({ ...state, left: 0 })
      }
    })

    it('start with this layout and nothing else', () => {
      expect(dataplane.maps.node.get(0)).toMatchObject({ abiHash: ABI_HASH, mp0Ifindex: 0, vaddr: 0 })
      expect(Object.values(dataplane.drops()).every(count => count === 0)).toBe(true)
      expect(Object.keys(dataplane.drops())).toContain('mp-no-session')
      expect(Object.keys(dataplane.counters())).toContain('lan-in')
    })

    it('have a flow table that begins empty and in the wanted size', async () => {
      const small = await machine().kernel.openDataplane({
        bpffs: `${machine().bpffs}-small`,
        esp: false,
        sizes: { flows: 64 },
        hooks: [],
      })
      const { flows } = small
      expect(flows.lines).toBe(64)
      expect(flows.entries()).toEqual([])
      expect(flows.sweep(0, 64)).toEqual({ live: 0, freed: 0 })
      flows.clear()
      expect(flows.entries(1)).toEqual([])
      small.destroy()
    })
  })

  describe('the FIB', () => {
    const routes = [
      { vrf: 1, address: '0.0.0.0', prefixLength: 0, nexthop: 1 },
      { vrf: 1, address: '10.1.0.0', prefixLength: 16, nexthop: 2 },
      { vrf: 2, address: '10.1.0.0', prefixLength: 16, nexthop: 3 },
      { vrf: 2, address: '::', prefixLength: 0, nexthop: 4 },
      { vrf: 63, address: '2001:db8:1::', prefixLength: 48, nexthop: 5 },
      { vrf: 2, address: '2001:db8::1', prefixLength: 128, nexthop: ABI_MAX_NEXTHOPS - 1 },
    ]
    const asEntries = (list: FibRoute[]): [FibKey, number][] => list.map(({ nexthop, ...key }) => [key, nexthop])

    it('holds routes of both families and all VRFs until they are removed', async () => {
      const { fib } = await openTables(machine())
      expect(await fib.apply(routes)).toEqual(new Map())
      expect(byKey(await fib.entries())).toEqual(byKey(asEntries(routes)))
      expect((await fib.usage()).routes).toBe(routes.length)
      const [first, ...others] = routes as [FibRoute, ...FibRoute[]]
      // What is not there is no mistake; of two changes of one prefix the later holds.
      expect(
        await fib.apply([
          { ...first, nexthop: 0 },
          { ...first, vrf: 9, nexthop: 0 },
          { ...first, vrf: 8 },
        ]),
      ).toEqual(new Map())
      expect(await fib.apply([7, 8, 9].map(nexthop => ({ ...first, vrf: 8, nexthop })))).toEqual(new Map())
      expect(byKey(await fib.entries())).toEqual(byKey(asEntries([...others, { ...first, vrf: 8, nexthop: 9 }])))
    })

    it('refuses what it cannot hold, and makes the other changes', async () => {
      const { fib } = await openTables(machine(), edgeSizes)
      const limit = (edgeSizes.fib_routes ?? 0) - 1
      const many = Array.from({ length: limit + 2 }, (_, index) => ({
        vrf: 1,
        address: `10.${index >> 8}.${index & 255}.0`,
        prefixLength: 24,
        nexthop: 1,
      }))
      const refused = await fib.apply(many)
      expect([...refused.values()].map(({ code }) => code)).toEqual(['ENOSPC', 'ENOSPC'])
      expect((await fib.entries()).length).toBe(limit)
      const [one] = routes as [FibRoute]
      expect(
        [
          ...(await fib.apply([
            { ...one, nexthop: ABI_MAX_NEXTHOPS },
            { ...one, vrf: vrfsIn(edgeSizes.fib ?? 0) },
          ])),
        ].map(([index, { code }]) => [index, code]),
      ).toEqual([
        [0, 'ERANGE'],
        [1, 'ERANGE'],
      ])
      expect((await fib.entries()).length).toBe(limit)
    })

    it('is adopted with all its routes', async () => {
      const first = await openTables(machine())
      await first.fib.apply(routes)
      first.close()
      machine().restart()
      const { fib } = await openTables(machine())
      expect(byKey(await fib.entries())).toEqual(byKey(asEntries(routes)))
      await fib.apply(routes.map(route => ({ ...route, nexthop: 0 })))
      expect(await fib.entries()).toEqual([])
    })
  })

  describe('programs', () => {
    let dataplane: Dataplane
    let link: Link
    beforeEach(async () => {
      dataplane = await open(machine())
      ;[link] = await cable(machine(), 'wan0', 'net0')
    })

    it('attach to devices once per hook, and again in place', async () => {
      const { ifindex } = link
      dataplane.attach('wan', ifindex)
      dataplane.attach('wan', ifindex)
      dataplane.attach('mp-egress', ifindex)
      expect(byKey(dataplane.attached().map(at => [at.hook, at.ifindex]))).toEqual([
        ['mp-egress', ifindex],
        ['wan', ifindex],
      ])
      dataplane.detach('wan', ifindex)
      await expectCode(() => dataplane.detach('wan', ifindex), 'ENOENT')
      expect(dataplane.attached()).toEqual([{ hook: 'mp-egress', ifindex }])
    })

    it('need a device, and ESP where they serve it', async () => {
      await expectCode(() => dataplane.attach('wan', NOBODY), 'ENODEV')
      await expectCode(() => dataplane.attach('ipsec-egress', link.ifindex), 'ENOENT')
      expect(dataplane.attached()).toEqual([])
    })

    it('are gone with their device', async () => {
      dataplane.attach('wan', link.ifindex)
      await machine().kernel.network.deleteLink(link.ifindex)
      expect(dataplane.attached()).toEqual([])
      await expectCode(() => dataplane.detach('wan', link.ifindex), 'ENOENT')
    })

    it('are only those that were asked for', async () => {
      const { kernel, bpffs } = machine()
      const few = await kernel.openDataplane({ bpffs: `${bpffs}-few`, esp: false, hooks: ['gather'] })
      expect(few.programs().map(({ hook }) => hook)).toEqual(['gather'])
      await expectCode(() => few.attach('wan', link.ifindex), 'ENOENT')
      few.destroy()
    })

    it('are those of the hooks', () => {
      expect(dataplane.programs().map(({ hook }) => hook)).toEqual([
        'lan',
        'wan',
        'wan-xdp',
        'wan-egress',
        'service',
        'gather',
        'hold',
        'mp-egress',
        'mp-ingress',
      ])
    })
  })

  describe('a restarted agent', () => {
    it('adopts maps and attachments', async () => {
      const [link] = await cable(machine(), 'wan0', 'net0')
      const first = await open(machine())
      expect(first).toMatchObject({ adoption: 'created', reason: undefined })
      first.maps.ports.set(3, port(3, 1))
      first.attach('wan', link.ifindex)
      first.attach('wan-egress', link.ifindex)
      first.attach('wan-xdp', link.ifindex)
      machine().restart()
      const second = await open(machine())
      expect(second).toMatchObject({ adoption: 'adopted', reason: undefined })
      expect(second.maps.ports.entries()).toEqual([[3, port(3, 1)]])
      expect(byKey(second.attached().map(at => [at.hook, at.ifindex]))).toEqual([
        ['wan', link.ifindex],
        ['wan-egress', link.ifindex],
        ['wan-xdp', link.ifindex],
      ])
      second.maps.ports.set(4, port(4, 2))
      expect(second.maps.ports.get(4)).toEqual(port(4, 2))
    })

    it('forgets attachments to devices that went meanwhile', async () => {
      const [link] = await cable(machine(), 'wan0', 'net0')
      ;(await open(machine())).attach('wan', link.ifindex)
      machine().restart()
      await machine().kernel.network.deleteLink(link.ifindex)
      expect((await open(machine())).attached()).toEqual([])
    })

    it('rebuilds what another build left, and says why', async () => {
      const [link] = await cable(machine(), 'wan0', 'net0')
      const first = await open(machine())
      const node = first.maps.node.get(0)
      if (!node) throw new Error('no node entry')
      first.maps.node.set(0, { ...node, abiHash: 1n })
      first.maps.ports.set(3, port(3, 1))
      first.attach('wan', link.ifindex)
      machine().restart()
      const second = await open(machine())
      expect(second.adoption).toBe('rebuilt')
      expect(second.reason).toMatch(/layout/)
      expect(second.maps.ports.entries()).toEqual([])
      expect(second.attached()).toEqual([])
      expect(second.maps.node.get(0)?.abiHash).toBe(ABI_HASH)
    })

    it('finds nothing after destroy', async () => {
      const [link] = await cable(machine(), 'wan0', 'net0')
      const first = await open(machine())
      first.maps.ports.set(3, port(3, 1))
      first.attach('wan', link.ifindex)
      first.destroy()
      const second = await open(machine())
      expect(second.adoption).toBe('created')
      expect(second.maps.ports.entries()).toEqual([])
      expect(second.attached()).toEqual([])
    })
  })
}
