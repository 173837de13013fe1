/** The maps of service chains in memory. No programs run here, so nothing is ever counted. */
import {
  ABI_MAX_ADAPTERS,
  ABI_MAX_CHAINS,
  ABI_MAX_POOL_LINES,
  ABI_MAX_POOLS,
  ABI_MAX_RULES,
  ABI_MAX_VRFS,
  adapterCodec,
  adapterKeyCodec,
  adapterTrafficCodec,
  chainCodec,
  instanceStateCodec,
  policyCodec,
  policyRuleCodec,
  poolCodec,
  poolLineCodec,
} from '../../../schema/abi.gen.ts'
import { type Codec, u32Codec, zero } from '../../../schema/codec.ts'
import type { ChainMaps, KernelMap } from '../port.ts'
import type { MapSizes } from '../sizes.ts'
import { FakeMap } from './map.ts'

export function fakeChainMaps(
  array: <V>(name: string, limit: number, codec: Codec<V>) => KernelMap<number, V>,
  sizes: MapSizes,
): ChainMaps {
  const noTraffic = zero(adapterTrafficCodec)
  return {
    policies: array('policies', ABI_MAX_VRFS, policyCodec),
    policyRules: array('policy_rules', ABI_MAX_RULES, policyRuleCodec),
    chains: array('chains', ABI_MAX_CHAINS, chainCodec),
    pools: array('pools', ABI_MAX_POOLS, poolCodec),
    poolLines: array('pool_lines', ABI_MAX_POOL_LINES, poolLineCodec),
    adapters: array('adapters', ABI_MAX_ADAPTERS, adapterCodec),
    instanceState: array('instance_state', ABI_MAX_ADAPTERS, instanceStateCodec),
    adapterPorts: new FakeMap('adapter_ports', 'hash', ABI_MAX_ADAPTERS * 2, u32Codec, u32Codec),
    adapterOuters: new FakeMap('adapter_outers', 'hash', ABI_MAX_ADAPTERS, adapterKeyCodec, u32Codec),
    ruleHits: index => (index < (sizes.rule_hits ?? ABI_MAX_RULES) ? 0n : undefined),
    adapterTraffic: adapter => (adapter < (sizes.adapter_traffic ?? ABI_MAX_ADAPTERS) ? noTraffic : undefined),
  }
}
