import { describe, expect, test } from 'vitest'
import type { NodeState } from '../../../schema/node-state.ts'
import { messageOf, stateWhere } from '../harness.ts'
import { grantOf, revokedIn, type Setup } from '../setup.ts'

export function intentCases(s: Setup): void {
  describe('revocation', () => {
    test('closes the connection, reaches every node signed, and lets a new key start over', async () => {
      await s.admin.enterprise.create.mutate({ name: 'rev' })
      const bad = await s.edge('rev', 'rev-bad', ['10.1.0.0/24'])
      await s.edge('rev', 'rev-good', ['10.2.0.0/24'])
      const good = await s.bench.connect('rev-good')
      const { identity } = (await import('../../../agent/intent/identity-file.ts')).readNode(
        s.bench.stateDir('rev-bad'),
      )
      const tls = { ca: identity.ca, certificate: identity.certificate, key: identity.tlsKey }
      const connection = s.bench.dial(tls)
      await connection.trpc.agent.report.mutate({ revision: 0, version: '', kernel: '', esp: false, peers: [] })

      expect(await s.admin.node.revoke.mutate({ name: 'rev-bad' })).toEqual({ revokedSerial: 1 })
      expect(await connection.closed).toMatchObject({
        code: 4403,
        reason: expect.stringMatching(/^node rev-bad was revoked/),
      })
      const state = await stateWhere(good, candidate => candidate.trust.revocations !== null)
      expect(revokedIn(state)).toContainEqual({ node: bad.id, upTo: 1 })
      expect((await s.bench.dial(tls).closed).reason).toMatch(/^this node was revoked/)
      expect(await messageOf(s.admin.node.revoke.mutate({ name: 'rev-bad' }))).toBe('node rev-bad is revoked already')

      const again = await s.bench.activate(
        'rev-bad',
        (await s.admin.node.key.mutate({ name: 'rev-bad' })).activationKey,
      )
      expect(grantOf(again).serial).toBe(2)
      expect(revokedIn(again)).toContainEqual({ node: bad.id, upTo: 1 })
      await good.close()
    })

    test("a second machine in a node's place ends the first one's grants", async () => {
      await s.admin.enterprise.create.mutate({ name: 'swap' })
      const first = await s.edge('swap', 'swap-a', [])
      const second = await s.bench.activate(
        'swap-a-new',
        (await s.admin.node.key.mutate({ name: 'swap-a' })).activationKey,
      )
      expect(revokedIn(second)).toContainEqual({ node: first.id, upTo: 1 })
      expect(grantOf(second).serial).toBe(2)
    })

    test('a deleted node is forgotten and its grants stay refused', async () => {
      await s.admin.enterprise.create.mutate({ name: 'gone' })
      const deleted = await s.edge('gone', 'gone-a', ['10.1.0.0/24'])
      await s.admin.node.delete.mutate({ name: 'gone-a' })
      expect(await messageOf(s.admin.node.show.query({ name: 'gone-a' }))).toMatch(/there is no node gone-a/)
      expect(await s.admin.subnet.list.query({ enterprise: 'gone' })).toEqual([])
      const next = await s.edge('gone', 'gone-b', ['10.1.0.0/24'])
      expect(revokedIn(next.state)).toContainEqual({ node: deleted.id, upTo: 1 })
      await s.admin.node.delete.mutate({ name: 'gone-b' })
      await s.admin.enterprise.delete.mutate({ name: 'gone' })
      expect((await s.admin.enterprise.list.query()).map(row => row.name)).not.toContain('gone')
    })
  })

  describe('subnets', () => {
    test('an overlap within an enterprise is refused with both owners named, in another enterprise it is none', async () => {
      await s.admin.enterprise.create.mutate({ name: 'one' })
      await s.admin.enterprise.create.mutate({ name: 'two' })
      await s.admin.node.create.mutate({ name: 'one-a', enterprise: 'one', subnets: ['10.1.0.0/16', '2001:db8::/32'] })
      await s.admin.node.create.mutate({ name: 'one-b', enterprise: 'one' })
      await s.admin.node.create.mutate({ name: 'two-a', enterprise: 'two', subnets: ['10.1.0.0/16'] })
      for (const [prefix, held] of [
        ['10.1.2.0/24', '10.1.0.0/16'],
        ['10.0.0.0/8', '10.1.0.0/16'],
        ['10.1.0.0/16', '10.1.0.0/16'],
        ['2001:db8:7::/48', '2001:db8::/32'],
      ] as const) {
        expect(await messageOf(s.admin.subnet.add.mutate({ node: 'one-b', prefix }))).toBe(
          `${prefix} of one-b overlaps ${held} of one-a in enterprise one; remove one of them first`,
        )
      }
      // Nothing of a refused node stays.
      const refused = s.admin.node.create.mutate({
        name: 'one-c',
        enterprise: 'one',
        subnets: ['10.9.0.0/16', '10.1.0.0/24'],
      })
      expect(await messageOf(refused)).toMatch(/10.1.0.0\/24 of one-c overlaps 10.1.0.0\/16 of one-a/)
      expect(await messageOf(s.admin.node.show.query({ name: 'one-c' }))).toMatch(/there is no node one-c/)
    })

    test('two admins who add overlapping prefixes at once: one gets it, the other hears from whom', async () => {
      await s.admin.enterprise.create.mutate({ name: 'race' })
      await s.admin.node.create.mutate({ name: 'race-a', enterprise: 'race' })
      await s.admin.node.create.mutate({ name: 'race-b', enterprise: 'race' })
      const other = s.bench.admin()
      for (let at = 0; at < 10; at++) {
        const results = await Promise.allSettled([
          s.admin.subnet.add.mutate({ node: 'race-a', prefix: `10.${at}.0.0/16` }),
          other.subnet.add.mutate({ node: 'race-b', prefix: `10.${at}.128.0/17` }),
        ])
        const lost = results.flatMap(result => (result.status === 'rejected' ? [String(result.reason.message)] : []))
        expect(lost).toHaveLength(1)
        expect(lost[0]).toMatch(/of race-[ab] overlaps .* of race-[ab] in enterprise race/)
      }
      expect(await s.admin.subnet.list.query({ enterprise: 'race' })).toHaveLength(10)
    })

    test('adding and removing one gives the owner a new grant, and only the owner', async () => {
      await s.admin.enterprise.create.mutate({ name: 'own' })
      await s.edge('own', 'own-a', ['10.1.0.0/24'])
      await s.edge('own', 'own-b', ['10.2.0.0/24'])
      const client = await s.bench.connect('own-a')
      const other = await s.admin.node.show.query({ name: 'own-b' })
      await s.admin.subnet.add.mutate({ node: 'own-a', prefix: '10.3.0.0/24' })
      const grown = await stateWhere(client, state => state.vpn?.subnets.length === 2)
      expect(grantOf(grown)).toMatchObject({ serial: 2, prefixes: ['10.1.0.0/24', '10.3.0.0/24'] })
      await s.admin.subnet.remove.mutate({ node: 'own-a', prefix: '10.1.0.0/24' })
      const shrunk = await stateWhere(client, state => state.vpn?.subnets.length === 1)
      expect(grantOf(shrunk)).toMatchObject({ serial: 3, prefixes: ['10.3.0.0/24'] })
      expect((await s.admin.node.show.query({ name: 'own-b' })).revision).toBe(other.revision)
      await client.close()
    })
  })

  describe('gateways', () => {
    test('edges follow endpoints and assignments; a revoked gateway leaves their list', async () => {
      await s.admin.enterprise.create.mutate({ name: 'gws' })
      for (const [name, address] of [
        ['gws-1', '198.51.100.1'],
        ['gws-2', '198.51.100.2'],
      ] as const) {
        const made = await s.admin.node.create.mutate({ name, role: 'gateway', endpoints: [{ address, port: 2426 }] })
        await s.bench.activate(name, made.activationKey)
      }
      await s.edge('gws', 'gws-a', [])
      const client = await s.bench.connect('gws-a')
      const named = (state: NodeState) => state.gateways.map(gateway => gateway.name)
      expect(named(client.state)).toEqual(expect.arrayContaining(['gws-1', 'gws-2']))
      await s.admin.gateway.assign.mutate({ enterprise: 'gws', gateway: 'gws-1', metric: 20 })
      await stateWhere(client, state => named(state).join() === 'gws-1')
      await s.admin.gateway.assign.mutate({ enterprise: 'gws', gateway: 'gws-2', metric: 10 })
      await stateWhere(client, state => named(state).join() === 'gws-2,gws-1')
      await s.admin.gateway.endpoints.mutate({ name: 'gws-1', endpoints: [{ address: '2001:db8::1', port: 9000 }] })
      await stateWhere(client, state => state.gateways[1]?.endpoints[0]?.address === '2001:db8::1')
      await s.admin.node.revoke.mutate({ name: 'gws-2' })
      await stateWhere(client, state => named(state).join() === 'gws-1')
      await client.close()
    })

    const three = async (word: string) => {
      await s.admin.enterprise.create.mutate({ name: word })
      for (const [name, octet] of [
        ['near', 1],
        ['far', 2],
      ] as const) {
        const made = await s.admin.node.create.mutate({
          name: `${word}-${name}`,
          role: 'gateway',
          enterprise: word,
          endpoints: [{ address: `198.51.100.${octet}`, port: word === 'geo' ? 3001 : 3002 }],
        })
        await s.bench.activate(`${word}-${name}`, made.activationKey)
      }
      await s.edge(word, `${word}-a`, ['10.1.0.0/24', '10.2.0.0/24'])
      return s.bench.connect(`${word}-a`)
    }
    const lines = (state: NodeState) =>
      state.gateways
        .filter(({ name }) => /^(geo|drn)-/.test(name))
        .map(({ name, metric, drained }) => `${name} ${metric}${drained ? ' drained' : ''}`)
    const becomes = async (client: Parameters<typeof stateWhere>[0], ...wanted: string[]) => {
      await stateWhere(client, state => lines(state).join() === wanted.join())
    }

    test('locations order the list of each edge by distance, beside the metric that an admin gave', async () => {
      const client = await three('geo')
      await becomes(client, 'geo-far 100', 'geo-near 100')
      await s.admin.node.location.mutate({ name: 'geo-near', location: { latitude: 48.86, longitude: 2.35 } })
      await s.admin.node.location.mutate({ name: 'geo-far', location: { latitude: -33.87, longitude: 151.21 } })
      await s.admin.node.location.mutate({ name: 'geo-a', location: { latitude: 50.11, longitude: 8.68 } })
      await becomes(client, 'geo-near 105', 'geo-far 265')
      expect(client.state.gateways.find(({ name }) => name === 'geo-near')?.distanceKm).toBeGreaterThan(470)
      for (const [gateway, metric] of [
        ['geo-near', 300],
        ['geo-far', 10],
      ] as const)
        await s.admin.gateway.assign.mutate({ enterprise: 'geo', gateway, metric })
      await becomes(client, 'geo-far 175', 'geo-near 305')
      await s.admin.node.location.mutate({ name: 'geo-a', location: null })
      await becomes(client, 'geo-far 10', 'geo-near 300')
      expect(
        await messageOf(s.admin.node.location.mutate({ name: 'geo-a', location: { latitude: 91, longitude: 0 } })),
      ).toMatch(/latitude/)
      await client.close()
    })

    test('a drained gateway stays in the list, comes last, and only then can be removed', async () => {
      const client = await three('drn')
      expect(await s.admin.gateway.drain.mutate({ name: 'drn-far', drained: true })).toEqual({ changed: true })
      await becomes(client, 'drn-near 100', 'drn-far 100 drained')
      expect(await s.admin.gateway.drain.mutate({ name: 'drn-far', drained: true })).toEqual({ changed: false })
      const rows = await s.admin.gateway.list.query()
      expect(rows.filter(row => row.name.startsWith('drn-'))).toMatchObject([
        { name: 'drn-far', drained: true, enterprise: 'drn', status: 'active', assignments: [] },
        { name: 'drn-near', drained: false, endpoints: [{ address: '198.51.100.1', port: 3002 }] },
      ])
      await s.admin.gateway.drain.mutate({ name: 'drn-far', drained: false })
      await becomes(client, 'drn-far 100', 'drn-near 100')
      expect(await messageOf(s.admin.gateway.remove.mutate({ name: 'drn-far' }))).toMatch(
        /gateway drn-far is not drained/,
      )
      expect(await messageOf(s.admin.gateway.drain.mutate({ name: 'drn-a', drained: true }))).toMatch(
        /is an edge, not a gateway/,
      )
      await s.admin.gateway.drain.mutate({ name: 'drn-far', drained: true })
      await s.admin.gateway.remove.mutate({ name: 'drn-far' })
      await becomes(client, 'drn-near 100')
      const { events } = await s.admin.events.list.query({ object: 'node:drn-far' })
      expect(events.map(event => event.action)).toEqual(
        expect.arrayContaining(['gateway.drain', 'gateway.undrain', 'node.delete']),
      )
      await s.admin.gateway.remove.mutate({ name: 'drn-near', now: true })
      await becomes(client)
      await client.close()
    })

    test('a subnet that names gateways tells its owner alone; without the last of them it is announced nowhere', async () => {
      await s.admin.enterprise.create.mutate({ name: 'sub' })
      const ids = new Map<string, string>()
      for (const name of ['sub-1', 'sub-2']) {
        const made = await s.admin.node.create.mutate({ name, role: 'gateway', enterprise: 'sub' })
        ids.set(name, made.id)
      }
      await s.edge('sub', 'sub-a', ['10.1.0.0/24', '10.2.0.0/24'])
      await s.edge('sub', 'sub-b', ['10.3.0.0/24'])
      const client = await s.bench.connect('sub-a')
      const other = await s.admin.node.show.query({ name: 'sub-b' })
      const named = (state: NodeState) => state.vpn?.subnets.map(({ gateways }) => gateways?.join() ?? 'all').join(' ')
      const prefix = '10.1.0.0/24'
      await s.admin.subnet.gateways.mutate({ node: 'sub-a', prefix, gateways: ['sub-2', 'sub-2'] })
      await stateWhere(client, state => named(state) === `${ids.get('sub-2')} all`)
      expect((await s.admin.node.show.query({ name: 'sub-b' })).revision).toBe(other.revision)
      expect((await s.admin.subnet.list.query({ node: 'sub-a' })).map(row => row.gateways)).toEqual([['sub-2'], null])
      await s.admin.gateway.remove.mutate({ name: 'sub-2', now: true })
      expect((await s.admin.subnet.list.query({ node: 'sub-a' })).map(row => row.gateways)).toEqual([[], null])
      await s.admin.subnet.gateways.mutate({ node: 'sub-a', prefix, gateways: null })
      await stateWhere(client, state => named(state) === 'all all')
      expect(await messageOf(s.admin.subnet.gateways.mutate({ node: 'sub-b', prefix, gateways: ['sub-1'] }))).toMatch(
        /node sub-b has no subnet 10.1.0.0\/24/,
      )
      expect(await messageOf(s.admin.subnet.gateways.mutate({ node: 'sub-a', prefix, gateways: ['sub-b'] }))).toMatch(
        /is an edge, not a gateway/,
      )
      await client.close()
    })
  })
}
