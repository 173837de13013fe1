/** Topology: gateway gw1; branches a (10.1.0.0/24) and b (10.2.0.0/24) of acme, c of globex with a's subnet. Real agents on fake kernels. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { Anchor, gatewayEntry, type TestNode, toggled } from '../identities.ts'
import { Simulation, type Station, until } from './branches.ts'

const EDGE_VRF = 1
let anchor: Anchor
let simulation: Simulation
let gw: Station
let a: Station
let b: Station
let c: Station
let gatewayNode: TestNode

const subnet = (prefix: string, reachable: boolean) => [{ prefix, reachable }]

beforeEach(async () => {
  anchor = new Anchor()
  simulation = new Simulation()
  gatewayNode = anchor.gateway('gw1', '100.64.0.0/18')
  const gateways = [gatewayEntry(gatewayNode, '192.0.2.1')]
  const acme = anchor.enterprise('acme', 'esp')
  const globex = anchor.enterprise('globex', 'esp')
  gw = await simulation.add({ name: 'gw1', node: gatewayNode, wan: '192.0.2.1' })
  a = await simulation.add({
    name: 'a',
    node: anchor.edge('branch-a', acme, subnet('10.1.0.0/24', false), gateways),
    wan: '192.0.2.11',
    lan: '10.1.0.1/24',
  })
  b = await simulation.add({
    name: 'b',
    node: anchor.edge('branch-b', acme, subnet('10.2.0.0/24', false), gateways),
    wan: '192.0.2.12',
    lan: '10.2.0.1/24',
  })
  c = await simulation.add({
    name: 'c',
    node: anchor.edge('branch-c', globex, subnet('10.1.0.0/24', true), gateways),
    wan: '192.0.2.13',
    lan: '10.1.0.1/24',
  })
  for (const station of simulation.stations) await station.start()
  await until('all edges up', () => [a, b, c].every(up))
})

afterEach(() => simulation[Symbol.asyncDispose]())

function up(station: Station): boolean {
  const { role } = station.agent ?? {}
  return role?.kind === 'edge' && [...role.edge.uplinks.values()].every(uplink => uplink.state === 'up')
}

const sessionsAt = (station: Station) => station.kernel.maps()?.sessions.entries() ?? []
const reaches = (station: Station, address: string) => station.lookup(EDGE_VRF, address, 24)?.kind === 'peer'
const toggle = async (enabled: boolean) => {
  for (const station of [a, b]) await station.update(toggled(station.state, enabled))
}

describe('two branches and a gateway', () => {
  test('SAs and sessions exist before the VPN is on; routes come and go with the toggle, SAs stay', async () => {
    const associations = async () => (await gw.kernel.xfrm.associations()).length
    expect(await associations()).toBe(6)
    expect(a.lookup(EDGE_VRF, '10.2.0.0', 24)?.kind ?? 'none').not.toBe('peer')
    await toggle(true)
    await until('a reaches b', () => reaches(a, '10.2.0.0') && reaches(b, '10.1.0.0'))
    await toggle(false)
    await until('unreachable again', () => a.lookup(EDGE_VRF, '10.2.0.0', 24)?.kind === 'unreachable')
    expect(await associations()).toBe(6)
  })

  test('two tenants with the same subnet have VRFs of their own', async () => {
    await toggle(true)
    await until('a reaches b', () => reaches(a, '10.2.0.0'))
    const maps = gw.kernel.maps()
    const owners = [1, 2].map(vrf => gw.lookup(vrf, '10.1.0.0', 24)?.target)
    expect(new Set(owners).size).toBe(2)
    expect(c.lookup(EDGE_VRF, '10.2.0.0', 24)).toBeUndefined()
    const sessions = maps?.sessions.entries().map(([, session]) => session.vrf) ?? []
    expect(sessions.toSorted()).toEqual([1, 1, 2])
  })

  test('metrics tell of peers, sessions, routes and the event loop', async () => {
    await until('a knows b', () => a.lookup(EDGE_VRF, '10.2.0.0', 24) !== undefined)
    const [atGateway, atEdge] = await Promise.all([gw.agent?.metrics(), a.agent?.metrics()])
    expect(atGateway).toMatch(/^branchline_peers\{state="up"\} \d+$/m)
    expect(atGateway).toMatch(/^branchline_route_updates_total [1-9]/m)
    expect(atGateway).toMatch(/^branchline_event_loop_delay_seconds\{quantile="0.99"\} [\d.e-]+$/m)
    expect(atEdge).toMatch(/^branchline_peers\{state="up"\} 1$/m)
    expect(atEdge).toMatch(/^branchline_routes [1-9]/m)
    const { loop } = (await gw.agent?.status()) ?? {}
    expect(loop?.longestMs).toBeGreaterThanOrEqual(loop?.maxMs ?? Number.POSITIVE_INFINITY)
  })

  test('a killed edge is withdrawn from its peers', async () => {
    await toggle(true)
    await until('a reaches b', () => reaches(a, '10.2.0.0'))
    b.agent?.close()
    simulation.world.kill('b')
    await until('gone from a', () => a.lookup(EDGE_VRF, '10.2.0.0', 24) === undefined)
    expect(gw.events.map(({ code }) => code)).toContain('edge-lost')
    expect(c.lookup(EDGE_VRF, '10.1.0.0', 24)?.kind).toBe('lan')
  })

  test('a renewal moves packets to a new session and lets the old one go', async () => {
    const [old] = sessionsAt(a).map(([, { remoteSid }]) => remoteSid)
    expect(sessionsAt(gw).map(([sid]) => sid)).toContain(old)
    a.agent?.rekey({})
    await until('old session gone', () => sessionsAt(gw).every(([sid]) => sid !== old))
    await until('three sessions', () => gw.kernel.maps()?.sessions.entries().length === 3)
    expect((await gw.kernel.xfrm.associations()).length).toBe(6)
    expect(up(a)).toBe(true)
  })

  test.each(['edge', 'gateway'] as const)(
    'an agent of the %s that is killed and started again adopts everything',
    async which => {
      await toggle(true)
      await until('a reaches b', () => reaches(a, '10.2.0.0') && reaches(b, '10.1.0.0'))
      const station = which === 'edge' ? a : gw
      const sessions = station.kernel
        .maps()
        ?.sessions.entries()
        .map(([sid]) => sid)
        .toSorted()
      station.crash()
      const agent = await station.start()
      expect((await agent.status()).adoption).toBe('adopted')
      expect(sessions?.every(sid => station.kernel.maps()?.sessions.get(sid))).toBe(true)
      expect(reaches(a, '10.2.0.0') && reaches(b, '10.1.0.0')).toBe(true)
      await until('route sessions again', () => [a, b, c].every(up))
      await until('renewed sessions only', () => station.kernel.maps()?.sessions.entries().length === sessions?.length)
      expect(await station.kernel.xfrm.associations()).toHaveLength(2 * (sessions?.length ?? 0))
      expect(reaches(a, '10.2.0.0') && reaches(b, '10.1.0.0')).toBe(true)
    },
  )

  test('a gateway that lost everything is configured again by its edges', async () => {
    await toggle(true)
    await until('a reaches b', () => reaches(a, '10.2.0.0') && reaches(b, '10.1.0.0'))
    gw.agent?.close()
    simulation.world.kill('gw1')
    await until('edges notice', () => ![a, b].some(up))
    const again = await simulation.add({ name: 'gw1-again', node: gatewayNode, wan: '192.0.2.1' })
    await again.start()
    const took = await until(
      'routes through the new gateway',
      () =>
        [a, b].every(up) &&
        reaches(a, '10.2.0.0') &&
        reaches(b, '10.1.0.0') &&
        again.kernel.maps()?.sessions.entries().length === 3,
    )
    expect(took).toBeLessThan(5000)
  })

  test('a revoked edge is removed, and cannot come back', async () => {
    await toggle(true)
    await until('a reaches b', () => reaches(a, '10.2.0.0'))
    const trust = { ...gw.state.trust, revocations: anchor.revocations([b.state.node]) }
    await gw.update({ ...gw.state, revision: 2, trust })
    await until('gone from a', () => a.lookup(EDGE_VRF, '10.2.0.0', 24) === undefined)
    await until('b is told', () =>
      b.events.some(({ code, message }) => code === 'handshake-refused' && message.includes('revoked')),
    )
  })
})
