/** Topology: one gateway, 500 edges of 5 enterprises whose subnets are the same in each enterprise. Real agents on fake kernels, one process. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Anchor, gatewayEntry, toggled } from '../identities.ts'
import { Simulation, type Station, until } from './branches.ts'

const EDGES = 500
const ENTERPRISES = 5
const PER_ENTERPRISE = EDGES / ENTERPRISES
const EDGE_VRF = 1
/** One process does the work of 501 machines: a busy computer must not look like a dead gateway. */
const timers = { probeMs: 2000, silentMs: 60_000, handshakeRetryMs: 2000 }
const DEADLINE_MS = 120_000

const simulation = new Simulation()
const edges: Station[] = []
let gateway: Station
let memoryBefore = 0

const prefixOf = (index: number) => `10.${index % PER_ENTERPRISE}.0.0`
const othersOf = (index: number) => {
  const first = index - (index % PER_ENTERPRISE)
  return Array.from({ length: PER_ENTERPRISE }, (_, offset) => first + offset).filter(other => other !== index)
}
const kindsAt = (index: number) =>
  new Set(othersOf(index).map(other => edges[index]?.lookup(EDGE_VRF, prefixOf(other), 24)?.kind))
/** What its agent knows: asked often, so cheaper than the maps, which have the last word. */
const knownAt = (index: number, reachable: boolean) => {
  const { role } = edges[index]?.agent ?? {}
  return role?.kind === 'edge' ? role.edge.table.all().filter(route => route.reachable === reachable).length : 0
}
const first = Array.from({ length: PER_ENTERPRISE }, (_, index) => index)
const switchFirst = (enabled: boolean) =>
  Promise.all(first.flatMap(index => edges[index] ?? []).map(edge => edge.update(toggled(edge.state, enabled))))

beforeAll(async () => {
  const anchor = new Anchor()
  const node = anchor.gateway('gw1', '100.64.0.0/18')
  const entry = gatewayEntry(node, '192.0.2.1')
  gateway = await simulation.add({ name: 'gw1', node, wan: '192.0.2.1', timers })
  await gateway.start()
  memoryBefore = process.memoryUsage().rss
  for (let enterprise = 0; enterprise < ENTERPRISES; enterprise++) {
    const tenant = anchor.enterprise(`tenant-${enterprise}`, 'esp')
    for (let branch = 0; branch < PER_ENTERPRISE; branch++) {
      const index = edges.length
      const subnets = [{ prefix: `${prefixOf(index)}/24`, reachable: false }]
      edges.push(
        await simulation.add({
          name: `edge-${index}`,
          node: anchor.edge(`edge-${index}`, tenant, subnets, [entry]),
          wan: `198.18.${index >> 8}.${index & 255}`,
          lan: `10.${branch}.0.1/24`,
          timers,
        }),
      )
    }
  }
}, DEADLINE_MS)

afterAll(() => simulation[Symbol.asyncDispose]())

test(
  '500 edges connect at the same time, each enterprise in a VRF of its own',
  async () => {
    const cpu = process.cpuUsage()
    for (const edge of edges) await edge.start()
    const took = await until('all edges up', () => edges.every(edge => edge.up), DEADLINE_MS)
    const { user, system } = process.cpuUsage(cpu)
    const memory = (process.memoryUsage().rss - memoryBefore) / EDGES
    console.log(
      `all ${EDGES} edges up: ${(took / 1000).toFixed(1)} s, ${((user + system) / 1e6).toFixed(1)} s of CPU for all 501 nodes; ${(memory / 1e6).toFixed(2)} MB per edge`,
    )
    const sessions =
      gateway.kernel
        .maps()
        ?.sessions.entries()
        .map(([, session]) => session) ?? []
    expect(sessions).toHaveLength(EDGES)
    expect(new Set(sessions.map(session => session.vrf)).size).toBe(ENTERPRISES)
    expect(new Set(sessions.map(session => session.vaddrRemote)).size).toBe(EDGES)
    expect((await gateway.kernel.xfrm.associations()).length).toBe(2 * EDGES)
  },
  DEADLINE_MS,
)

test(
  'one enterprise is switched on: its 100 edges reach each other, nobody else notices',
  async () => {
    await until(
      'every edge knows every prefix',
      () => first.every(index => knownAt(index, false) === PER_ENTERPRISE - 1),
      DEADLINE_MS,
    )
    const cpu = process.cpuUsage()
    const start = performance.now()
    await switchFirst(true)
    await until(
      'every edge has every route',
      () => first.every(index => knownAt(index, true) === PER_ENTERPRISE - 1),
      DEADLINE_MS,
    )
    const { user, system } = process.cpuUsage(cpu)
    console.log(
      `toggle to the last of ${PER_ENTERPRISE * (PER_ENTERPRISE - 1)} routes: ${Math.round(performance.now() - start)} ms, ${Math.round((user + system) / 1000)} ms of CPU for all 501 nodes`,
    )
    await until('and its maps say so', () =>
      first.every(index => kindsAt(index).size === 1 && kindsAt(index).has('peer')),
    )
    for (const index of [PER_ENTERPRISE, EDGES - 1]) expect(kindsAt(index).has('peer')).toBe(false)
  },
  DEADLINE_MS,
)

test(
  'and off again: every route is there and says unreachable',
  async () => {
    await switchFirst(false)
    await until(
      'no route is left',
      () => first.every(index => knownAt(index, false) === PER_ENTERPRISE - 1),
      DEADLINE_MS,
    )
    await until('and the maps say so', () =>
      first.every(index => kindsAt(index).size === 1 && kindsAt(index).has('unreachable')),
    )
    expect((await gateway.kernel.xfrm.associations()).length).toBe(2 * EDGES)
  },
  DEADLINE_MS,
)
