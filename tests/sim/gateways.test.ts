/**
 * Topology: branches a (10.1.0.0/24) and b (10.2.0.0/24) of acme, gateways gw1 and gw2 of one metric. Which of them carries what, while they come,
 * go, are drained, and serve some subnets only. Real agents on fake kernels.
 */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { nexthopKind } from '../../schema/abi.gen.ts'
import type { GatewayEntry } from '../../schema/node-state.ts'
import { Anchor, gatewayEntry, type TestEnterprise, type TestNode } from '../identities.ts'
import { Simulation, type Station, type StationSpec, until } from './branches.ts'

const EDGE_VRF = 1
let anchor: Anchor
let simulation: Simulation
let acme: TestEnterprise
let nodes: [TestNode, TestNode]
let gw1: Station
let gw2: Station

const entries = (): [GatewayEntry, GatewayEntry] => [
  gatewayEntry(nodes[0], '192.0.2.1', 100),
  gatewayEntry(nodes[1], '192.0.2.2', 100),
]

beforeEach(async () => {
  anchor = new Anchor()
  simulation = new Simulation()
  acme = anchor.enterprise('acme', 'esp')
  nodes = [anchor.gateway('gw1', '100.64.0.0/24'), anchor.gateway('gw2', '100.64.1.0/24')]
  gw1 = await start('gw1', nodes[0], '192.0.2.1')
  gw2 = await start('gw2', nodes[1], '192.0.2.2')
})
afterEach(() => simulation[Symbol.asyncDispose]())

async function start(
  name: string,
  node: TestNode,
  wan: string,
  lan?: string,
  timers?: StationSpec['timers'],
): Promise<Station> {
  const station = await simulation.add({
    name,
    node,
    wan,
    ...(lan !== undefined && { lan }),
    ...(timers && { timers }),
  })
  await station.start()
  return station
}

const branch = (
  name: string,
  number: number,
  gateways = entries() as GatewayEntry[],
  timers?: StationSpec['timers'],
) => {
  const subnets = [{ prefix: `10.${number}.0.0/24`, reachable: true }]
  return start(
    name,
    anchor.edge(name, acme, subnets, gateways),
    `192.0.2.${10 + number}`,
    `10.${number}.0.1/24`,
    timers,
  )
}

const edgeOf = (station: Station) => {
  const { role } = station.agent ?? {}
  if (role?.kind !== 'edge') throw new Error(`${station.name} runs no edge`)
  return role.edge
}

/** Names of the gateways that packets for a subnet go to, as the programs would: `unreachable`, `none`. */
function ways(station: Station, address: string): string {
  const maps = station.kernel.maps()
  const names = new Map([...edgeOf(station).uplinks.values()].map(({ index, gateway }) => [index, gateway.name]))
  const found = station.lookup(EDGE_VRF, address, 24)
  if (found?.kind !== 'set') return found?.kind === 'peer' ? (names.get(found.target) ?? '?') : (found?.kind ?? 'none')
  const members = maps?.nexthopSets.get(found.target)?.members.filter(member => member !== 0) ?? []
  return members
    .map(member => names.get(maps?.nexthops.get(member)?.target ?? 0) ?? '?')
    .toSorted()
    .join('+')
}

/** One that had failed is not trusted for ten seconds. */
const DEADLINE_MS = 30_000

const becomes = (station: Station, address: string, wanted: string) =>
  until(`${station.name} reaches ${address} over ${wanted}`, () => ways(station, address) === wanted, DEADLINE_MS)

const relist = (station: Station, gateways: GatewayEntry[]) =>
  station.update({ ...station.state, revision: station.state.revision + 1, gateways })

async function both(): Promise<[Station, Station]> {
  const [a, b] = [await branch('a', 1), await branch('b', 2)]
  await becomes(a, '10.2.0.0', 'gw1+gw2')
  await becomes(b, '10.1.0.0', 'gw1+gw2')
  return [a, b]
}

