/** Topology: branches a (10.1.0.0/16) and b (10.2.0.0/16) of acme, gateways gw1 and gw2. What changes while agents run. */
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { nexthopKind } from '../../schema/abi.gen.ts'
import { Anchor, gatewayEntry, type TestEnterprise, type TestNode } from '../identities.ts'
import { Simulation, type Station, type StationSpec, until } from './branches.ts'

const EDGE_VRF = 1
let anchor: Anchor
let simulation: Simulation
let acme: TestEnterprise
let gatewayNodes: TestNode[]

const addresses = ['192.0.2.1', '192.0.2.2']
const entries = () => gatewayNodes.map((node, index) => gatewayEntry(node, addresses[index] ?? '', index + 1))
const reaches = (station: Station, address: string) => station.lookup(EDGE_VRF, address, 24)?.kind === 'peer'
const deviceOf = async (station: Station, name: string) =>
  (await station.kernel.network.links()).find(link => link.name === name)?.ifindex ?? 0

beforeEach(() => {
  anchor = new Anchor()
  simulation = new Simulation()
  acme = anchor.enterprise('acme', 'esp')
  gatewayNodes = [anchor.gateway('gw1', '100.64.0.0/24'), anchor.gateway('gw2', '100.64.1.0/24')]
})

afterEach(async () => {
  vi.useRealTimers()
  await simulation[Symbol.asyncDispose]()
})

async function start(spec: StationSpec): Promise<Station> {
  const station = await simulation.add(spec)
  await station.start()
  return station
}

const gateway = (index: number, wan = addresses[index] ?? '') => {
  const node = gatewayNodes[index]
  if (!node) throw new Error(`no gateway ${index}`)
  return start({ name: `gw${index + 1}`, node, wan })
}

const branch = (name: string, number: number, known = entries(), wan = `192.0.2.${10 + number}`) =>
  start({
    name,
    node: anchor.edge(name, acme, [{ prefix: `10.${number}.0.0/16`, reachable: true }], known),
    wan,
    lan: `10.${number}.0.1/24`,
  })

describe('gateways of an edge', () => {
  test('come and go at run time; what belongs to one that left is gone from the kernel', async () => {
    const [first, second] = entries()
    if (!first || !second) throw new Error('two gateways are needed')
    const [gw1, gw2] = [await gateway(0), await gateway(1)]
    const a = await branch('a', 1, [first])
    const b = await branch('b', 2, [second])
    await until('both up', () => a.up && b.up)
    expect(reaches(a, '10.2.0.0')).toBe(false)
    await a.update({ ...a.state, revision: 2, gateways: [first, second] })
    await until('a reaches b over gw2', () => a.up && reaches(a, '10.2.0.0') && reaches(b, '10.1.0.0'))
    expect(await a.kernel.xfrm.associations()).toHaveLength(4)

    await a.update({ ...a.state, revision: 3, gateways: [first] })
    await until('no way to b', () => a.lookup(EDGE_VRF, '10.2.0.0', 24) === undefined)
    await until('gw2 forgets the routes of a', () => gw2.lookup(1, '10.1.0.0', 24) === undefined)
    // What belongs to it goes behind its routes.
    if (a.agent?.role.kind === 'edge') await a.agent.role.edge.node.reconciler.flush()
    const maps = a.kernel.maps()
    expect(maps?.sessions.entries()).toHaveLength(1)
    expect(maps?.peers.entries()).toHaveLength(1)
    expect(maps?.vaddrs.entries()).toHaveLength(1)
    expect(maps?.nexthops.entries().filter(([, { kind }]) => kind === nexthopKind.NH_PEER)).toEqual([])
    expect(await a.kernel.xfrm.associations()).toHaveLength(2)
    const mp0 = await deviceOf(a, 'mp0')
    expect((await a.kernel.network.addresses()).filter(({ ifindex }) => ifindex === mp0)).toHaveLength(1)
    expect(gw1.agent).toBeDefined()
  })

  test('take over from each other, and the better one is used again when it is back', async () => {
    const [gw1] = [await gateway(0), await gateway(1)]
    const [a, b] = [await branch('a', 1), await branch('b', 2)]
    await until('both up', () => a.up && b.up && reaches(a, '10.2.0.0'))
    const indexOf = (node: TestNode | undefined) =>
      a.agent?.role.kind === 'edge' ? a.agent.role.edge.uplinks.get(node?.state.node ?? '')?.index : undefined
    const target = () => a.lookup(EDGE_VRF, '10.2.0.0', 24)
    await until('over gw1', () => target()?.target === indexOf(gatewayNodes[0]))
    gw1.crash()
    simulation.world.kill('gw1')
    await until('over gw2', () => target()?.kind === 'peer' && target()?.target === indexOf(gatewayNodes[1]))
    const node = gatewayNodes[0]
    if (!node) throw new Error('gw1 is needed')
    await start({ name: 'gw1-again', node, wan: '192.0.2.1' })
    // It is not trusted for ten seconds.
    const over = () => target()?.kind === 'peer' && target()?.target === indexOf(gatewayNodes[0])
    await until('over gw1 again', over, 30_000)
  })

  test('keep the tunnel when only their name or preference changes', async () => {
    await gateway(0)
    const [first] = entries()
    if (!first) throw new Error('a gateway is needed')
    const a = await branch('a', 1, [first])
    await until('a up', () => a.up)
    const sessions = a.kernel
      .maps()
      ?.sessions.entries()
      .map(([sid]) => sid)
    await a.update({ ...a.state, revision: 2, gateways: [{ ...first, name: 'frankfurt', metric: 9 }] })
    expect(
      a.kernel
        .maps()
        ?.sessions.entries()
        .map(([sid]) => sid),
    ).toEqual(sessions)
    expect(a.up).toBe(true)
  })
})

