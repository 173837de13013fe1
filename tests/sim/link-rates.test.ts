/** What an edge's configuration says of its links, from the file to the other end. Topology: gateway gw1 of one link, branch a of two. */
import { afterEach, beforeEach, expect, test } from 'vitest'
import { handleOf } from '../../agent/mp/session.ts'
import { queueMinor } from '../../agent/node/queues.ts'
import { ABI_PORT_F_FQ, ABI_QUEUE_MAJOR, trafficClass } from '../../schema/abi.gen.ts'
import { Anchor, gatewayEntry } from '../identities.ts'
import { Simulation, type Station, until } from './branches.ts'

const LINKS = { inet: { upMbps: 10, downMbps: 50 }, lte: { backup: true, metered: true } }

let simulation: Simulation
let gw: Station
let a: Station

beforeEach(async () => {
  const anchor = new Anchor()
  simulation = new Simulation()
  const gateway = anchor.gateway('gw1', '100.64.0.0/18')
  gw = await simulation.add({ name: 'gw1', node: gateway, wan: '192.0.2.1', links: { inet: { upMbps: 40 } } })
  a = await simulation.add({
    name: 'a',
    node: anchor.edge('branch-a', anchor.enterprise('acme', 'esp'), [], [gatewayEntry(gateway, '192.0.2.1')]),
    wan: '192.0.2.11',
    lte: '192.0.2.21',
    lan: '10.1.0.1/24',
    links: LINKS,
  })
  for (const station of [gw, a]) await station.start()
  await until('a is up', () => a.up)
})

afterEach(() => simulation[Symbol.asyncDispose]())

function paths(station: Station) {
  const { role } = station.agent ?? {}
  const node = role?.kind === 'edge' ? role.edge.node : role?.gateway.node
  const [session] = node?.sessions.values() ?? []
  const { paths = [], sid = 0 } = session ?? {}
  return paths.map(({ link, toPeerMbps, fromPeerMbps, backup, metered, path }) => {
    const said = { toPeerMbps, fromPeerMbps, backup, metered }
    return { link, ...said, rate: station.kernel.maps()?.pathConf.get(handleOf(sid, path))?.rate }
  })
}

const none = { toPeerMbps: undefined, fromPeerMbps: undefined, backup: undefined, metered: undefined }
const lte = { ...none, link: 'lte', backup: true, metered: true }

test('both ends know it, each in its own direction; a path is as fast as the slower end', async () => {
  const [inet, second] = paths(a)
  expect(inet).toEqual({ ...none, link: 'inet', toPeerMbps: 10, fromPeerMbps: 50, rate: Math.round(10 * 125 * 0.97) })
  expect(second).toEqual({ ...lte, rate: 0 })
  await until('gw1 has learned both paths', () => paths(gw).every(({ rate }) => rate !== 0))
  expect(paths(gw)).toEqual([
    { ...none, link: 'inet', toPeerMbps: 50, fromPeerMbps: 10, rate: 40 * 125 * 0.97 },
    { ...lte, rate: 40 * 125 * 0.97 },
  ])
})

test('a gateway that was killed still knows it', async () => {
  await until('gw1 has learned both paths', () => paths(gw).every(({ rate }) => rate !== 0))
  const before = paths(gw)
  gw.crash()
  await gw.start()
  expect(paths(gw)).toEqual(before)
})

test('queues and the order of packets follow the configuration from one start to the next', async () => {
  const { network } = a.kernel
  const [wan0] = (await network.links()).filter(({ name }) => name === 'wan0')
  const [lan0] = (await network.links()).filter(({ name }) => name === 'lan0')
  const [inet, lan] = [wan0?.ifindex ?? 0, lan0?.ifindex ?? 0]
  const roots = async () => (await network.qdiscs()).filter(({ parent }) => parent === 0xffffffff)
  const handle = ABI_QUEUE_MAJOR << 16
  expect(await roots()).toEqual([
    { ifindex: inet, kind: 'htb', handle, parent: 0xffffffff },
    { ifindex: lan, kind: 'fq', handle, parent: 0xffffffff },
  ])
  const classes = (await network.classes(inet)).map(each => each.handle & 0xffff)
  expect(classes).toContain(queueMinor(trafficClass.CLASS_REALTIME))
  expect(a.kernel.maps()?.ports.get(lan)?.flags).toBe(ABI_PORT_F_FQ)

  a.crash()
  a.reconfigure({ links: { inet: { upMbps: 20 } } })
  await a.start()
  expect((await network.classes(inet)).find(each => (each.handle & 0xffff) === 1)?.rate).toBe(20 * 125_000 * 0.97)

  a.crash()
  a.reconfigure({ links: {} })
  await a.start()
  expect(await roots()).toEqual([{ ifindex: lan, kind: 'fq', handle, parent: 0xffffffff }])
})