describe('two gateways of one metric', () => {
  test('share the flows; the other has them alone while one is lost, and nobody when both are', async () => {
    const [a] = await both()
    for (const gateway of [gw1, gw2]) {
      gateway.crash()
      simulation.world.kill(gateway.name)
      await becomes(a, '10.2.0.0', gateway === gw1 ? 'gw2' : 'unreachable')
    }
    const again = await simulation.add({ name: 'gw2-again', node: nodes[1], wan: '192.0.2.2' })
    await again.start()
    await becomes(a, '10.2.0.0', 'gw2')
    expect(a.kernel.maps()?.nexthopSets.entries()).toEqual([])
  })

  test('one of them cannot reach an edge any more: it tells the others, and only that edge is affected', async () => {
    const [a, b] = await both()
    const c = await branch('c', 3)
    await becomes(a, '10.3.0.0', 'gw1+gw2')
    simulation.world.sever('gw1', 'b')
    await becomes(a, '10.2.0.0', 'gw2')
    await becomes(b, '10.1.0.0', 'gw2')
    expect(ways(a, '10.3.0.0')).toBe('gw1+gw2')
    expect(ways(c, '10.1.0.0')).toBe('gw1+gw2')
    simulation.world.mend('gw1', 'b')
    await becomes(a, '10.2.0.0', 'gw1+gw2')
    await becomes(b, '10.1.0.0', 'gw1+gw2')
  })

  test('one whose probes stay unanswered loses its flows long before it counts as silent', async () => {
    const a = await branch('a', 1, entries(), { silentMs: 20_000 })
    await branch('b', 2)
    await becomes(a, '10.2.0.0', 'gw1+gw2')
    simulation.world.sever('gw1', 'a')
    expect(await becomes(a, '10.2.0.0', 'gw2')).toBeLessThan(5000)
    simulation.world.mend('gw1', 'a')
    // Ten seconds in which it may not fail again, and until what was lost meanwhile is out of its figures.
    expect(await becomes(a, '10.2.0.0', 'gw1+gw2')).toBeLessThan(16_000)
  })

  test('a restarted agent finds the set in the kernel and keeps it', async () => {
    const [a] = await both()
    const before = a.lookup(EDGE_VRF, '10.2.0.0', 24)
    a.crash()
    await a.start()
    expect(a.lookup(EDGE_VRF, '10.2.0.0', 24)).toEqual(before)
    await until('a is up', () => a.up)
    expect(a.lookup(EDGE_VRF, '10.2.0.0', 24)).toEqual(before)
    expect(a.kernel.maps()?.nexthopSets.entries()).toHaveLength(1)
  })

  test('the one that is measured to be worse by more than a fifth loses its flows, and has them back when it is as good', async () => {
    const [a] = await both()
    const rtt: Record<string, number> = { gw1: 20, gw2: 50 }
    simulation.world.rttMs = (_from, to) => rtt[to] ?? 1
    await becomes(a, '10.2.0.0', 'gw1')
    const rows = (await a.agent?.status())?.peers.map(({ name, use }) => `${name}: ${use}`)
    expect(rows).toEqual(['gw1: best', 'gw2: standby for gw1'])
    const metrics = await a.agent?.metrics()
    expect(metrics).toMatch(/^branchline_gateway_cost\{gateway="gw1"\} 1\d\d/m)
    expect(metrics).toMatch(/^branchline_gateway_in_use\{gateway="gw2"\} 0$/m)
    // Smoothed over seconds.
    rtt.gw2 = 20
    await becomes(a, '10.2.0.0', 'gw1+gw2')
  })
})

