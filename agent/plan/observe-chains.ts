/** What of service chains a former agent left in the maps. */
import type { ChainMaps } from '../kernel/port.ts'
import type { Resource } from './resource.ts'

export function observeChains(maps: ChainMaps): Resource[] {
  const found: Resource[] = []
  const instances = new Set<number>()
  for (const [index, value] of maps.adapters.entries()) {
    found.push({ kind: 'adapter', index, value })
    instances.add(value.instance)
  }
  // One without connections is all zeros, and its adapters alone name it.
  for (const [index] of maps.instanceState.entries()) instances.add(index)
  for (const index of instances) found.push({ kind: 'instance', index })
  for (const [ifindex, value] of maps.adapterPorts.entries()) found.push({ kind: 'adapter-port', ifindex, value })
  for (const [outer, adapter] of maps.adapterOuters.entries()) found.push({ kind: 'adapter-outer', outer, adapter })
  for (const [index, { adapters }] of maps.poolLines.entries())
    found.push({ kind: 'pool-line', index, adapters: withoutPadding(adapters) })
  for (const [index, value] of maps.pools.entries()) found.push({ kind: 'pool', index, value })
  for (const [id, value] of maps.chains.entries()) found.push({ kind: 'chain', id, value })
  for (const [index, value] of maps.policyRules.entries()) found.push({ kind: 'policy-rule', index, value })
  for (const [vrf, value] of maps.policies.entries()) found.push({ kind: 'service-policy', vrf, value })
  return found
}

/** No adapter has number 0. */
function withoutPadding(adapters: readonly number[]): number[] {
  return adapters.slice(0, adapters.findLastIndex(adapter => adapter !== 0) + 1)
}
