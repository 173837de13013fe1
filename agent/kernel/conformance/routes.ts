import { beforeEach, describe, expect, it } from 'vitest'
import { cable, expectCode, type MachineUnderTest } from '../conformance.ts'
import type { Link, Route, Rule } from '../port.ts'

const NOBODY = 9999

/** lan0 (10.0.0.1/24, 2001:db8::1/64) -- host0 */
export function routeConformance(machine: MachineUnderTest): void {
  const network = () => machine().kernel.network
  let lan: Link
  let ifindex: number

  describe('routes', () => {
    beforeEach(async () => {
      ;[lan] = await cable(machine(), 'lan0', 'host0')
      ifindex = lan.ifindex
      await network().addAddress({ ifindex, address: '10.0.0.1', prefixLength: 24 })
      await network().addAddress({ ifindex, address: '2001:db8::1', prefixLength: 64 })
    })

    /** Without those of IPv6 link-local addresses, which Linux makes for itself. */
    const routes = async (table?: number) =>
      (await network().routes(table)).filter(route => !route.destination.startsWith('fe80'))

    it('to a subnet come and go with its address', async () => {
      const connected = [
        { destination: '10.0.0.0/24', ifindex, table: 254, protocol: 2, scope: 'link', source: '10.0.0.1' },
        { destination: '2001:db8::/64', ifindex, table: 254, protocol: 2, scope: 'global', metric: 256 },
      ]
      expect(await routes()).toEqual(connected)
      await network().deleteAddress({ ifindex, address: '10.0.0.1', prefixLength: 24 })
      expect(await routes()).toEqual(connected.slice(1))
      await network().deleteAddress({ ifindex, address: '2001:db8::1', prefixLength: 64 })
      expect(await routes()).toEqual([])
    })

    it('go when their device goes down', async () => {
      await network().addRoute({ destination: '10.1.0.0/16', ifindex, gateway: '10.0.0.2' })
      await network().setLink(ifindex, { up: false })
      expect(await routes()).toEqual([])
      await expectCode(network().addRoute({ destination: '10.1.0.0/16', ifindex }), 'ENETDOWN')
      await network().setLink(ifindex, { up: true })
      expect((await routes()).map(({ destination }) => destination)).toContain('10.0.0.0/24')
    })

    it.each([
      { destination: '10.1.0.0/16', gateway: '10.0.0.2', scope: 'global' },
      { destination: '0.0.0.0/0', gateway: '10.0.0.2', metric: 100, protocol: 16, scope: 'global' },
      { destination: '100.64.0.0/10', source: '10.0.0.1', scope: 'link' },
      { destination: '10.2.0.0/16', gateway: '10.0.0.2', scope: 'global', mtu: 1192 },
      { destination: '2001:db8:1::/48', gateway: '2001:db8::2', metric: 1024, scope: 'global' },
      { destination: '2001:db8:2::/48', gateway: '2001:db8::2', metric: 1024, scope: 'global', mtu: 1300 },
      { destination: '::/0', gateway: 'fe80::1', metric: 7, scope: 'global' },
      { destination: '0.0.0.0/0', gateway: '100.127.255.1', onlink: true, table: 1000, scope: 'global' },
      { destination: '::/0', gateway: 'fd00::1', onlink: true, table: 1000, metric: 1024, scope: 'global' },
    ] as const)('add, list and delete $destination in table $table', async spec => {
      const route: Route = { ...spec, ifindex }
      const { table = 254, destination } = spec
      await network().addRoute(route)
      const found = (await routes(table)).filter(candidate => candidate.destination === destination)
      expect(found).toEqual([{ protocol: 4, table, ...route }])
      await expectCode(network().addRoute(route), 'EEXIST')
      await network().deleteRoute(route)
      expect((await routes(table)).filter(candidate => candidate.destination === destination)).toEqual([])
      await expectCode(network().deleteRoute(route), 'ENOENT')
    })

    it('of other metric live beside each other; replace changes the one of the same metric', async () => {
      const route = { destination: '10.1.0.0/16', ifindex, table: 1001 }
      await network().addRoute({ ...route, gateway: '10.0.0.2', metric: 1 })
      await network().addRoute({ ...route, gateway: '10.0.0.3', metric: 2 })
      await network().replaceRoute({ ...route, gateway: '10.0.0.4', metric: 2 })
      await network().replaceRoute({ ...route, gateway: '10.0.0.5', metric: 3 })
      const found = await network().routes(1001)
      expect(found.map(({ gateway, metric }) => [metric, gateway]).sort()).toEqual([
        [1, '10.0.0.2'],
        [2, '10.0.0.4'],
        [3, '10.0.0.5'],
      ])
    })

    it('need a device, a next hop in reach and a clean prefix', async () => {
      await expectCode(network().addRoute({ destination: '10.1.0.0/16', ifindex: NOBODY }), 'ENODEV')
      await expectCode(network().addRoute({ destination: '10.1.0.0/16', ifindex, gateway: '192.0.2.1' }), 'ENETUNREACH')
      await expectCode(
        network().addRoute({ destination: '2001:db8:1::/48', ifindex, gateway: 'fd00::1' }),
        'EHOSTUNREACH',
      )
    })

    it('of a table that nobody made are none', async () => {
      expect(await network().routes(77)).toEqual([])
    })
  })

  describe('rules', () => {
    it.each([4, 6] as const)('add, list and delete for IPv%i', async family => {
      const rule: Rule = { family, outInterface: 'ipsec0', table: 1000, priority: 100 }
      await network().addRule(rule)
      expect(await network().rules()).toEqual([rule])
      await expectCode(network().addRule(rule), 'EEXIST')
      await network().addRule({ ...rule, outInterface: 'mp0' })
      await network().deleteRule(rule)
      expect(await network().rules()).toEqual([{ ...rule, outInterface: 'mp0' }])
      await expectCode(network().deleteRule(rule), 'ENOENT')
    })
  })
}
