import { describe, expect, test } from 'vitest'
import { type Client, messageOf } from '../harness.ts'
import type { Setup } from '../setup.ts'

export function inputCases(s: Setup): void {
  describe('wrong input', () => {
    test.each([
      [
        'a name',
        (api: Client['admin']) => api.enterprise.create.mutate({ name: 'No Good' }),
        'name: must be 1 to 63 of a-z, 0-9 and "-", not starting or ending with "-"',
      ],
      [
        'host bits',
        (api: Client['admin']) =>
          api.node.create.mutate({ name: 'x', enterprise: 'act', subnets: ['10.0.0.0/8', '10.1.0.1/24'] }),
        'subnets.1: must be a prefix like 10.1.0.0/24 or 2001:db8:1::/48 with zero host bits',
      ],
      [
        'an address',
        (api: Client['admin']) =>
          api.gateway.endpoints.mutate({ name: 'act-gw', endpoints: [{ address: 'gw.example', port: 1 }] }),
        'endpoints.0.address: must be an IPv4 or IPv6 address',
      ],
      [
        'two fields',
        (api: Client['admin']) => api.subnet.add.mutate({ node: '-', prefix: 'x' }),
        /^node: must be .*; prefix: must be /,
      ],
      [
        'an unknown enterprise',
        (api: Client['admin']) => api.node.create.mutate({ name: 'x', enterprise: 'nowhere' }),
        "there is no enterprise nowhere; 'branchline enterprise list' shows them",
      ],
      [
        'an edge without enterprise',
        (api: Client['admin']) => api.node.create.mutate({ name: 'x' }),
        'edge x needs an enterprise',
      ],
      [
        'subnets of a gateway',
        (api: Client['admin']) => api.node.create.mutate({ name: 'x', role: 'gateway', subnets: ['10.0.0.0/8'] }),
        'gateway x cannot have subnets: they belong to edges',
      ],
      [
        'endpoints of an edge',
        (api: Client['admin']) =>
          api.node.create.mutate({ name: 'x', enterprise: 'act', endpoints: [{ address: '192.0.2.1', port: 1 }] }),
        'edge x cannot have endpoints: edges dial, gateways are dialled',
      ],
      [
        'a name that is taken',
        (api: Client['admin']) => api.enterprise.create.mutate({ name: 'act' }),
        'an enterprise with this name exists already; choose another name',
      ],
      [
        'a node name that is taken',
        (api: Client['admin']) => api.node.create.mutate({ name: 'act-a', enterprise: 'act' }),
        'a node with this name exists already; choose another name',
      ],
      [
        'an endpoint that is taken',
        (api: Client['admin']) =>
          api.node.create.mutate({ name: 'x', role: 'gateway', endpoints: [{ address: '192.0.2.1', port: 2426 }] }),
        'another gateway has this endpoint already',
      ],
      [
        'an enterprise with nodes',
        (api: Client['admin']) => api.enterprise.delete.mutate({ name: 'act' }),
        /^enterprise act still has \d+ nodes/,
      ],
    ])('%s', async (_what, call, message) => {
      expect(await messageOf(call(s.admin))).toMatch(message)
    })

    test('a node id that is taken', async () => {
      const { id } = await s.admin.node.show.query({ name: 'act-a' })
      expect(await messageOf(s.admin.node.create.mutate({ name: 'double', id, enterprise: 'act' }))).toBe(
        'a node with this id exists already',
      )
    })
  })

  describe('events', () => {
    test('tell who did what, in pages', async () => {
      await s.admin.enterprise.create.mutate({ name: 'audit' })
      for (let at = 0; at < 5; at++) await s.admin.vpn.set.mutate({ enterprise: 'audit', enabled: at % 2 === 0 })
      const first = await s.admin.events.list.query({ enterprise: 'audit', action: 'vpn.', limit: 2 })
      expect(first.events.map(event => [event.actor, event.action, event.object])).toEqual([
        ['admin:admin', 'vpn.on', 'enterprise:audit'],
        ['admin:admin', 'vpn.off', 'enterprise:audit'],
      ])
      const rest = await s.admin.events.list.query({
        enterprise: 'audit',
        action: 'vpn.',
        limit: 10,
        before: first.next ?? 0,
      })
      expect(rest.events).toHaveLength(3)
      expect(rest.next).toBeNull()
      expect((await s.admin.events.list.query({ action: 'vpn%' })).events).toEqual([])
    })
  })
}
