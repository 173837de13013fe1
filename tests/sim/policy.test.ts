/**
 * Topology: gateways gw1 (upstream 198.51.100.1 on up0) and gw2 (no upstream at first); branches a and b of acme, c of globex. Policies are signed by the
 * orchestrator's key; edges alone tell gateways. Real agents on fake kernels.
 */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { decodeSigned } from '../../agent/mp/signed.ts'
import { ABI_NH_F_CHAINED, ABI_NH_F_SECURE, ABI_VRF_UPSTREAM, eventCodec, eventType } from '../../schema/abi.gen.ts'
import type { PolicyRule } from '../../schema/policy.ts'
import { Anchor, gatewayEntry, type TestEnterprise, type TestNode } from '../identities.ts'
import { Simulation, type Station, until } from './branches.ts'

const EDGE_VRF = 1
let anchor: Anchor
let simulation: Simulation
let acme: TestEnterprise
let globex: TestEnterprise
let gatewayNode: TestNode
let gw: Station
let gw2: Station
let a: Station
let b: Station
let c: Station

const chains = [
  {
    name: 'inspect',
    hops: [
      { function: 'dpi', failOpen: true },
      { function: 'nat', failOpen: false },
    ],
  },
]
const zones = [{ name: 'hosts', prefixes: ['10.1.0.0/16', '2001:db8:1::/48'] }]
const web: PolicyRule = {
  name: 'web',
  id: 1,
  source: ['hosts'],
  destination: [],
  proto: 6,
  sourcePorts: [0, 65_535],
  destinationPorts: [80, 443],
  application: 0,
  direction: 'out',
  chain: 'inspect',
  shadow: false,
  existing: 'keep',
}

beforeEach(async () => {
  anchor = new Anchor()
  simulation = new Simulation()
  gatewayNode = anchor.gateway('gw1', '100.64.0.0/18')
  const second = anchor.gateway('gw2', '100.64.64.0/18')
  const gateways = [gatewayEntry(gatewayNode, '192.0.2.1'), gatewayEntry(second, '192.0.2.2')]
  acme = anchor.enterprise('acme', 'esp')
  globex = anchor.enterprise('globex', 'clear')
  gw = await simulation.add({ name: 'gw1', node: gatewayNode, wan: '192.0.2.1', upstream: '198.51.100.1/24' })
  // Its interface is not plugged in.
  gw2 = await simulation.add({
    name: 'gw2',
    node: second,
    wan: '192.0.2.2',
    services: { upstream: { interface: 'up0' } },
  })
  const branch = (name: string, enterprise: TestEnterprise, subnet: number, wan: string) =>
    simulation.add({
      name,
      node: anchor.edge(name, enterprise, [{ prefix: `10.${subnet}.0.0/24`, reachable: true }], gateways),
      wan,
      lan: `10.${subnet}.0.1/24`,
    })
  a = await branch('branch-a', acme, 1, '192.0.2.11')
  b = await branch('branch-b', acme, 2, '192.0.2.12')
  c = await branch('branch-c', globex, 1, '192.0.2.13')
  for (const station of simulation.stations) await station.start()
  await until('all edges up', () => [a, b, c].every(({ up }) => up))
})

afterEach(() => simulation[Symbol.asyncDispose]())

const publish = async (policy: string, ...edges: Station[]) => {
  for (const edge of edges) await edge.update({ ...edge.state, revision: edge.state.revision + 1, policy })
}
const vrfOf = ({ agent }: Station, { id }: TestEnterprise) =>
  agent?.role.kind === 'gateway' ? agent.role.gateway.vrfs.get(id) : undefined
const policyAt = (station: Station, enterprise: TestEnterprise) => vrfOf(station, enterprise)?.policy?.policy
const versionAt = (station: Station, enterprise: TestEnterprise) => policyAt(station, enterprise)?.version
const codes = ({ events }: Station) => events.map(({ code }) => code)
const defaultRoute = (station: Station) => station.lookup(EDGE_VRF, '0.0.0.0', 0)?.kind
const sessionVersions = ({ kernel }: Station, vrf: number | undefined) =>
  kernel
    .maps()
    ?.sessions.entries()
    .flatMap(([, session]) => (session.vrf === vrf ? [session.policyVersion] : [])) ?? []

/** What the gateway hears from the route session of an edge that lies. */
const say = (edge: Station, version: number, text: string) => {
  const { role } = gw.agent ?? {}
  const peer = role?.kind === 'gateway' ? role.gateway.peers.get(edge.state.node) : undefined
  const document = decodeSigned(Buffer.from(text, 'base64'))
  if (role?.kind !== 'gateway' || !peer || !document.ok) throw new Error('no gateway, no edge or no document')
  role.gateway.policies.told(peer, { type: 'policy', version, classes: [], document: document.value })
}