describe('gateways that do not serve all', () => {
  test('edges with other lists: a route is used over a gateway that has the edge, and over no other', async () => {
    const [first, second] = entries()
    const a = await branch('a', 1)
    const b = await branch('b', 2, [second])
    const c = await branch('c', 3, [first])
    await becomes(a, '10.2.0.0', 'gw2')
    await becomes(a, '10.3.0.0', 'gw1')
    await becomes(b, '10.1.0.0', 'gw2')
    await becomes(c, '10.1.0.0', 'gw1')
    // No gateway has both: there is no way, and nothing is sent into the void.
    expect([ways(b, '10.3.0.0'), ways(c, '10.2.0.0')]).toEqual(['none', 'none'])
    await relist(b, entries())
    await becomes(c, '10.2.0.0', 'gw1')
    await becomes(a, '10.2.0.0', 'gw1+gw2')
  })

  test('a subnet that names gateways is told to these alone, and cannot be reached without them', async () => {
    const [a, b] = await both()
    const only = async (gateways: string[] | undefined) => {
      const { vpn } = b.state
      if (!vpn) throw new Error('b has a VPN')
      const subnets = vpn.subnets.map(({ prefix, reachable }) => ({ prefix, reachable, ...(gateways && { gateways }) }))
      await b.update({ ...b.state, revision: b.state.revision + 1, vpn: { ...vpn, subnets } })
    }
    await only([nodes[0].state.node])
    await becomes(a, '10.2.0.0', 'gw1')
    await until('gw2 forgot it', () => gw2.lookup(1, '10.2.0.0', 24) === undefined)
    // Its handshake does not tell it either.
    b.agent?.rekey({})
    await until('b has new keys', () => [...edgeOf(b).uplinks.values()].every(({ rekeys }) => rekeys > 0) && b.up)
    expect(gw2.lookup(1, '10.2.0.0', 24)).toBeUndefined()
    gw1.crash()
    simulation.world.kill('gw1')
    await becomes(a, '10.2.0.0', 'unreachable')
    await becomes(b, '10.1.0.0', 'gw2')
    await only(undefined)
    await becomes(a, '10.2.0.0', 'gw2')
  })
})

describe('a gateway that is taken out', () => {
  const drained = (one: boolean, other: boolean): GatewayEntry[] => {
    const [first, second] = entries()
    return [
      { ...first, drained: one },
      { ...second, drained: other },
    ]
  }

  test('drained, it has no flows and keeps its tunnels; undrained, it has them again', async () => {
    const [a, b] = await both()
    for (const edge of [a, b]) await relist(edge, drained(true, false))
    await becomes(a, '10.2.0.0', 'gw2')
    await becomes(b, '10.1.0.0', 'gw2')
    expect(a.up && b.up).toBe(true)
    expect(gw1.kernel.maps()?.sessions.entries()).toHaveLength(2)
    // It still knows all routes: what is under way arrives.
    expect(gw1.lookup(1, '10.2.0.0', 24)?.kind).toBe('peer')
    for (const edge of [a, b]) await relist(edge, drained(false, false))
    await becomes(a, '10.2.0.0', 'gw1+gw2')
  })

  test('drained as the last one, it is used all the same', async () => {
    const [a] = await both()
    await relist(a, drained(true, true))
    await becomes(a, '10.2.0.0', 'gw1+gw2')
    await relist(a, drained(true, false))
    await becomes(a, '10.2.0.0', 'gw2')
    gw2.crash()
    simulation.world.kill('gw2')
    await becomes(a, '10.2.0.0', 'gw1')
  })

  test('removed, it is left first, then forgotten; in time it is taken back as if nothing had been', async () => {
    const [a, b] = await both()
    const [, second] = entries()
    const sessions = a.kernel.maps()?.sessions.entries().length
    await relist(a, [second])
    expect(ways(a, '10.2.0.0')).toBe('gw2')
    expect(a.kernel.maps()?.sessions.entries()).toHaveLength(sessions ?? 0)
    // Nobody else has heard of it yet: packets that come over gw1 still arrive.
    expect(ways(b, '10.1.0.0')).toBe('gw1+gw2')
    expect(gw1.lookup(1, '10.1.0.0', 24)?.kind).toBe('peer')
    await relist(a, entries())
    await becomes(a, '10.2.0.0', 'gw1+gw2')
    expect(a.kernel.maps()?.sessions.entries()).toHaveLength(sessions ?? 0)

    await relist(a, [second])
    await becomes(b, '10.1.0.0', 'gw2')
    await until('its session ended', () => a.kernel.maps()?.sessions.entries().length === 1)
    expect(a.kernel.maps()?.peers.entries()).toHaveLength(1)
  })

  test('revoked, it is gone at once', async () => {
    const [a] = await both()
    const [, second] = entries()
    const trust = { ...a.state.trust, revocations: anchor.revocations([nodes[0].state.node]) }
    await a.update({ ...a.state, revision: 2, trust, gateways: [second] })
    expect(ways(a, '10.2.0.0')).toBe('gw2')
    expect(a.kernel.maps()?.sessions.entries()).toHaveLength(1)
    const peers = a.kernel
      .maps()
      ?.nexthops.entries()
      .filter(([, { kind }]) => kind === nexthopKind.NH_PEER)
    expect(peers).toHaveLength(1)
  })
})
