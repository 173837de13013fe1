import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import type { NodeState } from '../../../schema/node-state.ts'
import { messageOf, startProxy, stateWhere } from '../harness.ts'
import { grantOf, type Setup } from '../setup.ts'

const EDGES = 100

export function stateCases(s: Setup): void {
  describe('toggle', () => {
    test(`reaches ${EDGES} subscribers, signs nothing, and leaves other enterprises alone`, {
      timeout: 120_000,
    }, async () => {
      await s.admin.enterprise.create.mutate({ name: 'many' })
      await s.admin.enterprise.create.mutate({ name: 'quiet' })
      await s.edge('quiet', 'quiet-a', ['10.0.0.0/8'])
      const quiet = await s.bench.connect('quiet-a')
      const clients = []
      for (let at = 0; at < EDGES; at++) {
        await s.edge('many', `many-${at}`, [`10.${at}.0.0/16`])
        clients.push(await s.bench.connect(`many-${at}`))
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
        expect(await s.admin.vpn.set.mutate({ enterprise: 'many', enabled })).toEqual({ changed: true })
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
        `${s.database}: toggle to ${EDGES} subscribers, median ${sorted[sorted.length >> 1]?.toFixed(1)} ms, last ${worst.toFixed(1)} ms`,
      )
      expect(worst).toBeLessThan(2000)
      for (const client of clients) await client.close()
    })

    test('twice the same is no change', async () => {
      expect(await s.admin.vpn.set.mutate({ enterprise: 'quiet', enabled: true })).toEqual({ changed: true })
      const { revision } = await s.admin.node.show.query({ name: 'quiet-a' })
      expect(await s.admin.vpn.set.mutate({ enterprise: 'quiet', enabled: true })).toEqual({ changed: false })
      expect((await s.admin.node.show.query({ name: 'quiet-a' })).revision).toBe(revision)
    })

    test('one subnet alone', async () => {
      await s.admin.enterprise.create.mutate({ name: 'part' })
      await s.edge('part', 'part-a', ['10.1.0.0/24', '10.2.0.0/24'])
      const client = await s.bench.connect('part-a')
      await s.admin.vpn.set.mutate({ enterprise: 'part', enabled: true })
      await s.admin.vpn.set.mutate({ enterprise: 'part', enabled: false, subnet: '10.2.0.0/24' })
      const state = await stateWhere(client, ({ vpn }) => vpn?.subnets.filter(subnet => subnet.reachable).length === 1)
      expect(state.vpn).toMatchObject({
        enabled: true,
        subnets: [
          { prefix: '10.1.0.0/24', reachable: true },
          { prefix: '10.2.0.0/24', reachable: false },
        ],
      })
      expect(
        await messageOf(s.admin.vpn.set.mutate({ enterprise: 'part', enabled: true, subnet: '10.3.0.0/24' })),
      ).toMatch(/enterprise part has no subnet 10.3.0.0\/24/)
    })
  })

  describe('connection', () => {
    test('after a cut the node gets the newest state once, and nothing when nothing changed', async () => {
      await s.admin.enterprise.create.mutate({ name: 'cut' })
      await s.edge('cut', 'cut-a', ['10.1.0.0/24'])
      const proxy = await startProxy(() => s.bench.orchestrator.port)
      const client = await s.bench.connect('cut-a', proxy.url)
      await delay(100)
      const seen: NodeState[] = []
      client.on('state', state => seen.push(state))

      const lost = new Promise(resolve => client.once('connected', resolve))
      proxy.cut()
      expect(await lost).toBe(false)
      for (const enabled of [true, false, true]) await s.admin.vpn.set.mutate({ enterprise: 'cut', enabled })
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
      await s.admin.enterprise.create.mutate({ name: 'tell' })
      await s.edge('tell', 'tell-a', [])
      const client = s.bench.intent('tell-a')
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
      const mine = () => s.admin.events.list.query({ object: 'node:tell-a', action: 'node.event.', limit: 1000 })
      while ((await mine()).events.length < 250) await delay(50)
      const { events } = await mine()
      expect(events.map(event => event.message)).toEqual(Array.from({ length: 250 }, (_, at) => `refused ${249 - at}`))
      expect(events[0]).toMatchObject({
        actor: 'node:tell-a',
        action: 'node.event.prefix-refused',
        severity: 'warning',
      })
      const { connected } = await s.admin.status.query()
      expect(connected.find(node => node.name === 'tell-a')).toMatchObject({ report: { kernel: '6.12', esp: true } })
      await client.close()
      while ((await s.admin.status.query()).connected.some(node => node.name === 'tell-a')) await delay(20)
    })
  })

  describe('time', () => {
    test('a restart keeps everything; nodes work on meanwhile and come back by themselves', {
      timeout: 60_000,
    }, async () => {
      await s.admin.enterprise.create.mutate({ name: 'late-shift' })
      await s.edge('late-shift', 'shift-a', ['10.1.0.0/24'])
      const client = await s.bench.connect('shift-a')
      const gone = new Promise(resolve => client.once('connected', resolve))
      const port = await s.bench.down()
      expect(await gone).toBe(false)
      // A reboot of the node while the orchestrator is away: it starts from its file.
      const rebooted = s.bench.intent('shift-a')
      expect(rebooted.state).toEqual(client.state)
      rebooted.start()
      await s.bench.up(port, { grantLifetimeS: 4 })
      // Polled: it may be back before a listener could be.
      while (!rebooted.connected) await delay(20)
      const again = s.bench.admin()
      await again.vpn.set.mutate({ enterprise: 'late-shift', enabled: true })
      for (const node of [client, rebooted]) await stateWhere(node, state => state.vpn?.enabled === true)
    })

    test('grants are renewed at half of their life', { timeout: 30_000 }, async () => {
      await s.edge('late-shift', 'shift-b', ['10.2.0.0/24'])
      const client = await s.bench.connect('shift-b')
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
}
