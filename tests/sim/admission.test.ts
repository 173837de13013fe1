/** Topology: gateway gw1 with a pool of four addresses, edges of acme. What a gateway takes, refuses and forgets. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { HANDSHAKE } from '../../schema/mpinit.ts'
import { Anchor, gatewayEntry, type TestEnterprise, type TestNode, toggled } from '../identities.ts'
import { Simulation, type Station, until } from './branches.ts'

const EDGE_VRF = 1
let anchor: Anchor
let simulation: Simulation
let gatewayNode: TestNode
let acme: TestEnterprise
let gw: Station

const isInit = (packet: Uint8Array) => ((packet[0] ?? 0) & 15) === HANDSHAKE.init
const isInitiation = (packet: Uint8Array) => isInit(packet) || ((packet[0] ?? 0) & 15) === HANDSHAKE.initKem
const isResponse = (packet: Uint8Array) => ((packet[0] ?? 0) & 15) === HANDSHAKE.response
const sessionsAt = (station: Station) => station.kernel.maps()?.sessions.entries() ?? []
const routesAt = (station: Station) => station.kernel.fib()?.list() ?? []
const codesAt = (station: Station) => station.events.map(({ code }) => code)
const gateways = () => [gatewayEntry(gatewayNode, '192.0.2.1')]
const edgeOf = (name: string, prefix: string, change = {}) =>
  anchor.edge(name, acme, [{ prefix, reachable: true }], gateways(), change)

beforeEach(async () => {
  anchor = new Anchor()
  simulation = new Simulation()
  acme = anchor.enterprise('acme', 'esp')
  gatewayNode = anchor.gateway('gw1', '100.64.0.0/29')
  gw = await simulation.add({ name: 'gw1', node: gatewayNode, wan: '192.0.2.1' })
  await gw.start()
})

afterEach(() => simulation[Symbol.asyncDispose]())

async function branch(name: string, number: number, node = edgeOf(name, `10.${number}.0.0/24`)): Promise<Station> {
  const station = await simulation.add({ name, node, wan: `192.0.2.${10 + number}`, lan: `10.${number}.0.1/24` })
  await station.start()
  return station
}

describe('a gateway admits', () => {
  test('an edge whose first answers are lost: at its third try, and keeps nothing of the first two', async () => {
    let lost = 0
    simulation.world.loses = packet => isResponse(packet) && ++lost <= 2
    const a = await branch('a', 1)
    await until('a up', () => a.up, 3000)
    expect(lost).toBe(3)
    expect(sessionsAt(gw)).toHaveLength(1)
    expect(await gw.kernel.xfrm.associations()).toHaveLength(2)
    expect(await a.kernel.xfrm.associations()).toHaveLength(2)
  })

  test('edges whose handshakes overlap in worker threads: each to a place of its own', async () => {
    const node = anchor.gateway('gw2', '100.64.64.0/24')
    const gw2 = await simulation.add({ name: 'gw2', node, wan: '192.0.2.2', workers: 2 })
    await gw2.start()
    const entries = [gatewayEntry(node, '192.0.2.2')]
    const edges = await Promise.all(
      Array.from({ length: 12 }, async (_, i) => {
        const subnets = [{ prefix: `10.${i}.0.0/24`, reachable: true }]
        const edge = anchor.edge(`edge-${i}`, acme, subnets, entries)
        return simulation.add({ name: `edge-${i}`, node: edge, wan: `192.0.2.${10 + i}`, lan: `10.${i}.0.1/24` })
      }),
    )
    await Promise.all(edges.map(edge => edge.start()))
    await until('all up', () => edges.every(edge => edge.up))
    await until('their routes', () => routesAt(gw2).length === 12)
    const sessions = sessionsAt(gw2).map(([, session]) => session)
    expect(new Set(sessions.map(({ peer }) => peer)).size).toBe(12)
    expect(new Set(sessions.map(({ vaddrRemote }) => vaddrRemote)).size).toBe(12)
  })

  test('no edge more than its pool has addresses; a place that becomes free is given again', async () => {
    const edges: Station[] = []
    for (const number of [1, 2, 3, 4]) edges.push(await branch(`edge-${number}`, number))
    await until('four up', () => edges.every(edge => edge.up))
    const late = await branch('late', 5)
    await until('refused', () => codesAt(late).includes('handshake-refused'))
    expect(late.events[0]?.message).toContain('no room')
    const [first] = edges
    await gw.update({
      ...gw.state,
      trust: { ...gw.state.trust, revocations: anchor.revocations([first?.state.node ?? '']) },
    })
    await until('late up', () => late.up)
    expect(sessionsAt(gw)).toHaveLength(4)
  })

  test('a second machine with the same node id only with a newer grant, and then the first is out', async () => {
    const node = edgeOf('a', '10.1.0.0/24', { serial: 7 })
    const a = await branch('a', 1, node)
    await until('a up', () => a.up)
    const copy = await branch('copy', 2, edgeOf('copy', '10.1.0.0/24', { node: node.state.node, serial: 7 }))
    await until('copy refused', () =>
      copy.events.some(({ message }) => message.includes('two machines use one identity')),
    )
    expect(a.up).toBe(true)
    const newer = await branch('newer', 3, edgeOf('newer', '10.3.0.0/24', { node: node.state.node, serial: 8 }))
    await until('newer up', () => newer.up)
    await until('the first is refused', () =>
      a.events.some(({ message }) => message.includes('two machines use one identity')),
    )
    expect(routesAt(gw).map(([{ address }]) => address)).toEqual(['10.3.0.0'])
  })

  test('an edge that was moved to another enterprise as a new one, with nothing of the old', async () => {
    const a = await branch('a', 1, edgeOf('a', '10.1.0.0/24', { serial: 7 }))
    const b = await branch('b', 2)
    await until('b reaches a', () => b.lookup(EDGE_VRF, '10.1.0.0', 24)?.kind === 'peer')
    const globex = anchor.enterprise('globex', 'esp')
    const moved = anchor.edge('a', globex, [{ prefix: '10.1.0.0/24', reachable: true }], gateways(), {
      node: a.state.node,
      serial: 8,
      staticKey: Uint8Array.from(a.staticKey.publicKey.raw),
    })
    await a.update({ ...moved.state, revision: 2 })
    await until('gone from b', () => b.lookup(EDGE_VRF, '10.1.0.0', 24) === undefined)
    await until('a up', () => a.up)
    const vrfs = sessionsAt(gw).map(([, { vrf }]) => vrf)
    expect(new Set(vrfs).size).toBe(2)
  })
})

test('an edge with a wrong gateway key says what to look at, and leaves nothing at the gateway but a count', async () => {
  const stranger = anchor.gateway('gw1', '100.64.64.0/18')
  const subnets = [{ prefix: '10.1.0.0/24', reachable: true }]
  const a = await branch('a', 1, anchor.edge('a', acme, subnets, [gatewayEntry(stranger, '192.0.2.1')]))
  const reasonOf = () =>
    a.agent?.role.kind === 'edge' ? [...a.agent.role.edge.uplinks.values()][0]?.reason : undefined
  await until('a reason', () => reasonOf()?.startsWith('no answer from 192.0.2.1 port 2426') ?? false)
  expect(reasonOf()).toContain('key')
  expect(sessionsAt(gw)).toEqual([])
  expect(await gw.agent?.metrics()).toMatch(/^branchline_handshakes_ignored_total\{reason="bad-mac1"\} [1-9]/m)
})

describe('a gateway refuses', () => {
  test('a subnet that overlaps another edge’s, and names both owners to both ends', async () => {
    const a = await branch('branch-a', 1, edgeOf('branch-a', '10.1.0.0/16'))
    await until('a up', () => a.up)
    await until('its LAN is known', () => routesAt(gw).length === 1)
    const b = await simulation.add({
      name: 'branch-b',
      node: edgeOf('branch-b', '10.1.0.0/25'),
      wan: '192.0.2.20',
      lan: '10.1.0.1/25',
    })
    await b.start()
    await until('b hears of it', () => codesAt(b).includes('prefix-refused'))
    for (const station of [gw, b]) {
      const event = station.events.find(({ code }) => code === 'prefix-refused')
      expect(event?.message).toContain('10.1.0.0/25 of branch-b overlaps 10.1.0.0/24, which is announced by branch-a')
    }
    expect(routesAt(gw).map(([{ address, prefixLength }]) => `${address}/${prefixLength}`)).toEqual(['10.1.0.0/24'])
  })

  test('such a subnet until the other edge withdraws its own: then it is taken, without being asked again', async () => {
    const a = await branch('branch-a', 1, edgeOf('branch-a', '10.1.0.0/24'))
    await until('a up', () => a.up && routesAt(gw).length === 1)
    const node = edgeOf('branch-b', '10.1.0.0/24')
    const b = await simulation.add({ name: 'branch-b', node, wan: '192.0.2.20', lan: '10.1.0.1/24' })
    await b.start()
    await until('b hears of it', () => codesAt(b).includes('prefix-refused'))
    if (!a.state.vpn) throw new Error('a has no VPN')
    await a.update({ ...a.state, revision: 2, vpn: { ...a.state.vpn, subnets: [] } })
    const lan = (await a.kernel.network.links()).find(({ name }) => name === 'lan0')
    await a.kernel.network.deleteAddress({ ifindex: lan?.ifindex ?? 0, address: '10.1.0.1', prefixLength: 24 })
    await until('the gateway takes it', () => codesAt(gw).includes('prefix-taken'))
    await until('a reaches b', () => a.lookup(1, '10.1.0.0', 24)?.kind === 'peer')
    const event = gw.events.find(({ code }) => code === 'prefix-taken')
    expect(event?.message).toBe('10.1.0.0/24 of branch-b is taken: nothing overlaps it any more')
  })

  test('routes to who replays an initiation after it has lost its memory', async () => {
    const recorded: Uint8Array[] = []
    simulation.world.loses = packet => isInitiation(packet) && recorded.push(Uint8Array.from(packet)) === 0
    const a = await branch('a', 1)
    await until('a up', () => a.up)
    a.agent?.close()
    simulation.world.kill('a')
    gw.agent?.close()
    simulation.world.kill('gw1')
    const again = await simulation.add({ name: 'gw1-again', node: gatewayNode, wan: '192.0.2.1' })
    await again.start()
    for (const packet of recorded)
      simulation.world.inject(packet, { address: '192.0.2.66', port: 2426 }, { address: '192.0.2.1', port: 2426 })
    await until('a session is there', () => sessionsAt(again).length === 1)
    await new Promise(resolve => setTimeout(resolve, 300))
    expect(routesAt(again)).toEqual([])
    expect(
      again.agent?.role.kind === 'gateway' && [...again.agent.role.gateway.peers.all()].map(({ state }) => state),
    ).toEqual(['connecting'])
    expect(codesAt(again)).not.toContain('edge-up')
  })
})

describe('a newer grant', () => {
  test('counts also when it came by a handshake', async () => {
    const a = await branch('a', 1, edgeOf('a', '10.1.0.0/24', { serial: 7 }))
    await until('a up', () => a.up)
    const wider = anchor.edge('a', acme, [{ prefix: '10.0.0.0/8', reachable: true }], gateways(), {
      node: a.state.node,
      serial: 8,
      staticKey: Uint8Array.from(a.staticKey.publicKey.raw),
    })
    gw.crash()
    await a.update({ ...wider.state, revision: 2 })
    const [lan] = (await a.kernel.network.links()).filter(({ name }) => name === 'lan0')
    await a.kernel.network.addAddress({ ifindex: lan?.ifindex ?? 0, address: '10.9.0.1', prefixLength: 24 })
    await gw.start()
    await until('the new subnet is taken', () => routesAt(gw).some(([{ address }]) => address === '10.9.0.0'))
  })

  test('takes back what it does not name any more', async () => {
    const a = await branch('a', 1, edgeOf('a', '10.1.0.0/16', { serial: 7 }))
    const b = await branch('b', 2)
    await until('b reaches a', () => b.lookup(EDGE_VRF, '10.1.0.0', 24)?.kind === 'peer')
    const narrower = anchor.edge('a', acme, [{ prefix: '10.1.128.0/17', reachable: true }], gateways(), {
      node: a.state.node,
      serial: 8,
      staticKey: Uint8Array.from(a.staticKey.publicKey.raw),
    })
    await a.update({ ...narrower.state, revision: 2 })
    await until('b has no route', () => b.lookup(EDGE_VRF, '10.1.0.0', 24) === undefined)
    await a.update(toggled(a.state, false))
    expect(a.up).toBe(true)
  })
})
