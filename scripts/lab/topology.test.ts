import { describe, expect, it } from 'vitest'
import { buildScript } from './network.ts'
import { lanPrefixes, readTopology, routerAddress, subnetOf, topologySchema } from './topology.ts'

const edge = {
  name: 'e1',
  kind: 'edge',
  enterprise: 'acme',
  lan: [{ name: 'lan0', addresses: ['10.1.0.1/24'] }],
  wan: [{ name: 'inet', to: 'inet', addresses: ['203.0.113.2/30'] }],
}
const host = { name: 'h1', kind: 'host', lan: 'e1/lan0', addresses: ['10.1.0.10/24'] }
const nodes: object[] = [{ name: 'orch', kind: 'orchestrator' }, { name: 'inet', kind: 'wan' }, edge, host]

function parse(changed: object[]) {
  return topologySchema.safeParse({ name: 'test', about: '', enterprises: ['acme'], nodes: changed })
}

function messages(changed: object[]): string[] {
  return parse(changed).error?.issues.map(issue => `${issue.path.join('.')}: ${issue.message}`) ?? []
}

describe('a topology file', () => {
  it('two-branches gives both enterprises the same subnets', () => {
    const topology = readTopology('two-branches')
    const prefixes = (enterprise: string) =>
      topology.nodes.flatMap(node => (node.kind === 'edge' && node.enterprise === enterprise ? lanPrefixes(node) : []))
    expect(prefixes('acme')).toEqual(['10.1.0.0/24', '2001:db8:a:1::/64', '10.2.0.0/24', '2001:db8:a:2::/64'])
    expect(prefixes('globex')).toEqual(prefixes('acme'))
  })

  it.each([
    ['a name twice', [...nodes, { ...host }], 'nodes.3: h1 is used twice'],
    ['two hosts on one port', [...nodes, { ...host, name: 'h2' }], 'nodes.4: h2: e1/lan0 has a host already'],
    ['an unknown port', [...nodes, { ...host, name: 'h2', lan: 'e1/lan9' }], 'nodes.4: h2: no LAN port e1/lan9'],
    ['no orchestrator', nodes.slice(1), 'nodes: exactly one orchestrator is needed'],
    [
      'a WAN link to a host',
      nodes.with(2, { ...edge, wan: [{ ...edge.wan[0], to: 'h1' }] }),
      'nodes.2: e1: h1 is no node of kind wan',
    ],
    ['an unknown enterprise', nodes.with(2, { ...edge, enterprise: 'other' }), 'nodes.2: e1: no enterprise other'],
    [
      "the router's address",
      nodes.with(2, { ...edge, wan: [{ ...edge.wan[0], addresses: ['203.0.113.1/30'] }] }),
      "nodes.2: e1: 203.0.113.1/30 is the router's; take another of the subnet",
    ],
    [
      'a WAN that peers with itself',
      nodes.with(1, { ...nodes[1], peers: [{ to: 'inet', addresses: ['198.51.100.2/30'] }] }),
      'nodes.1: inet: inet is no other node of kind wan',
    ],
    [
      'an address without a length',
      nodes.with(3, { ...host, addresses: ['10.1.0.10'] }),
      'nodes.3.addresses.0: must be an address with a prefix length, like 10.1.0.1/24',
    ],
  ])('with %s is refused', (_what, changed, message) => {
    expect(messages(changed)).toContain(message)
  })

  it('names a wrong impairment of a link by its place', () => {
    const link = { ...edge.wan[0], impairment: { out: { jitterMs: 5 }, in: { delayMs: 5 } } }
    expect(messages(nodes.with(2, { ...edge, wan: [link] }))).toEqual([
      'nodes.2.wan.0.impairment.out.jitterMs: 5 ms of jitter need a delay of 5 ms at least',
    ])
  })

  it('that does not exist is named with those that do', () => {
    expect(() => readTopology('nowhere')).toThrow(
      'no topology nowhere; there are: behind-nat, service-chains, two-branches, two-gateways, two-links',
    )
  })
})

describe('addresses', () => {
  it.each([
    ['203.0.113.6/30', '203.0.113.4/30', '203.0.113.5/30'],
    ['2001:db8:f000:a::2/64', '2001:db8:f000:a::/64', '2001:db8:f000:a::1/64'],
  ])('%s lies in %s, where the router is %s', (address, subnet, router) => {
    expect(subnetOf(address)).toBe(subnet)
    expect(routerAddress(address)).toBe(router)
  })
})

describe('the script', () => {
  it('gives several WAN links of one edge devices, routers and default routes of their own', () => {
    const second = { name: 'mpls', to: 'inet', addresses: ['198.51.100.6/30'], mtu: 1400 }
    const parsed = parse(nodes.with(2, { ...edge, wan: [...edge.wan, second] }))
    const script = buildScript('x', parsed.data ?? readTopology('two-branches'))
    expect(script).toContain(
      'link add wan-mpls mtu 1400 netns bl-x-e1 type veth peer name to2-e1.1 mtu 1400 netns bl-x-inet',
    )
    expect(script).toContain('route add default via 203.0.113.1 dev wan-inet metric 100')
    expect(script).toContain('route add default via 198.51.100.5 dev wan-mpls metric 101')
  })
  it('joins two WANs that peer: each routes to what is attached to the other', () => {
    const script = buildScript('x', readTopology('two-links'))
    expect(script).toContain(
      'link add ix1-inet mtu 1500 netns bl-x-lte type veth peer name ix2-lte mtu 1500 netns bl-x-inet',
    )
    // The LTE link of branch-b from inet, the gateway's on inet from lte.
    expect(script).toContain('route add 203.0.113.132/30 via 198.51.100.254 dev ix2-lte')
    expect(script).toContain('route add 2001:db8:f000:1::/64 via 2001:db8:f0ff::1 dev ix1-inet')
  })

  it('hides what is behind a NAT: the way out is its upstream, and nobody has a route back', () => {
    const script = buildScript('x', readTopology('behind-nat'))
    expect(script).toContain('route add default via 203.0.113.41 dev ix1-inet')
    expect(script).toContain('route add default via 172.16.0.1 dev ix3-carrier')
    expect(script).toContain('oifname ix3-carrier masquerade')
    expect(script).not.toContain('route add 192.168.1.0/24')
    expect(script).not.toContain('route add 198.51.100.0/30')
  })
})
