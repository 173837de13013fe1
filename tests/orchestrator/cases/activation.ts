import { describe, expect, test } from 'vitest'
import { formatActivationKey, parseActivationKey } from '../../../schema/activation-key.ts'
import { messageOf } from '../harness.ts'
import { grantOf, type Setup } from '../setup.ts'

export function activationCases(s: Setup): void {
  describe('activation', () => {
    test('gives an edge a grant that verifies offline, its gateways and its toggle', async () => {
      await s.admin.enterprise.create.mutate({ name: 'act' })
      const gateway = await s.admin.node.create.mutate({
        name: 'act-gw',
        role: 'gateway',
        endpoints: [{ address: '192.0.2.1', port: 2426 }],
      })
      const gatewayState = await s.bench.activate('act-gw', gateway.activationKey)
      const { state } = await s.edge('act', 'act-a', ['10.1.0.0/24', '2001:db8:1::/48'])
      const grant = grantOf(state)
      expect(grant).toMatchObject({
        nodeName: 'act-a',
        role: 'edge',
        enterpriseName: 'act',
        serial: 1,
        security: 'esp',
      })
      expect(grant.prefixes.toSorted()).toEqual(['10.1.0.0/24', '2001:db8:1::/48'])
      expect(grant.expires - grant.notBefore).toBe(86_400)
      expect(state.gateways).toMatchObject([
        { name: 'act-gw', endpoints: [{ address: '192.0.2.1', port: 2426 }], metric: 100 },
      ])
      expect(state.gateways[0]?.staticKey).toBe(Buffer.from(grantOf(gatewayState).staticKey).toString('base64'))
      expect(state.vpn).toMatchObject({ enterpriseName: 'act', enabled: false })
      expect(state.vpn?.subnets.every(subnet => !subnet.reachable)).toBe(true)
    })

    test('tells a gateway nothing of tenants', async () => {
      const made = await s.admin.node.create.mutate({ name: 'blind-gw', role: 'gateway' })
      const state = await s.bench.activate('blind-gw', made.activationKey)
      expect(state).toMatchObject({ role: 'gateway', gateways: [], vpn: null })
      expect(JSON.stringify(state)).not.toContain('act')
      expect(grantOf(state)).toMatchObject({
        enterprise: null,
        prefixes: [expect.stringMatching(/^100\.[0-9.]+\/18$/)],
      })
    })

    test('takes a key once', async () => {
      const made = await s.admin.node.create.mutate({ name: 'once', enterprise: 'act' })
      await s.bench.activate('once', made.activationKey)
      expect(await messageOf(s.bench.activate('twice', made.activationKey))).toMatch(
        /this activation key was used at .*; ask the operator/,
      )
    })

    test('of two machines with one key at the same moment takes one', async () => {
      const made = await s.admin.node.create.mutate({ name: 'race', enterprise: 'act' })
      const results = await Promise.allSettled(
        ['race-1', 'race-2'].map(name => s.bench.activate(name, made.activationKey)),
      )
      expect(results.map(result => result.status).toSorted()).toEqual(['fulfilled', 'rejected'])
    })

    test('refuses a wrong secret and an unknown key with the same words', async () => {
      const made = await s.admin.node.create.mutate({ name: 'wrong', enterprise: 'act' })
      const key = parseActivationKey(made.activationKey)
      if (!key) throw new Error('the orchestrator made a key that is none')
      const wrongSecret = await messageOf(
        s.bench.activate('x', formatActivationKey({ ...key, secret: new Uint8Array(20) })),
      )
      const unknown = await messageOf(s.bench.activate('x', formatActivationKey({ ...key, id: '0000000000000000' })))
      expect(wrongSecret).toMatch(/this activation key is not valid here/)
      expect(unknown).toBe(wrongSecret)
      await expect(s.bench.activate('wrong', made.activationKey)).resolves.toMatchObject({ name: 'wrong' })
    })

    test('does not show the secret to a server with another CA', async () => {
      const made = await s.admin.node.create.mutate({ name: 'phished', enterprise: 'act' })
      const key = parseActivationKey(made.activationKey)
      if (!key) throw new Error('the orchestrator made a key that is none')
      const elsewhere = formatActivationKey({ ...key, caFingerprint: new Uint8Array(32) })
      expect(await messageOf(s.bench.activate('phished', elsewhere))).toMatch(/not the orchestrator that made this key/)
      expect(await s.admin.node.show.query({ name: 'phished' })).toMatchObject({ status: 'created', openKeys: 1 })
    })

    test('refuses an expired key; a new one works, the old one then never', async () => {
      const made = await s.admin.node.create.mutate({ name: 'late', enterprise: 'act', keyLifetimeS: 3600 })
      s.bench.clockMs = 3_700_000
      const message = await messageOf(s.bench.activate('late', made.activationKey))
      s.bench.clockMs = 0
      expect(message).toMatch(/this activation key expired at/)
      const fresh = await s.admin.node.key.mutate({ name: 'late' })
      expect(await messageOf(s.bench.activate('late', made.activationKey))).toMatch(/not valid here/)
      await expect(s.bench.activate('late', fresh.activationKey)).resolves.toMatchObject({ name: 'late' })
    })
  })

  describe('roles', () => {
    test('a stranger may activate and nothing else, a node may not administer, an admin is no node', async () => {
      const { ca } = s.bench.adminFile
      const stranger = s.bench.dial({ ca }).trpc
      expect(await messageOf(stranger.admin.enterprise.list.query())).toBe('only an admin certificate may do this')
      expect(
        await messageOf(stranger.agent.event.mutate([{ time: 1, severity: 'info', code: 'x', message: 'x' }])),
      ).toBe('only a node certificate may do this')
      await s.admin.enterprise.create.mutate({ name: 'roles' })
      await s.edge('roles', 'roles-a', [])
      const { identity } = (await import('../../../agent/intent/identity-file.ts')).readNode(
        s.bench.stateDir('roles-a'),
      )
      const node = s.bench.dial({ ca, certificate: identity.certificate, key: identity.tlsKey }).trpc
      expect(await messageOf(node.admin.vpn.set.mutate({ enterprise: 'roles', enabled: true }))).toBe(
        'only an admin certificate may do this',
      )
      const report = { revision: 0, version: '', kernel: '', esp: false, peers: [] }
      expect(await messageOf(s.bench.dial(s.bench.adminFile).trpc.agent.report.mutate(report))).toBe(
        'only a node certificate may do this',
      )
    })

    test('a certificate of another CA is refused with a reason', async () => {
      const { Authority } = await import('../../../orchestrator/pki/authority.ts')
      const made = await Authority.create()
      const forged = await (await Authority.load(made.certificate, made.key)).issueAdmin('admin')
      const dialled = s.bench.dial({ ca: s.bench.adminFile.ca, certificate: forged.pem, key: forged.key })
      const { code, reason } = await dialled.closed
      expect(code).toBe(4401)
      expect(reason).toMatch(/certificate not accepted/)
    })
  })
}
