import fc from 'fast-check'
import { expect, test } from 'vitest'
import { parsePrefix } from '../../schema/address.ts'
import { ANY_PORT, MAX_EXPANDED_RULES, type PolicyIntent, type PolicyRule } from '../../schema/policy.ts'
import { ANYWHERE, expandRules } from './expand-policy.ts'

const zones = [
  { name: 'hosts', prefixes: ['10.1.0.0/16', '2001:db8:1::/48'] },
  { name: 'servers', prefixes: ['10.9.0.0/16', '10.8.0.0/16'] },
]
const rule = (change: Partial<PolicyRule>): PolicyRule => ({
  name: 'r',
  id: 1,
  source: [],
  destination: [],
  proto: 0,
  sourcePorts: ANY_PORT,
  destinationPorts: ANY_PORT,
  application: 0,
  direction: 'out',
  chain: 'c',
  shadow: false,
  existing: 'keep',
  ...change,
})
const pairs = (...rules: PolicyRule[]) =>
  expandRules({ zones, rules }).map(({ source, destination, reverse }) => [source, destination, reverse])

test('zones are replaced by their prefixes, and families do not mix', () => {
  expect(pairs(rule({ source: ['hosts'], destination: ['servers'] }))).toEqual([
    ['10.1.0.0/16', '10.9.0.0/16', false],
    ['10.1.0.0/16', '10.8.0.0/16', false],
  ])
  expect(pairs(rule({ source: ['hosts', '10.1.0.0/16'] }))).toEqual([
    ['10.1.0.0/16', ANYWHERE, false],
    ['2001:db8:1::/48', ANYWHERE, false],
  ])
  expect(pairs(rule({}))).toEqual([[ANYWHERE, ANYWHERE, false]])
})

test('in: from the end of the chain; both: also the other way round, ports and all', () => {
  const match = { source: ['10.1.0.0/16'], destination: ['10.9.0.0/16'], proto: 6 }
  expect(pairs(rule({ ...match, direction: 'in' }))).toEqual([['10.1.0.0/16', '10.9.0.0/16', true]])
  const both = rule({ ...match, direction: 'both', destinationPorts: [80, 80], existing: 'move', shadow: true })
  expect(expandRules({ zones, rules: [both] })).toMatchObject([
    { source: '10.1.0.0/16', destinationPorts: [80, 80], sourcePorts: ANY_PORT, reverse: false, move: true },
    { source: '10.9.0.0/16', destinationPorts: ANY_PORT, sourcePorts: [80, 80], reverse: true, shadow: true },
  ])
})

test('a rule that can match nothing is named, and so is the one that makes too many', () => {
  const lost = rule({ name: 'lost', source: ['10.0.0.0/8'], destination: ['2001:db8::/32'] })
  expect(() => pairs(rule({}), lost)).toThrow('rule lost can match nothing')
  const many = { name: 'many', prefixes: Array.from({ length: 250 }, (_, n) => `10.${n}.0.0/16`) }
  const wide = rule({ name: 'wide', source: ['many'], destination: ['many'] })
  const full = { zones: [many], rules: [rule({ source: ['many'] }), wide] }
  expect(() => expandRules(full)).toThrow(`with rule wide there are more than ${MAX_EXPANDED_RULES}`)
})

const v4 = fc.integer({ min: 0, max: 255 }).map(n => `10.${n}.0.0/16`)
const v6 = fc.integer({ min: 0, max: 255 }).map(n => `2001:db8:${n.toString(16)}::/48`)
const matches = fc.uniqueArray(fc.oneof(v4, v6), { maxLength: 6 })

test('whatever the lists, each pair that some packet can have comes once, in the order of the rules', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(matches, matches), { maxLength: 5 }), lists => {
      const rules = lists.map(([source, destination], index) =>
        rule({ name: `r${index}`, id: index + 1, source, destination }),
      )
      const family = (prefix: string) => (prefix === ANYWHERE ? 0 : (parsePrefix(prefix)?.family ?? 0))
      const expected = rules.map(({ id, source, destination }) =>
        (source.length > 0 ? source : [ANYWHERE]).flatMap(from =>
          (destination.length > 0 ? destination : [ANYWHERE])
            .filter(to => family(from) * family(to) === 0 || family(from) === family(to))
            .map(to => `${id} ${from} ${to}`),
        ),
      )
      const intent: Pick<PolicyIntent, 'zones' | 'rules'> = { zones: [], rules }
      if (expected.some(each => each.length === 0)) return void expect(() => expandRules(intent)).toThrow('nothing')
      expect(expandRules(intent).map(({ id, source, destination }) => `${id} ${source} ${destination}`)).toEqual(
        expected.flat(),
      )
    }),
  )
})
