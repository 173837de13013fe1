/**
 * Topology: branch a of acme and gateway gw1. For a while nothing comes back from the gateway's tunnel, though its handshakes do: the edge makes one
 * session after another, of which the gateway never hears that they are used. Afterwards the two find each other again. Real agents on fake kernels.
 */
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Anchor, gatewayEntry } from '../identities.ts'
import { Simulation, type Station, until } from './branches.ts'

const HANDSHAKES = 4
const BACK_MS = 15_000

let simulation: Simulation
let [gw1, a]: Station[] = []

beforeEach(async () => {
  const anchor = new Anchor()
  simulation = new Simulation()
  const acme = anchor.enterprise('acme', 'esp')
  const node = anchor.gateway('gw1', '100.64.0.0/24')
  gw1 = await simulation.add({ name: 'gw1', node, wan: '192.0.2.1' })
  await gw1.start()
  const subnets = [{ prefix: '10.1.0.0/24', reachable: true }]
  const edge = anchor.edge('a', acme, subnets, [gatewayEntry(node, '192.0.2.1', 100)])
  a = await simulation.add({ name: 'a', node: edge, wan: '192.0.2.11', lan: '10.1.0.1/24' })
  await a.start()
})
afterEach(() => simulation[Symbol.asyncDispose]())

const uplink = () => {
  const role = a?.agent?.role
  const found = role?.kind === 'edge' ? [...role.edge.uplinks.values()][0] : undefined
  if (!found) throw new Error('a runs no edge with a gateway')
  return found
}
const sessionsAtGateway = () => {
  const role = gw1?.agent?.role
  if (role?.kind !== 'gateway') throw new Error('gw1 runs no gateway')
  return [...role.gateway.peers.all()].flatMap(({ sessions }) => [...sessions])
}

test('an edge whose sessions its gateway does not answer on for a while is back soon afterwards', {
  timeout: 60_000,
}, async () => {
  await until('a is connected', () => uplink().state === 'up')
  simulation.world.carries = from => from !== 'gw1'
  // Its next agent has no connection to speak over: it dials.
  a?.crash()
  await a?.start()
  const before = uplink().rekeys
  await until('a has tried often', () => uplink().rekeys >= before + HANDSHAKES, 30_000)
  // The one that the gateway sends on, the newest, and at most one that is about to go.
  expect(sessionsAtGateway().length).toBeLessThanOrEqual(3)
  simulation.world.carries = () => true
  await until('a is connected again', () => uplink().state === 'up', BACK_MS)
})
