/**
 * What an orchestrator does, whatever database it stands on.
 *
 *   admin ── wss ── orchestrator ── wss ── nodes (the agent's own client, real sockets, real certificates)
 */
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { decodeSigned, verifyGrant, verifyRevocations } from '../../agent/mp/grant.ts'
import { formatActivationKey, parseActivationKey } from '../../schema/activation-key.ts'
import type { NodeState } from '../../schema/node-state.ts'
import { Bench, type BenchOptions, type Client, messageOf, startProxy, stateWhere } from './harness.ts'

const EDGES = 100

export function orchestratorSuite(database: string, options: () => Promise<BenchOptions>): void {
  describe(`orchestrator on ${database}`, () => {
    let bench: Bench
    let admin: Client['admin']
    beforeAll(async () => {
      bench = await Bench.start(await options())
      admin = bench.admin()
    })
    afterAll(() => bench?.close())

    /** An enterprise of its own for each test: they share one orchestrator. */
    const edge = async (enterprise: string, name: string, subnets: string[]) => {
      const made = await admin.node.create.mutate({ name, enterprise, subnets })
      return { ...made, state: await bench.activate(name, made.activationKey) }
    }
    const grantOf = (state: NodeState) => {
      const signed = decodeSigned(Buffer.from(state.grant, 'base64'))
      if (!signed.ok) throw new Error(signed.problem)
      const anchors = state.trust.anchors.map(text => new Uint8Array(Buffer.from(text, 'base64')))
      const result = verifyGrant(signed.value, { anchors, revocations: undefined }, { now: Date.now() / 1000 })
      if (!result.ok) throw new Error(result.message)
      return result.grant
    }
    const revokedIn = (state: NodeState) => {
      const signed = decodeSigned(Buffer.from(state.trust.revocations ?? '', 'base64'))
      if (!signed.ok) throw new Error(signed.problem)
      const anchors = state.trust.anchors.map(text => new Uint8Array(Buffer.from(text, 'base64')))
      const result = verifyRevocations(signed.value, anchors)
      if (!result.ok) throw new Error(result.message)
      return result.revocations.revoked
    }

    describe('activation', () => {
      test('gives an edge a grant that verifies offline, its gateways and its toggle', async () => {
        await admin.enterprise.create.mutate({ name: 'act' })
        const gateway = await admin.node.create.mutate({
          name: 'act-gw',
          role: 'gateway',
          endpoints: [{ address: '192.0.2.1', port: 2426 }],
        })
        const gatewayState = await bench.activate('act-gw', gateway.activationKey)
        const { state } = await edge('act', 'act-a', ['10.1.0.0/24', '2001:db8:1::/48'])
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
        const made = await admin.node.create.mutate({ name: 'blind-gw', role: 'gateway' })
        const state = await bench.activate('blind-gw', made.activationKey)
        expect(state).toMatchObject({ role: 'gateway', gateways: [], vpn: null })
        expect(JSON.stringify(state)).not.toContain('act')
        expect(grantOf(state)).toMatchObject({ enterprise: null, prefixes: [] })
      })

      test('takes a key once', async () => {
        const made = await admin.node.create.mutate({ name: 'once', enterprise: 'act' })
        await bench.activate('once', made.activationKey)
        expect(await messageOf(bench.activate('twice', made.activationKey))).toMatch(
          /this activation key was used at .*; ask the operator/,
        )
      })

      test('of two machines with one key at the same moment takes one', async () => {
        const made = await admin.node.create.mutate({ name: 'race', enterprise: 'act' })
        const results = await Promise.allSettled(
          ['race-1', 'race-2'].map(name => bench.activate(name, made.activationKey)),
        )
        expect(results.map(result => result.status).toSorted()).toEqual(['fulfilled', 'rejected'])
      })

      test('refuses a wrong secret and an unknown key with the same words', async () => {
        const made = await admin.node.create.mutate({ name: 'wrong', enterprise: 'act' })
        const key = parseActivationKey(made.activationKey)
        if (!key) throw new Error('the orchestrator made a key that is none')
        const wrongSecret = await messageOf(
          bench.activate('x', formatActivationKey({ ...key, secret: new Uint8Array(20) })),
        )
        const unknown = await messageOf(bench.activate('x', formatActivationKey({ ...key, id: '0000000000000000' })))
        expect(wrongSecret).toMatch(/this activation key is not valid here/)
        expect(unknown).toBe(wrongSecret)
        await expect(bench.activate('wrong', made.activationKey)).resolves.toMatchObject({ name: 'wrong' })
      })

      test('does not show the secret to a server with another CA', async () => {
        const made = await admin.node.create.mutate({ name: 'phished', enterprise: 'act' })
        const key = parseActivationKey(made.activationKey)
        if (!key) throw new Error('the orchestrator made a key that is none')
        const elsewhere = formatActivationKey({ ...key, caFingerprint: new Uint8Array(32) })
        expect(await messageOf(bench.activate('phished', elsewhere))).toMatch(/not the orchestrator that made this key/)
        expect(await admin.node.show.query({ name: 'phished' })).toMatchObject({ status: 'created', openKeys: 1 })
      })

      test('refuses an expired key; a new one works, the old one then never', async () => {
        const made = await admin.node.create.mutate({ name: 'late', enterprise: 'act', keyLifetimeS: 3600 })
        bench.clockMs = 3_700_000
        const message = await messageOf(bench.activate('late', made.activationKey))
        bench.clockMs = 0
        expect(message).toMatch(/this activation key expired at/)
        const fresh = await admin.node.key.mutate({ name: 'late' })
        expect(await messageOf(bench.activate('late', made.activationKey))).toMatch(/not valid here/)
        await expect(bench.activate('late', fresh.activationKey)).resolves.toMatchObject({ name: 'late' })
      })
    })

    describe('roles', () => {
      test('a stranger may activate and nothing else, a node may not administer, an admin is no node', async () => {
        const { ca } = bench.adminFile
        const stranger = bench.dial({ ca }).trpc
        expect(await messageOf(stranger.admin.enterprise.list.query())).toBe('only an admin certificate may do this')
        expect(
          await messageOf(stranger.agent.event.mutate([{ time: 1, severity: 'info', code: 'x', message: 'x' }])),
        ).toBe('only a node certificate may do this')
        await admin.enterprise.create.mutate({ name: 'roles' })
        await edge('roles', 'roles-a', [])
        const { identity } = (await import('../../agent/intent/identity-file.ts')).readNode(bench.stateDir('roles-a'))
        const node = bench.dial({ ca, certificate: identity.certificate, key: identity.tlsKey }).trpc
        expect(await messageOf(node.admin.vpn.set.mutate({ enterprise: 'roles', enabled: true }))).toBe(
          'only an admin certificate may do this',
        )
        const report = { revision: 0, version: '', kernel: '', esp: false, peers: [] }
        expect(await messageOf(bench.dial(bench.adminFile).trpc.agent.report.mutate(report))).toBe(
          'only a node certificate may do this',
        )
      })

      test('a certificate of another CA is refused with a reason', async () => {
        const { Authority } = await import('../../orchestrator/pki/authority.ts')
        const made = await Authority.create()
        const forged = await (await Authority.load(made.certificate, made.key)).issueAdmin('admin')
        const dialled = bench.dial({ ca: bench.adminFile.ca, certificate: forged.pem, key: forged.key })
        const { code, reason } = await dialled.closed
        expect(code).toBe(4401)
        expect(reason).toMatch(/certificate not accepted/)
      })
    })

    describe('toggle', () => {
      test(`reaches ${EDGES} subscribers, signs nothing, and leaves other enterprises alone`, {
        timeout: 120_000,
      }, async () => {
        await admin.enterprise.create.mutate({ name: 'many' })
        await admin.enterprise.create.mutate({ name: 'quiet' })
        await edge('quiet', 'quiet-a', ['10.0.0.0/8'])
        const quiet = await bench.connect('quiet-a')
        const clients = []
        for (let at = 0; at < EDGES; at++) {
          await edge('many', `many-${at}`, [`10.${at}.0.0/16`])
          clients.push(await bench.connect(`many-${at}`))
        }
        await delay(200)
        const quietBefore = quiet.state
        const latencies: number[] = []
        for (const enabled of [true, false, true, false, true]) {
          const before = clients.map(client => client.state)
          const start = performance.now()
          const arrivals = clients.map(async client => {
            const state = await stateWhere(client, candidate => candidate.vpn?.enabled === enabled)
            latencies.push(performance.now() - start)
            return state
          })
          expect(await admin.vpn.set.mutate({ enterprise: 'many', enabled })).toEqual({ changed: true })
          const after = await Promise.all(arrivals)
          after.forEach((state, index) => {
            expect(state.revision).toBe((before[index]?.revision ?? 0) + 1)
            expect(state.grant).toBe(before[index]?.grant)
            expect(state.vpn?.subnets).toEqual([{ prefix: `10.${index}.0.0/16`, reachable: enabled }])
          })
        }
        expect(quiet.state).toBe(quietBefore)
        const sorted = latencies.toSorted((a, b) => a - b)
        const worst = sorted.at(-1) ?? Number.POSITIVE_INFINITY
        console.log(
          `${database}: toggle to ${EDGES} subscribers, median ${sorted[sorted.length >> 1]?.toFixed(1)} ms, last ${worst.toFixed(1)} ms`,
        )
        expect(worst).toBeLessThan(2000)
        for (const client of clients) await client.close()
      })

      test('twice the same is no change', async () => {
        expect(await admin.vpn.set.mutate({ enterprise: 'quiet', enabled: true })).toEqual({ changed: true })
        const { revision } = await admin.node.show.query({ name: 'quiet-a' })
        expect(await admin.vpn.set.mutate({ enterprise: 'quiet', enabled: true })).toEqual({ changed: false })
        expect((await admin.node.show.query({ name: 'quiet-a' })).revision).toBe(revision)
      })

      test('one subnet alone', async () => {
        await admin.enterprise.create.mutate({ name: 'part' })
        await edge('part', 'part-a', ['10.1.0.0/24', '10.2.0.0/24'])
        const client = await bench.connect('part-a')
        await admin.vpn.set.mutate({ enterprise: 'part', enabled: true })
        await admin.vpn.set.mutate({ enterprise: 'part', enabled: false, subnet: '10.2.0.0/24' })
        const state = await stateWhere(
          client,
          ({ vpn }) => vpn?.subnets.filter(subnet => subnet.reachable).length === 1,
        )
        expect(state.vpn).toMatchObject({
          enabled: true,
          subnets: [
            { prefix: '10.1.0.0/24', reachable: true },
            { prefix: '10.2.0.0/24', reachable: false },
          ],
        })
        expect(
          await messageOf(admin.vpn.set.mutate({ enterprise: 'part', enabled: true, subnet: '10.3.0.0/24' })),
        ).toMatch(/enterprise part has no subnet 10.3.0.0\/24/)
      })
    })

    describe('connection', () => {
      test('after a cut the node gets the newest state once, and nothing when nothing changed', async () => {
        await admin.enterprise.create.mutate({ name: 'cut' })
        await edge('cut', 'cut-a', ['10.1.0.0/24'])
        const proxy = await startProxy(() => bench.orchestrator.port)
        const client = await bench.connect('cut-a', proxy.url)
        await delay(100)
        const seen: NodeState[] = []
        client.on('state', state => seen.push(state))

        const lost = new Promise(resolve => client.once('connected', resolve))
        proxy.cut()
        expect(await lost).toBe(false)
        for (const enabled of [true, false, true]) await admin.vpn.set.mutate({ enterprise: 'cut', enabled })
        proxy.mend()
        await stateWhere(client, state => state.vpn?.enabled === true)
        expect(seen.map(state => state.vpn?.enabled)).toEqual([true])
        expect(client.connected).toBe(true)

        proxy.cut()
        await new Promise(resolve => client.once('connected', resolve))
        proxy.mend()
        await new Promise(resolve => client.once('connected', resolve))
        await delay(300)
        expect(seen).toHaveLength(1)
        await client.close()
        proxy.close()
      })

      test('reports and events arrive, also those from before the connection', async () => {
        await admin.enterprise.create.mutate({ name: 'tell' })
        await edge('tell', 'tell-a', [])
        const client = bench.intent('tell-a')
        client.report({ revision: 1, version: '0.1.0', kernel: '6.12', esp: true, peers: [] })
        for (let at = 0; at < 250; at++) {
          client.event({
            time: at,
            severity: 'warning',
            code: 'prefix-refused',
            message: `refused ${at}`,
            detail: { at },
          })
        }
        client.start()
        const mine = () => admin.events.list.query({ object: 'node:tell-a', action: 'node.event.', limit: 1000 })
        while ((await mine()).events.length < 250) await delay(50)
        const { events } = await mine()
        expect(events.map(event => event.message)).toEqual(
          Array.from({ length: 250 }, (_, at) => `refused ${249 - at}`),
        )
        expect(events[0]).toMatchObject({
          actor: 'node:tell-a',
          action: 'node.event.prefix-refused',
          severity: 'warning',
        })
        const { connected } = await admin.status.query()
        expect(connected.find(node => node.name === 'tell-a')).toMatchObject({ report: { kernel: '6.12', esp: true } })
        await client.close()
        while ((await admin.status.query()).connected.some(node => node.name === 'tell-a')) await delay(20)
      })
    })

    describe('revocation', () => {
      test('closes the connection, reaches every node signed, and lets a new key start over', async () => {
        await admin.enterprise.create.mutate({ name: 'rev' })
        const bad = await edge('rev', 'rev-bad', ['10.1.0.0/24'])
        await edge('rev', 'rev-good', ['10.2.0.0/24'])
        const good = await bench.connect('rev-good')
        const { identity } = (await import('../../agent/intent/identity-file.ts')).readNode(bench.stateDir('rev-bad'))
        const tls = { ca: identity.ca, certificate: identity.certificate, key: identity.tlsKey }
        const connection = bench.dial(tls)
        await connection.trpc.agent.report.mutate({ revision: 0, version: '', kernel: '', esp: false, peers: [] })

        expect(await admin.node.revoke.mutate({ name: 'rev-bad' })).toEqual({ revokedSerial: 1 })
        expect(await connection.closed).toMatchObject({
          code: 4403,
          reason: expect.stringMatching(/^node rev-bad was revoked/),
        })
        const state = await stateWhere(good, candidate => candidate.trust.revocations !== null)
        expect(revokedIn(state)).toContainEqual({ node: bad.id, upTo: 1 })
        expect((await bench.dial(tls).closed).reason).toMatch(/^this node was revoked/)
        expect(await messageOf(admin.node.revoke.mutate({ name: 'rev-bad' }))).toBe('node rev-bad is revoked already')

        const again = await bench.activate('rev-bad', (await admin.node.key.mutate({ name: 'rev-bad' })).activationKey)
        expect(grantOf(again).serial).toBe(2)
        expect(revokedIn(again)).toContainEqual({ node: bad.id, upTo: 1 })
        await good.close()
      })

      test("a second machine in a node's place ends the first one's grants", async () => {
        await admin.enterprise.create.mutate({ name: 'swap' })
        const first = await edge('swap', 'swap-a', [])
        const second = await bench.activate(
          'swap-a-new',
          (await admin.node.key.mutate({ name: 'swap-a' })).activationKey,
        )
        expect(revokedIn(second)).toContainEqual({ node: first.id, upTo: 1 })
        expect(grantOf(second).serial).toBe(2)
      })

      test('a deleted node is forgotten and its grants stay refused', async () => {
        await admin.enterprise.create.mutate({ name: 'gone' })
        const deleted = await edge('gone', 'gone-a', ['10.1.0.0/24'])
        await admin.node.delete.mutate({ name: 'gone-a' })
        expect(await messageOf(admin.node.show.query({ name: 'gone-a' }))).toMatch(/there is no node gone-a/)
        expect(await admin.subnet.list.query({ enterprise: 'gone' })).toEqual([])
        const next = await edge('gone', 'gone-b', ['10.1.0.0/24'])
        expect(revokedIn(next.state)).toContainEqual({ node: deleted.id, upTo: 1 })
        await admin.node.delete.mutate({ name: 'gone-b' })
        await admin.enterprise.delete.mutate({ name: 'gone' })
        expect((await admin.enterprise.list.query()).map(row => row.name)).not.toContain('gone')
      })
    })

    describe('subnets', () => {
      test('an overlap within an enterprise is refused with both owners named, in another enterprise it is none', async () => {
        await admin.enterprise.create.mutate({ name: 'one' })
        await admin.enterprise.create.mutate({ name: 'two' })
        await admin.node.create.mutate({ name: 'one-a', enterprise: 'one', subnets: ['10.1.0.0/16', '2001:db8::/32'] })
        await admin.node.create.mutate({ name: 'one-b', enterprise: 'one' })
        await admin.node.create.mutate({ name: 'two-a', enterprise: 'two', subnets: ['10.1.0.0/16'] })
        for (const [prefix, held] of [
          ['10.1.2.0/24', '10.1.0.0/16'],
          ['10.0.0.0/8', '10.1.0.0/16'],
          ['10.1.0.0/16', '10.1.0.0/16'],
          ['2001:db8:7::/48', '2001:db8::/32'],
        ] as const) {
          expect(await messageOf(admin.subnet.add.mutate({ node: 'one-b', prefix }))).toBe(
            `${prefix} of one-b overlaps ${held} of one-a in enterprise one; remove one of them first`,
          )
        }
        // Nothing of a refused node stays.
        const refused = admin.node.create.mutate({
          name: 'one-c',
          enterprise: 'one',
          subnets: ['10.9.0.0/16', '10.1.0.0/24'],
        })
        expect(await messageOf(refused)).toMatch(/10.1.0.0\/24 of one-c overlaps 10.1.0.0\/16 of one-a/)
        expect(await messageOf(admin.node.show.query({ name: 'one-c' }))).toMatch(/there is no node one-c/)
      })

      test('two admins who add overlapping prefixes at once: one gets it, the other hears from whom', async () => {
        await admin.enterprise.create.mutate({ name: 'race' })
        await admin.node.create.mutate({ name: 'race-a', enterprise: 'race' })
        await admin.node.create.mutate({ name: 'race-b', enterprise: 'race' })
        const other = bench.admin()
        for (let at = 0; at < 10; at++) {
          const results = await Promise.allSettled([
            admin.subnet.add.mutate({ node: 'race-a', prefix: `10.${at}.0.0/16` }),
            other.subnet.add.mutate({ node: 'race-b', prefix: `10.${at}.128.0/17` }),
          ])
          const lost = results.flatMap(result => (result.status === 'rejected' ? [String(result.reason.message)] : []))
          expect(lost).toHaveLength(1)
          expect(lost[0]).toMatch(/of race-[ab] overlaps .* of race-[ab] in enterprise race/)
        }
        expect(await admin.subnet.list.query({ enterprise: 'race' })).toHaveLength(10)
      })

      test('adding and removing one gives the owner a new grant, and only the owner', async () => {
        await admin.enterprise.create.mutate({ name: 'own' })
        await edge('own', 'own-a', ['10.1.0.0/24'])
        await edge('own', 'own-b', ['10.2.0.0/24'])
        const client = await bench.connect('own-a')
        const other = await admin.node.show.query({ name: 'own-b' })
        await admin.subnet.add.mutate({ node: 'own-a', prefix: '10.3.0.0/24' })
        const grown = await stateWhere(client, state => state.vpn?.subnets.length === 2)
        expect(grantOf(grown)).toMatchObject({ serial: 2, prefixes: ['10.1.0.0/24', '10.3.0.0/24'] })
        await admin.subnet.remove.mutate({ node: 'own-a', prefix: '10.1.0.0/24' })
        const shrunk = await stateWhere(client, state => state.vpn?.subnets.length === 1)
        expect(grantOf(shrunk)).toMatchObject({ serial: 3, prefixes: ['10.3.0.0/24'] })
        expect((await admin.node.show.query({ name: 'own-b' })).revision).toBe(other.revision)
        await client.close()
      })
    })

    describe('gateways', () => {
      test('edges follow endpoints and assignments; a revoked gateway leaves their list', async () => {
        await admin.enterprise.create.mutate({ name: 'gws' })
        for (const [name, address] of [
          ['gws-1', '198.51.100.1'],
          ['gws-2', '198.51.100.2'],
        ] as const) {
          const made = await admin.node.create.mutate({ name, role: 'gateway', endpoints: [{ address, port: 2426 }] })
          await bench.activate(name, made.activationKey)
        }
        await edge('gws', 'gws-a', [])
        const client = await bench.connect('gws-a')
        const named = (state: NodeState) => state.gateways.map(gateway => gateway.name)
        expect(named(client.state)).toEqual(expect.arrayContaining(['gws-1', 'gws-2']))
        await admin.gateway.assign.mutate({ enterprise: 'gws', gateway: 'gws-1', metric: 20 })
        await stateWhere(client, state => named(state).join() === 'gws-1')
        await admin.gateway.assign.mutate({ enterprise: 'gws', gateway: 'gws-2', metric: 10 })
        await stateWhere(client, state => named(state).join() === 'gws-2,gws-1')
        await admin.gateway.endpoints.mutate({ name: 'gws-1', endpoints: [{ address: '2001:db8::1', port: 9000 }] })
        await stateWhere(client, state => state.gateways[1]?.endpoints[0]?.address === '2001:db8::1')
        await admin.node.revoke.mutate({ name: 'gws-2' })
        await stateWhere(client, state => named(state).join() === 'gws-1')
        await client.close()
      })
    })

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
        expect(await messageOf(call(admin))).toMatch(message)
      })

      test('a node id that is taken', async () => {
        const { id } = await admin.node.show.query({ name: 'act-a' })
        expect(await messageOf(admin.node.create.mutate({ name: 'double', id, enterprise: 'act' }))).toBe(
          'a node with this id exists already',
        )
      })
    })

    describe('events', () => {
      test('tell who did what, in pages', async () => {
        await admin.enterprise.create.mutate({ name: 'audit' })
        for (let at = 0; at < 5; at++) await admin.vpn.set.mutate({ enterprise: 'audit', enabled: at % 2 === 0 })
        const first = await admin.events.list.query({ enterprise: 'audit', action: 'vpn.', limit: 2 })
        expect(first.events.map(event => [event.actor, event.action, event.object])).toEqual([
          ['admin:admin', 'vpn.on', 'enterprise:audit'],
          ['admin:admin', 'vpn.off', 'enterprise:audit'],
        ])
        const rest = await admin.events.list.query({
          enterprise: 'audit',
          action: 'vpn.',
          limit: 10,
          before: first.next ?? 0,
        })
        expect(rest.events).toHaveLength(3)
        expect(rest.next).toBeNull()
        expect((await admin.events.list.query({ action: 'vpn%' })).events).toEqual([])
      })
    })

    describe('time', () => {
      test('a restart keeps everything; nodes work on meanwhile and come back by themselves', {
        timeout: 60_000,
      }, async () => {
        await admin.enterprise.create.mutate({ name: 'late-shift' })
        await edge('late-shift', 'shift-a', ['10.1.0.0/24'])
        const client = await bench.connect('shift-a')
        const gone = new Promise(resolve => client.once('connected', resolve))
        const port = await bench.down()
        expect(await gone).toBe(false)
        // A reboot of the node while the orchestrator is away: it starts from its file.
        const rebooted = bench.intent('shift-a')
        expect(rebooted.state).toEqual(client.state)
        rebooted.start()
        await bench.up(port, { grantLifetimeS: 4 })
        await new Promise(resolve => rebooted.once('connected', resolve))
        const again = bench.admin()
        await again.vpn.set.mutate({ enterprise: 'late-shift', enabled: true })
        for (const node of [client, rebooted]) await stateWhere(node, state => state.vpn?.enabled === true)
      })

      test('grants are renewed at half of their life', { timeout: 30_000 }, async () => {
        await edge('late-shift', 'shift-b', ['10.2.0.0/24'])
        const client = await bench.connect('shift-b')
        const before = grantOf(client.state)
        const start = Date.now()
        const state = await stateWhere(client, candidate => grantOf(candidate).serial > before.serial)
        const after = grantOf(state)
        expect(after.expires).toBeGreaterThan(before.expires)
        expect(after.prefixes).toEqual(before.prefixes)
        // Long before the old one ends.
        expect(Date.now() - start).toBeLessThan(4000)
      })
    })
  })
}
