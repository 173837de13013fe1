/** Service chains in the reconciler: made from the instance up to the policy, taken apart the other way, known again after a restart. */
import { expect, test } from 'vitest'
import { adapterCodec, chainCodec, nexthopKind, policyCodec, policyRuleCodec, poolCodec } from '../../schema/abi.gen.ts'
import { zero } from '../../schema/codec.ts'
import { fakeMaps } from '../kernel/fake/dataplane.ts'
import { observeChains } from './observe-chains.ts'
import { plan } from './plan.ts'
import { affectsRoutes, keyOf, type Resource } from './resource.ts'
import { tables } from './tables.ts'

const outer = { remote: new Uint8Array(16).fill(1), local: new Uint8Array(16).fill(2), endpoint: 3n }

/** In the order in which they have to be made. */
const chain: Resource[] = [
  { kind: 'instance', index: 4 },
  { kind: 'adapter', index: 7, value: { ...zero(adapterCodec), kind: 2, instance: 4, nexthopInside: 20 } },
  { kind: 'nexthop', index: 20, value: { kind: nexthopKind.NH_ADAPTER, flags: 0, reserved: 0, target: 7 } },
  { kind: 'pool-line', index: 1, adapters: [7, 0, 7] },
  { kind: 'pool', index: 3, value: { ...zero(poolCodec), slots: 3, firstLine: 1 } },
  { kind: 'chain', id: 9, value: { ...zero(chainCodec), vrf: 1, hops: 1 } },
  { kind: 'policy-rule', index: 40, value: { ...zero(policyRuleCodec), chain: 9 } },
  { kind: 'service-policy', vrf: 1, value: { ...zero(policyCodec), first: 40, rules: 1, version: 2 } },
]
const ways: Resource[] = [
  { kind: 'adapter-port', ifindex: 12, value: 7 },
  { kind: 'adapter-outer', outer, adapter: 7 },
]

const order = (stages: ReturnType<typeof plan>) => stages.flat().map(({ resource }) => keyOf(resource))

test('a policy comes after all that it leads to, and goes first', () => {
  const keys = chain.map(keyOf)
  expect(order(plan([...chain].reverse().map(desired => ({ desired, observed: undefined }))))).toEqual(keys)
  expect(order(plan(chain.map(observed => ({ desired: undefined, observed }))))).toEqual(keys.toReversed())
})

test('devices and outer addresses lead to an adapter that is there, and its next hops too', () => {
  const keys = order(plan([...ways, ...chain].map(desired => ({ desired, observed: undefined }))))
  for (const way of ways)
    for (const before of ['adapter 7', 'nexthop 20'])
      expect(keys.indexOf(keyOf(way))).toBeGreaterThan(keys.indexOf(before))
})

test('a new agent finds all of it in the maps, and removes all of it', () => {
  const maps = fakeMaps()
  const all = [...chain.filter(({ kind }) => kind !== 'nexthop'), ...ways]
  const sorted = (resources: Resource[]) => resources.toSorted((a, b) => keyOf(a).localeCompare(keyOf(b)))
  for (const resource of all) tables[resource.kind]?.write(maps, [resource])
  expect(sorted(observeChains(maps.chain))).toEqual(sorted(all))
  for (const resource of all) tables[resource.kind]?.remove(maps, [resource])
  expect(observeChains(maps.chain)).toEqual([])
})

test('only what moves connections makes decisions stale', () => {
  const policy = (change: object): Resource => ({
    kind: 'service-policy',
    vrf: 1,
    value: { ...zero(policyCodec), version: 3, oldest: 2, ...change },
  })
  expect(affectsRoutes(policy({ version: 4 }), policy({}))).toBe(false)
  expect(affectsRoutes(policy({ oldest: 3 }), policy({}))).toBe(true)
  expect(affectsRoutes(policy({ oldest: 0 }))).toBe(false)
  for (const resource of chain.slice(0, -1)) expect(affectsRoutes(resource)).toBe(false)
  const toPeer: Resource = { kind: 'nexthop', index: 20, value: { kind: 5, flags: 0, reserved: 0, target: 1 } }
  expect(affectsRoutes(chain[2] ?? toPeer, toPeer)).toBe(true)
})
