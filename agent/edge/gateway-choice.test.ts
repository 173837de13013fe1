import { describe, expect, test } from 'vitest'
import { choose, GatewayChoice, type Standing } from './gateway-choice.ts'

const candidates = (costs: Record<string, number>) =>
  Object.entries(costs).map(([gateway, cost]) => ({ gateway, cost }))

describe('one choice after another', () => {
  test.each<[string, Record<string, number>, string[], string[]]>([
    ['nothing to choose from', {}, [], []],
    ['the cheapest', { a: 100, b: 130 }, [], ['a']],
    ['all that cost the same share, best first', { a: 103, b: 100, c: 106 }, [], ['b', 'a']],
    ['19 % better moves nothing', { a: 119, b: 100 }, ['a'], ['a']],
    ['21 % better takes over', { a: 121, b: 100 }, ['a'], ['b']],
    ['10 % better neither takes over nor shares', { a: 110, b: 100 }, ['a'], ['a']],
    ['one that became the same shares', { a: 102, b: 100 }, ['a'], ['b', 'a']],
    ['who shares goes on while it is within a fifth', { a: 100, b: 119 }, ['a', 'b'], ['a', 'b']],
    ['who shares leaves when it is not', { a: 100, b: 121 }, ['a', 'b'], ['a']],
    ['one that is back is used when it is the same again', { a: 100, b: 106 }, ['a'], ['a']],
    ['the one in use is gone', { b: 500 }, ['a'], ['b']],
    ['a metric of nothing', { a: 0, b: 1 }, ['b'], ['a']],
  ])('%s', (_, costs, before, expected) => {
    expect(choose(candidates(costs), new Set(before))).toEqual(expected)
  })

  test('figures that waver by 8 % around each other never move a flow', () => {
    const seed = Date.now() % 1_000_000
    let state = seed
    const random = () => {
      state = (state * 1_103_515_245 + 12_345) % 2 ** 31
      return state / 2 ** 31
    }
    let before = new Set(choose(candidates({ a: 100, b: 110 }), new Set()))
    for (let turn = 0; turn < 1000; turn++) {
      const now = choose(candidates({ a: 100 * (0.96 + 0.08 * random()), b: 110 * (0.96 + 0.08 * random()) }), before)
      expect(now, `seed ${seed}, turn ${turn}`).toContain('a')
      // Once both share, both go on.
      expect(now.length, `seed ${seed}, turn ${turn}`).toBeGreaterThanOrEqual(before.size)
      before = new Set(now)
    }
  })
})

/** gw1, gw2 and gw3 of one metric, in no way different; `standing` is the test's to change. */
function setUp() {
  const fresh = (): Standing => ({ usable: true, drained: false, failing: false, metric: 100, measured: undefined })
  const standing: Record<string, Standing> = { gw1: fresh(), gw2: fresh(), gw3: fresh() }
  const set = (gateway: string, change: Partial<Standing>) => Object.assign(standing[gateway] ?? {}, change)
  return { set, choice: new GatewayChoice(gateway => standing[gateway]) }
}

describe('the choice of an edge', () => {
  test('is made of those that serve, and follows who is usable', () => {
    const { choice, set } = setUp()
    expect(choice.share(['gw2', 'gw1'])).toEqual(['gw1', 'gw2'])
    expect(choice.share(['gw3'])).toEqual(['gw3'])
    expect(choice.reconsider()).toBe(false)
    set('gw1', { usable: false })
    expect(choice.reconsider()).toBe(true)
    expect(choice.share(['gw1', 'gw2'])).toEqual(['gw2'])
    set('gw2', { usable: false })
    expect(choice.reconsider()).toBe(true)
    expect(choice.share(['gw1', 'gw2'])).toEqual([])
    expect(choice.share(['nobody'])).toEqual([])
  })

  test('leaves out what is drained while there is another', () => {
    const { choice, set } = setUp()
    set('gw1', { drained: true, metric: 1 })
    expect(choice.share(['gw1', 'gw2'])).toEqual(['gw2'])
    expect(choice.share(['gw1'])).toEqual(['gw1'])
    set('gw2', { usable: false })
    expect(choice.reconsider()).toBe(true)
    expect(choice.share(['gw1', 'gw2'])).toEqual(['gw1'])
  })

  test('leaves one whose paths all fail to the others, a drained one included, and alone goes on with it', () => {
    const { choice, set } = setUp()
    set('gw1', { failing: true, metric: 1 })
    expect(choice.share(['gw1', 'gw2', 'gw3'])).toEqual(['gw2', 'gw3'])
    expect(choice.why('gw1', ['gw1', 'gw2', 'gw3'], name => name)).toBe('its paths fail')
    set('gw2', { drained: true })
    choice.reconsider()
    expect(choice.share(['gw1', 'gw2'])).toEqual(['gw2'])
    expect(choice.share(['gw1'])).toEqual(['gw1'])
  })

  test('compares what was measured: one that was not waits, and one in use is not judged before it was', () => {
    const { choice, set } = setUp()
    set('gw1', { metric: 90 })
    expect(choice.share(['gw1', 'gw2'])).toEqual(['gw1'])
    set('gw2', { measured: 1 })
    expect(choice.reconsider()).toBe(false)
    set('gw1', { measured: 80 })
    expect(choice.reconsider()).toBe(true)
    expect(choice.share(['gw1', 'gw2'])).toEqual(['gw2'])
    // It comes back with a better metric, and is used once it shows that it is better.
    set('gw1', { metric: 1, measured: undefined })
    expect(choice.reconsider()).toBe(false)
    set('gw1', { measured: 10 })
    expect(choice.reconsider()).toBe(true)
    expect(choice.share(['gw1', 'gw2'])).toEqual(['gw1'])
  })

  test('forgets choices with a gateway that left the list, hysteresis and all', () => {
    const { choice, set } = setUp()
    set('gw2', { metric: 110 })
    set('gw1', { usable: false })
    expect(choice.share(['gw1', 'gw2'])).toEqual(['gw2'])
    set('gw1', { usable: true })
    expect(choice.reconsider()).toBe(false)
    choice.forget('gw1')
    expect(choice.share(['gw1', 'gw2'])).toEqual(['gw1'])
  })

  test('can be explained', () => {
    const { choice, set } = setUp()
    const all = ['gw1', 'gw2', 'gw3']
    const why = () => all.map(gateway => choice.why(gateway, all, name => name))
    set('gw3', { metric: 200 })
    expect(why()).toEqual(['shares with gw2', 'shares with gw1', 'not measured yet'])
    for (const gateway of all) set(gateway, { measured: 10 })
    set('gw1', { drained: true })
    choice.reconsider()
    expect(why()).toEqual(['drained', 'best', 'standby for gw2'])
    set('gw2', { usable: false })
    set('gw3', { usable: false })
    choice.reconsider()
    expect(why()).toEqual(['drained, but no other is there', undefined, undefined])
    expect(choice.cost('gw1')).toBe(110)
    expect(choice.cost('gw2')).toBeUndefined()
  })
})
