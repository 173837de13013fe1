import { describe, expect, test } from 'vitest'
import type { Link, Route } from '../kernel/port.ts'
import { localSubnets } from './local-subnets.ts'

/** lan0 (2) is a branch LAN, wan0 (3) is not; 10.1.0.0/16 is granted and reachable, 10.1.9.0/24 inside it is granted but off. */
const link = (ifindex: number, name: string, change: Partial<Link> = {}): Link => ({
  ifindex,
  name,
  kind: 'veth',
  mtu: 1500,
  up: true,
  running: true,
  mac: '02:00:00:00:00:01',
  parent: undefined,
  ...change,
})
const links = [link(2, 'lan0'), link(3, 'wan0')]
const connected = (destination: string, ifindex = 2): Route => ({ destination, ifindex, protocol: 2, scope: 'link' })
const granted = [
  { prefix: '10.1.0.0/16', reachable: true },
  { prefix: '10.1.9.0/24', reachable: false },
  { prefix: '2001:db8:a::/48', reachable: true },
]
const lan = [{ interface: 'lan0' }]
const prefixes = (routes: Route[], subnets: string[] = [], from = links) =>
  localSubnets([{ interface: 'lan0', subnets }], { links: from, routes }, granted).announced.map(({ prefix }) => prefix)

describe('local subnets of an edge', () => {
  test('connected and static routes of LAN interfaces, both families', () => {
    const routes = [
      connected('10.1.1.0/24'),
      { ...connected('10.1.2.0/24'), protocol: 4, gateway: '10.1.1.9' },
      connected('2001:db8:a:1::/64'),
    ]
    const { announced } = localSubnets(lan, { links, routes }, granted)
    expect(announced.map(({ prefix, source }) => [prefix, source])).toEqual([
      ['10.1.1.0/24', 'connected'],
      ['10.1.2.0/24', 'static'],
      ['2001:db8:a:1::/64', 'connected'],
    ])
  })

  test('the longest grant around a subnet gives its reachable flag', () => {
    const { announced } = localSubnets(
      lan,
      { links, routes: [connected('10.1.9.0/25'), connected('10.1.8.0/24')] },
      granted,
    )
    expect(announced.map(({ prefix, reachable }) => [prefix, reachable])).toEqual([
      ['10.1.9.0/25', false],
      ['10.1.8.0/24', true],
    ])
  })

  test('what is outside the grant is reported and not announced', () => {
    const result = localSubnets(lan, { links, routes: [connected('192.168.0.0/24'), connected('10.0.0.0/8')] }, granted)
    expect(result.announced).toEqual([])
    expect(result.refused.map(({ prefix }) => prefix)).toEqual(['192.168.0.0/24', '10.0.0.0/8'])
  })

  test('routes of other interfaces, default routes, link-local and multicast are nobody’s subnet', () => {
    expect(
      prefixes([
        connected('10.1.1.0/24', 3),
        connected('0.0.0.0/0'),
        connected('fe80::/64'),
        connected('ff00::/8'),
        connected('169.254.0.0/16'),
      ]),
    ).toEqual([])
  })

  test('a configured subnet is announced while its interface is up', () => {
    expect(prefixes([], ['10.1.77.0/24'])).toEqual(['10.1.77.0/24'])
    expect(prefixes([], ['10.1.77.0/24'], [link(2, 'lan0', { running: false })])).toEqual([])
    expect(prefixes([], ['10.1.77.0/24'], [])).toEqual([])
  })
})
