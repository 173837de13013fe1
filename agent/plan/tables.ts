/** The resources that are entries of maps: which map, key and value. They are written many at a time, where each alone would be a system call. */
import {
  ABI_NEXTHOP_SET_MEMBERS,
  ABI_POOL_LINE_SLOTS,
  adapterCodec,
  chainCodec,
  instanceStateCodec,
  policyCodec,
  policyRuleCodec,
  poolCodec,
  poolLineCodec,
} from '../../schema/abi.gen.ts'
import { zero } from '../../schema/codec.ts'
import type { KernelMap, Maps } from '../kernel/port.ts'
import type { Resource, ResourceKind } from './resource.ts'
import { zeroBundle, zeroPathState } from './values.ts'

/** All of one call are of the table's kind. Both throw KernelError at the first entry that fails, the earlier ones done. */
export interface Table {
  write(maps: Maps, resources: readonly Resource[]): void
  /** Entries that are not there are passed over. */
  remove(maps: Maps, resources: readonly Resource[]): void
}

type Of<Kind extends ResourceKind> = Extract<Resource, { kind: Kind }>

export const tables: Partial<Record<ResourceKind, Table>> = {
  'path-state': table(
    (maps: Maps) => maps.pathState,
    ({ handle, txTag, rxTag }: Of<'path-state'>) => [handle, { ...zeroPathState(), txTag, rxTag }],
  ),
  bundle: table(
    (maps: Maps) => maps.bundles,
    ({ sid }: Of<'bundle'>) => [sid, zeroBundle()],
  ),
  'path-conf': table(
    (maps: Maps) => maps.pathConf,
    ({ handle, value }: Of<'path-conf'>) => [handle, value],
  ),
  session: table(
    (maps: Maps) => maps.sessions,
    ({ sid, value }: Of<'session'>) => [sid, value],
  ),
  vaddr: table(
    (maps: Maps) => maps.vaddrs,
    ({ address, peer }: Of<'vaddr'>) => [address, peer],
  ),
  peer: table(
    (maps: Maps) => maps.peers,
    ({ index, value }: Of<'peer'>) => [index, value],
  ),
  nexthop: table(
    (maps: Maps) => maps.nexthops,
    ({ index, value }: Of<'nexthop'>) => [index, value],
    // An array has every index: an empty entry is one that means nothing.
    { kind: 0, flags: 0, reserved: 0, target: 0 },
  ),
  'nexthop-set': table(
    (maps: Maps) => maps.nexthopSets,
    ({ index, members }: Of<'nexthop-set'>) => [index, { members: padded(members, ABI_NEXTHOP_SET_MEMBERS) }],
    { members: padded([], ABI_NEXTHOP_SET_MEMBERS) },
  ),
  port: table(
    (maps: Maps) => maps.ports,
    ({ ifindex, value }: Of<'port'>) => [ifindex, value],
  ),
  instance: table(
    (maps: Maps) => maps.chain.instanceState,
    ({ index }: Of<'instance'>) => [index, zero(instanceStateCodec)],
    zero(instanceStateCodec),
  ),
  adapter: table(
    (maps: Maps) => maps.chain.adapters,
    ({ index, value }: Of<'adapter'>) => [index, value],
    zero(adapterCodec),
  ),
  'adapter-port': table(
    (maps: Maps) => maps.chain.adapterPorts,
    ({ ifindex, value }: Of<'adapter-port'>) => [ifindex, value],
  ),
  'adapter-outer': table(
    (maps: Maps) => maps.chain.adapterOuters,
    ({ outer, adapter }: Of<'adapter-outer'>) => [outer, adapter],
  ),
  'pool-line': table(
    (maps: Maps) => maps.chain.poolLines,
    ({ index, adapters }: Of<'pool-line'>) => [index, { adapters: padded(adapters, ABI_POOL_LINE_SLOTS) }],
    zero(poolLineCodec),
  ),
  pool: table(
    (maps: Maps) => maps.chain.pools,
    ({ index, value }: Of<'pool'>) => [index, value],
    zero(poolCodec),
  ),
  chain: table(
    (maps: Maps) => maps.chain.chains,
    ({ id, value }: Of<'chain'>) => [id, value],
    zero(chainCodec),
  ),
  'policy-rule': table(
    (maps: Maps) => maps.chain.policyRules,
    ({ index, value }: Of<'policy-rule'>) => [index, value],
    zero(policyRuleCodec),
  ),
  'service-policy': table(
    (maps: Maps) => maps.chain.policies,
    ({ vrf, value }: Of<'service-policy'>) => [vrf, value],
    zero(policyCodec),
  ),
}

function padded(numbers: readonly number[], length: number): number[] {
  return Array.from({ length }, (_, index) => numbers[index] ?? 0)
}

function table<R extends Resource, K, V>(
  mapOf: (maps: Maps) => KernelMap<K, V>,
  entryOf: (resource: R) => readonly [K, V],
  empty?: V,
): Table {
  const entries = (resources: readonly Resource[]) => resources.map(resource => entryOf(resource as R))
  return {
    write: (maps, resources) => mapOf(maps).setMany(entries(resources)),
    remove: (maps, resources) => {
      const keys = entries(resources).map(([key]) => key)
      if (empty === undefined) mapOf(maps).deleteMany(keys)
      else mapOf(maps).setMany(keys.map(key => [key, empty] as const))
    },
  }
}