describe('a policy', () => {
  test('comes to every gateway by edges alone, expanded and for its own enterprise', async () => {
    await publish(anchor.policy(acme, 2, { zones, chains, rules: [web] }), a)
    await until('both gateways have it', () => [gw, gw2].every(station => versionAt(station, acme) === 2))
    expect(policyAt(gw, acme)).toMatchObject({ secure: true, internet: false, chains })
    expect(policyAt(gw, acme)?.rules.map(({ source, destination }) => [source, destination])).toEqual([
      ['10.1.0.0/16', '::/0'],
      ['2001:db8:1::/48', '::/0'],
    ])
    expect(policyAt(gw, globex)).toBeUndefined()
    const metrics = await Promise.all([gw, a, b].map(({ agent }) => agent?.metrics()))
    expect(
      metrics.map(text => [...(text ?? '').matchAll(/^branchline_policy_version.*$/gm)].map(([line]) => line)),
    ).toEqual([
      ['branchline_policy_version{enterprise="acme"} 2', 'branchline_policy_version{enterprise="globex"} 1'],
      ['branchline_policy_version{enterprise="acme"} 2'],
      ['branchline_policy_version{enterprise="acme"} 1'],
    ])
  })

  test('is named in the headers of the edge that has it', async () => {
    await publish(anchor.policy(acme, 7), a)
    const vrf = vrfOf(gw, acme)?.id
    await until('the session knows', () => sessionVersions(gw, vrf).includes(7))
    expect(sessionVersions(gw, vrf).toSorted()).toEqual([1, 7])
    const peers = a.kernel.maps()?.peers.entries() ?? []
    expect(peers.filter(([, { pathMask }]) => pathMask > 0).map(([, { policyVersion }]) => policyVersion)).toEqual([
      7, 7,
    ])
  })

  test('that only headers tell of is asked for', async () => {
    await publish(anchor.policy(acme, 7), a)
    await until('told', () => versionAt(gw, acme) === 7)
    const vrf = vrfOf(gw, acme)
    const { role } = gw.agent ?? {}
    const sid = role?.kind === 'gateway' ? role.gateway.peers.get(a.state.node)?.sid : undefined
    if (!vrf || sid === undefined) throw new Error('no VRF or no session')
    // As if the message had been lost with what the gateway knew.
    vrf.policy = undefined
    const event = eventCodec.decode(new Uint8Array(eventCodec.size))
    for (let packet = 0; packet < 100; packet++)
      gw.kernel.emit({ ...event, type: eventType.EVENT_POLICY_AHEAD, handle: sid, value: 7 })
    await until('told again', () => versionAt(gw, acme) === 7)
  })

  test('that is older changes nothing, one that is newer replaces it, whoever tells', async () => {
    await publish(anchor.policy(acme, 5), a)
    await until('5', () => versionAt(gw, acme) === 5)
    await publish(anchor.policy(acme, 3, { internet: true }), b)
    await until('told of', () => codes(gw).includes('policy-stale'))
    expect(policyAt(gw, acme)).toMatchObject({ version: 5, internet: false })
    await publish(anchor.policy(acme, 6), b)
    await until('6', () => versionAt(gw, acme) === 6)
  })

  test('that is forged, of another enterprise or misnamed is refused and reported', async () => {
    const refused = () => gw.events.filter(({ code }) => code === 'policy-refused').map(({ message }) => message)
    say(c, 9, anchor.policy(acme, 9, { internet: true }))
    await until('foreign', () => refused().some(message => message.includes('another enterprise')))
    say(c, 9, new Anchor().policy(globex, 9, { internet: true }))
    await until('unknown signer', () => refused().some(message => message.includes('does not trust')))
    say(c, 10, anchor.policy(globex, 9, { internet: true }))
    await until('misnamed', () => refused().some(message => message.includes('is version 9')))
    const signed = Buffer.from(anchor.policy(globex, 9), 'base64')
    signed.writeUInt8(signed.readUInt8(60) ^ 1, 60)
    say(c, 9, signed.toString('base64'))
    await until('changed', () => refused().some(message => message.includes('does not match its signature')))
    expect(policyAt(gw, acme) ?? policyAt(gw, globex)).toBeUndefined()
  })
})

