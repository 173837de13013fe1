/** The resources that are entries of maps: which map, key and value. They are written many at a time, where each alone would be a system call. */
import { ABI_NEXTHOP_SET_MEMBERS } from '../../schema/abi.gen.ts'
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
    ({ index, members }: Of<'nexthop-set'>) => [index, { members: padded(members) }],
    { members: padded([]) },
  ),
  port: table(
    (maps: Maps) => maps.ports,
    ({ ifindex, value }: Of<'port'>) => [ifindex, value],
  ),
}

function padded(members: readonly number[]): number[] {
  return Array.from({ length: ABI_NEXTHOP_SET_MEMBERS }, (_, index) => members[index] ?? 0)
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
