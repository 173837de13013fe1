/** Topology: one gateway, 500 edges of 5 enterprises whose subnets are the same in each enterprise. Real agents on fake kernels, one process. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Anchor, gatewayEntry, toggled } from '../identities.ts'
import { Simulation, type Station, until } from './branches.ts'

const EDGES = 500
const ENTERPRISES = 5
const PER_ENTERPRISE = EDGES / ENTERPRISES
const EDGE_VRF = 1
const timers = { probeMs: 1000, silentMs: 20_000, handshakeRetryMs: 2000 }

const simulation = new Simulation()
const edges: Station[] = []
let gateway: Station

const prefixOf = (index: number) => `10.${index % PER_ENTERPRISE}.0.0`
const othersOf = (index: number) => {
  const first = index - (index % PER_ENTERPRISE)
  return Array.from({ length: PER_ENTERPRISE }, (_, offset) => first + offset).filter(other => other !== index)
}
const isUp = (station: Station) =>
  station.agent?.role.kind === 'edge' && [...station.agent.role.edge.uplinks.values()].every(uplink => uplink.state === 'up')
const reachesAll = (index: number) => othersOf(index).every(other => edges[index]?.lookup(EDGE_VRF, prefixOf(other), 24)?.kind === 'peer')

beforeAll(async () => {
  const anchor = new Anchor()
  const node = anchor.gateway('gw1', '100.64.0.0/18')
  const entry = gatewayEntry(node, '192.0.2.1')
  gateway = await simulation.add({ name: 'gw1', node, wan: '192.0.2.1', timers })
  await gateway.start()
  for (let enterprise = 0; enterprise < ENTERPRISES; enterprise++) {
    const tenant = anchor.enterprise(`tenant-${enterprise}`, 'esp')
    for (let branch = 0; branch < PER_ENTERPRISE; branch++) {
      const index = edges.length
      const subnets = [{ prefix: `${prefixOf(index)}/24`, reachable: false }]
      const edge = anchor.edge(`edge-${index}`, tenant, subnets, [entry])
      edges.push(
        await simulation.add({
          name: `edge-${index}`,
          node: edge,
          wan: `198.18.${index >> 8}.${index & 255}`,
          lan: `10.${branch}.0.1/24`,
          timers,
        }),
      )
    }
  }
  for (const edge of edges) await edge.start()
}, 120_000)

afterAll(() => simulation[Symbol.asyncDispose]())

test('500 edges connect, each enterprise in a VRF of its own', async () => {
  await until('all edges up', () => edges.every(isUp), 60_000)
  const sessions = gateway.kernel.maps()?.sessions.entries().map(([, session]) => session) ?? []
  expect(sessions).toHaveLength(EDGES)
  expect(new Set(sessions.map(session => session.vrf)).size).toBe(ENTERPRISES)
  expect(new Set(sessions.map(session => session.vaddrRemote)).size).toBe(EDGES)
  expect((await gateway.kernel.xfrm.associations()).length).toBe(2 * EDGES)
})

test('one enterprise is switched on: its 100 edges reach each other, nobody else notices', async () => {
  const start = performance.now()
  await Promise.all(edges.slice(0, PER_ENTERPRISE).map(edge => edge.update(toggled(edge.state, true))))
  await until('every edge has every route', () => Array.from({ length: PER_ENTERPRISE }, (_, index) => index).every(reachesAll), 30_000)
  console.log(`toggle to the last of ${PER_ENTERPRISE * (PER_ENTERPRISE - 1)} routes: ${Math.round(performance.now() - start)} ms, one process for all nodes`)
  for (const index of [PER_ENTERPRISE, EDGES - 1])
    for (const other of othersOf(index)) expect(edges[index]?.lookup(EDGE_VRF, prefixOf(other), 24)?.kind).not.toBe('peer')
})

test('and off again', async () => {
  await Promise.all(edges.slice(0, PER_ENTERPRISE).map(edge => edge.update(toggled(edge.state, false))))
  await until('no route is left', () =>
    edges.slice(0, PER_ENTERPRISE).every((edge, index) => othersOf(index).every(other => edge.lookup(EDGE_VRF, prefixOf(other), 24)?.kind === 'unreachable')),
  )
})