describe('the Internet', () => {
  const wanted = (serial: number) => anchor.policy(acme, serial, { internet: true })

  test('is offered by the gateway that has a way there, to the enterprise that wants it, and only for what a chain has passed', async () => {
    await publish(wanted(2), a, b)
    await until('default routes', () => [a, b].every(edge => defaultRoute(edge) === 'peer'))
    const vrf = vrfOf(gw, acme)?.id ?? 0
    const up0 = (await gw.kernel.network.links()).find(({ name }) => name === 'up0')?.ifindex
    expect(gw.lookup(vrf, '0.0.0.0', 0)).toEqual({
      kind: 'lan',
      target: up0,
      flags: ABI_NH_F_CHAINED | ABI_NH_F_SECURE,
    })
    expect(gw.kernel.maps()?.ports.get(up0 ?? 0)?.vrf).toBe(ABI_VRF_UPSTREAM)
    expect(gw.agent?.routes()).toContainEqual({
      enterprise: 'acme',
      prefix: '0.0.0.0/0',
      reachable: true,
      security: 'esp',
      owner: 'gw1',
      via: 'upstream up0, out of chains',
      source: 'offered',
    })
    expect(gw.lookup(ABI_VRF_UPSTREAM, '198.51.100.1', 32)?.kind).toBe('local')
    // The upstream speaks IPv4 alone, gw2 has none, and globex wants none.
    expect(a.lookup(EDGE_VRF, '::', 0)).toBeUndefined()
    expect(gw2.lookup(vrfOf(gw2, acme)?.id ?? 0, '0.0.0.0', 0)).toBeUndefined()
    expect(defaultRoute(c)).toBeUndefined()
  })

  test('goes with the switch, with the interface and with the VRF', async () => {
    await publish(wanted(2), a, b)
    await until('on', () => [a, b].every(edge => defaultRoute(edge) === 'peer'))
    const vrf = vrfOf(gw, acme)?.id ?? 0
    await publish(anchor.policy(acme, 3), a)
    await until('off', () => [a, b].every(edge => defaultRoute(edge) === undefined))
    expect(gw.lookup(vrf, '0.0.0.0', 0)).toBeUndefined()
    await publish(wanted(4), b)
    await until('on again', () => defaultRoute(a) === 'peer')
    const up0 = (await gw.kernel.network.links()).find(({ name }) => name === 'up0')?.ifindex ?? 0
    await gw.kernel.network.setLink(up0, { up: false })
    await until('its interface is down', () => defaultRoute(a) === undefined)
    await gw.kernel.network.setLink(up0, { up: true })
    await until('and up', () => defaultRoute(a) === 'peer')
    const trust = { ...gw.state.trust, revocations: anchor.revocations([a.state.node, b.state.node]) }
    await gw.update({ ...gw.state, revision: 2, trust })
    await until('no VRF', () => vrfOf(gw, acme) === undefined)
    await until('no route', () => gw.lookup(vrf, '0.0.0.0', 0) === undefined)
  })
})

describe('two gateways with an upstream', () => {
  test('the other one takes over when one dies, and both families are offered where they are spoken', async () => {
    await publish(anchor.policy(acme, 2, { internet: true }), a, b)
    await until('by gw1', () => defaultRoute(a) === 'peer')
    const { network } = gw2.kernel
    const { ifindex } = network.addDevice('up0')
    await network.addAddress({ ifindex, address: '203.0.113.1', prefixLength: 24 })
    await network.addAddress({ ifindex, address: '2001:db8:ff::1', prefixLength: 64 })
    await until('IPv6 by gw2', () => a.lookup(EDGE_VRF, '::', 0)?.kind === 'peer')
    const byGw2 = a.lookup(EDGE_VRF, '::', 0)?.target
    expect(gw2.lookup(ABI_VRF_UPSTREAM, '2001:db8:ff::1', 128)?.kind).toBe('local')
    gw.agent?.close()
    simulation.world.kill('gw1')
    await until('IPv4 by gw2', () => a.lookup(EDGE_VRF, '0.0.0.0', 0)?.target === byGw2)
    expect(defaultRoute(a)).toBe('peer')
  })
})

describe('what survives', () => {
  test('an agent of the gateway that is killed: policy and default route are adopted', async () => {
    await publish(anchor.policy(acme, 4, { internet: true, zones, chains, rules: [web] }), a, b)
    await until('default routes', () => defaultRoute(a) === 'peer' && defaultRoute(b) === 'peer')
    const before = policyAt(gw, acme)
    const vrf = vrfOf(gw, acme)?.id ?? 0
    const route = gw.lookup(vrf, '0.0.0.0', 0)
    gw.crash()
    await gw.start()
    expect(policyAt(gw, acme)).toEqual(before)
    expect(vrfOf(gw, acme)?.id).toBe(vrf)
    expect(gw.lookup(vrf, '0.0.0.0', 0)).toEqual(route)
    await until('up again', () => [a, b, c].every(({ up }) => up))
    expect(gw.lookup(vrf, '0.0.0.0', 0)).toEqual(route)
    expect(defaultRoute(a)).toBe('peer')
  })

  test('a gateway that lost everything, and edges that started without an orchestrator: edges tell it again', async () => {
    await publish(anchor.policy(acme, 4, { internet: true }), a, b)
    await until('default routes', () => defaultRoute(a) === 'peer' && defaultRoute(b) === 'peer')
    gw.agent?.close()
    simulation.world.kill('gw1')
    await until('edges notice', () => ![a, b].some(({ up }) => up))
    // It has nothing but the state that it was last told.
    a.crash()
    await a.start()
    const again = await simulation.add({
      name: 'gw1-again',
      node: gatewayNode,
      wan: '192.0.2.1',
      upstream: '198.51.100.1/24',
    })
    await again.start()
    await until('the policy is back', () => versionAt(again, acme) === 4)
    await until('default routes again', () => [a, b].every(edge => edge.up && defaultRoute(edge) === 'peer'))
  })
})