describe('networks of an edge', () => {
  test('a LAN subnet that comes and goes is announced and withdrawn', async () => {
    await gateway(0)
    const [a, b] = [await branch('a', 1, entries().slice(0, 1)), await branch('b', 2, entries().slice(0, 1))]
    await until('both up', () => reaches(b, '10.1.0.0'))
    const ifindex = await deviceOf(a, 'lan0')
    await a.kernel.network.addAddress({ ifindex, address: '10.1.7.1', prefixLength: 24 })
    await until('b knows', () => reaches(b, '10.1.7.0'))
    await a.kernel.network.deleteAddress({ ifindex, address: '10.1.7.1', prefixLength: 24 })
    await until('b has forgotten', () => b.lookup(EDGE_VRF, '10.1.7.0', 24) === undefined)
    expect(reaches(b, '10.1.0.0')).toBe(true)
  })

  test('one outside the grant is reported and stays at home', async () => {
    await gateway(0)
    const a = await branch('a', 1, entries().slice(0, 1))
    await until('a up', () => a.up)
    await a.kernel.network.addAddress({ ifindex: await deviceOf(a, 'lan0'), address: '172.16.0.1', prefixLength: 24 })
    await until('reported', () =>
      a.events.some(({ code, message }) => code === 'prefix-refused' && message.includes('172.16.0.0/24')),
    )
    expect(a.lookup(EDGE_VRF, '172.16.0.0', 24)).toBeUndefined()
  })

  test('a WAN address that changes: packets leave from the new one within moments, without being lost first', async () => {
    await gateway(0)
    const a = await branch('a', 1, entries().slice(0, 1))
    await until('a up', () => a.up)
    const ifindex = await deviceOf(a, 'wan0')
    const localOf = () =>
      a.kernel
        .maps()
        ?.pathConf.entries()
        .map(([, { local }]) => local.subarray(0, 4).join('.'))
    await a.kernel.network.addAddress({ ifindex, address: '192.0.2.77', prefixLength: 24 })
    await a.kernel.network.deleteAddress({ ifindex, address: '192.0.2.11', prefixLength: 24 })
    simulation.world.readdress('a', '192.0.2.11', '192.0.2.77')
    const took = await until('from the new address', () => localOf()?.join() === '192.0.2.77')
    expect(took).toBeLessThan(400)
    await until('a up', () => a.up)
    expect(a.events.map(({ code }) => code)).not.toContain('gateway-lost')
  })

  test('a WAN with IPv6 alone carries all of it', async () => {
    const node = gatewayNodes[0]
    if (!node) throw new Error('gw1 is needed')
    const known = [gatewayEntry(node, '2001:db8::1')]
    const gw = await gateway(0, '2001:db8::1')
    const [a, b] = [await branch('a', 1, known, '2001:db8::11'), await branch('b', 2, known, '2001:db8::12')]
    await until('a reaches b', () => reaches(a, '10.2.0.0') && reaches(b, '10.1.0.0'))
    expect(
      gw.kernel
        .maps()
        ?.pathConf.entries()
        .map(([, { family }]) => family),
    ).toEqual([6, 6])
  })

  test('a gateway opens its sockets also for an address that comes later', async () => {
    const node = gatewayNodes[0]
    if (!node) throw new Error('gw1 is needed')
    const gw = await gateway(0)
    simulation.world.readdress('gw1', '192.0.2.1', '192.0.2.99')
    const a = await branch('a', 1, [gatewayEntry(node, '192.0.2.99')])
    await new Promise(resolve => setTimeout(resolve, 300))
    expect(a.up).toBe(false)
    await gw.kernel.network.addAddress({ ifindex: await deviceOf(gw, 'wan0'), address: '192.0.2.99', prefixLength: 24 })
    await until('a up', () => a.up)
  })
})

describe('clocks and ends', () => {
  test('a clock that is set back by five minutes stops neither liveness nor the way back', async () => {
    const gw = await gateway(0)
    const [a, b] = [await branch('a', 1, entries().slice(0, 1)), await branch('b', 2, entries().slice(0, 1))]
    await until('a reaches b', () => reaches(a, '10.2.0.0') && reaches(b, '10.1.0.0'))
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() })
    vi.setSystemTime(Date.now() - 300_000)
    b.crash()
    simulation.world.kill('b')
    await until('b is missed', () => a.lookup(EDGE_VRF, '10.2.0.0', 24) === undefined)
    gw.crash()
    await gw.start()
    await until('a comes back', () => a.up)
    a.agent?.rekey({})
    const before =
      a.kernel
        .maps()
        ?.sessions.entries()
        .map(([sid]) => sid) ?? []
    await until(
      'also by a renewal',
      () =>
        a.kernel
          .maps()
          ?.sessions.entries()
          .every(([sid]) => !before.includes(sid)) ?? false,
    )
  })

  test('agents that were closed leave no timer behind', async () => {
    const timers = () => process.getActiveResourcesInfo().filter(name => name === 'Timeout').length
    const before = timers()
    const [gw, gw2] = [await gateway(0), await gateway(1)]
    const [a, b] = [await branch('a', 1), await branch('b', 2)]
    await until('all up', () => a.up && b.up)
    a.agent?.rekey({})
    for (const station of [gw, a, b, gw2]) station.agent?.close()
    await until('all timers gone', () => timers() <= before + 1, 3000)
  })
})
