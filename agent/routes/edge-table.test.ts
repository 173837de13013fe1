import { describe, expect, test } from 'vitest'
import type { RouteEntry } from '../../schema/route-messages.ts'
import { EdgeTable } from './edge-table.ts'

const route = (prefix: string, reachable = true, change: Partial<RouteEntry> = {}): RouteEntry => ({
  prefix,
  reachable,
  security: 'esp',
  owner: 'ffffffff-0000-4000-8000-000000000001',
  ownerName: 'branch-b',
  ...change,
})

/** Two gateways, gw1 preferred; `metrics` decides who is usable, and who is equal. */
function setUp(metrics: Record<string, number | undefined> = { gw1: 1, gw2: 2 }) {
  const table = new EdgeTable(gateways => {
    const usable = gateways.filter(gateway => metrics[gateway] !== undefined)
    const best = Math.min(...usable.map(gateway => metrics[gateway] ?? 0))
    return usable.filter(gateway => metrics[gateway] === best)
  })
  return { metrics, table }
}

describe('routes that an edge learned', () => {
  test('the preferred usable gateway wins, and the other takes over when it is silent', () => {
    const { table, metrics } = setUp()
    table.learn('gw1', [route('10.2.0.0/24')], true)
    table.learn('gw2', [route('10.2.0.0/24')], true)
    expect(table.best('10.2.0.0/24')).toMatchObject({ kind: 'via', routes: [{ gateway: 'gw1' }] })
    metrics.gw1 = undefined
    expect(table.best('10.2.0.0/24')).toMatchObject({ kind: 'via', routes: [{ gateway: 'gw2' }] })
    metrics.gw2 = undefined
    expect(table.best('10.2.0.0/24')).toMatchObject({ kind: 'unreachable' })
  })

  test('a route that one gateway calls unreachable is used through the one that reaches it', () => {
    const { table } = setUp()
    table.learn('gw1', [route('10.2.0.0/24', false)], true)
    expect(table.best('10.2.0.0/24')).toMatchObject({ kind: 'unreachable' })
    table.learn('gw2', [route('10.2.0.0/24')], true)
    expect(table.best('10.2.0.0/24')).toMatchObject({ kind: 'via', routes: [{ gateway: 'gw2' }] })
  })

  test('gateways that are equally good share, as far as they tell the same', () => {
    const { table } = setUp({ gw1: 1, gw2: 1, gw3: 1 })
    const gatewaysOf = () => {
      const decision = table.best('10.2.0.0/24')
      return decision?.kind === 'via' ? decision.routes.map(({ gateway }) => gateway) : decision?.kind
    }
    for (const gateway of ['gw1', 'gw2', 'gw3']) table.learn(gateway, [route('10.2.0.0/24')], true)
    expect(gatewaysOf()).toEqual(['gw1', 'gw2', 'gw3'])
    table.learn('gw2', [route('10.2.0.0/24', false)], true)
    expect(gatewaysOf()).toEqual(['gw1', 'gw3'])
    table.learn('gw2', [route('10.2.0.0/24', true, { owner: 'ffffffff-0000-4000-8000-000000000002' })], true)
    expect(gatewaysOf()).toEqual(['gw1', 'gw3'])
  })

  test('a prefix that one gateway calls secure and another clear goes out secure alone', () => {
    const { table } = setUp({ gw1: 1, gw2: 1 })
    table.learn('gw1', [route('10.2.0.0/24', true, { security: 'clear' })], true)
    table.learn('gw2', [route('10.2.0.0/24')], true)
    expect(table.best('10.2.0.0/24')).toMatchObject({ kind: 'via', routes: [{ gateway: 'gw2', security: 'esp' }] })
  })

  test('a full list replaces what the gateway told before, and names all touched prefixes', () => {
    const { table } = setUp()
    table.learn('gw1', [route('10.2.0.0/24'), route('10.3.0.0/24')], true)
    expect(table.learn('gw1', [route('10.3.0.0/24')], true).toSorted()).toEqual(['10.2.0.0/24', '10.3.0.0/24'])
    expect(table.best('10.2.0.0/24')).toBeUndefined()
  })

  test('stale routes are used until they are swept', () => {
    const { table } = setUp()
    table.learn('gw1', [route('10.2.0.0/24'), route('10.3.0.0/24')], true)
    table.markStale('gw1')
    expect(table.best('10.2.0.0/24')).toMatchObject({ kind: 'via' })
    table.learn('gw1', [route('10.3.0.0/24')], false)
    expect(table.sweepStale('gw1')).toEqual(['10.2.0.0/24'])
    expect([...table.prefixes()]).toEqual(['10.3.0.0/24'])
  })
})
