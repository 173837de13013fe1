/** The node's maps by name: descriptors -> the typed `Maps` of the port, and the sums of its per-CPU counters. */
import {
  bundleCodec,
  COUNTERS,
  counterNames,
  DROP_REASONS,
  dropReasonNames,
  fibRouteCodec,
  nexthopCodec,
  nexthopSetCodec,
  nodeConfigCodec,
  pathConfCodec,
  pathStateCodec,
  peerCodec,
  portCodec,
  sessionCodec,
} from '../../schema/abi.gen.ts'
import { type Codec, u32Codec } from '../../schema/codec.ts'
import { openMap, readPerCpuSums } from './bpf-map.ts'
import { mapShape } from './bpf-object.ts'
import { openChainMaps } from './chain-maps.ts'
import { KernelError } from './error.ts'
import type { FibFds } from './fib/memory.ts'
import { lastHeardReader } from './last-heard.ts'
import { be32TextCodec } from './map-codecs.ts'
import {
  bundlesBySession,
  pathConfByHandle,
  pathStateByHandle,
  peersByIndex,
  portsByIfindex,
  sessionsById,
} from './named-map.ts'
import { leftClearer } from './path-left.ts'
import { countersReader } from './path-reader.ts'
import type { Maps } from './port.ts'

/** Map name (bpf/maps.h) -> descriptor. */
export type MapFds = ReadonlyMap<string, number>

/** @throws KernelError ENOENT when a map is missing, RangeError when one has another size than abi.h says */
export function openMaps(fds: MapFds): Maps {
  const map = <K, V>(name: string, key: Codec<K>, value: Codec<V>) => openMap(name, fdOf(fds, name), key, value)
  return {
    node: map('node', u32Codec, nodeConfigCodec),
    sessions: sessionsById(map('sessions', u32Codec, sessionCodec)),
    peers: peersByIndex(map('peers', u32Codec, peerCodec)),
    pathConf: pathConfByHandle(map('path_conf', u32Codec, pathConfCodec)),
    pathState: pathStateByHandle(map('path_state', u32Codec, pathStateCodec)),
    bundles: bundlesBySession(map('bundles', u32Codec, bundleCodec)),
    nexthops: map('nexthops', u32Codec, nexthopCodec),
    nexthopSets: map('nexthop_sets', u32Codec, nexthopSetCodec),
    ports: portsByIfindex(map('ports', u32Codec, portCodec)),
    frameDevices: map('frame_devices', u32Codec, u32Codec),
    vaddrs: map('vaddrs', be32TextCodec, u32Codec),
    chain: openChainMaps(map, name => fdOf(fds, name)),
    lastHeardNs: lastHeardReader(fdOf(fds, 'path_state')),
    pathCounters: countersReader(fdOf(fds, 'path_state')),
    clearLeft: leftClearer(fdOf(fds, 'path_state')),
  }
}

/** @throws KernelError ENOENT when a map is missing, RangeError when one has another size than abi.h says */
export function fibFds(fds: MapFds): FibFds {
  const [fib, routes] = [fdOf(fds, 'fib'), fdOf(fds, 'fib_routes')]
  const { valueSize, maxEntries } = mapShape(routes)
  if (valueSize !== fibRouteCodec.size)
    throw new RangeError(`map fib_routes holds ${valueSize} bytes, not ${fibRouteCodec.size}`)
  return { fib: { fd: fib, bytes: mapShape(fib).valueSize }, fib_routes: { fd: routes, bytes: valueSize * maxEntries } }
}

/** Drop reason -> packets, zeros included. */
export function readDrops(fds: MapFds): Record<string, number> {
  return named(readPerCpuSums('drops', fdOf(fds, 'drops'), DROP_REASONS), dropReasonNames)
}

/** Counter -> packets, zeros included. */
export function readCounters(fds: MapFds): Record<string, number> {
  return named(readPerCpuSums('counters', fdOf(fds, 'counters'), COUNTERS), counterNames)
}

export function fdOf(fds: MapFds, name: string): number {
  const fd = fds.get(name)
  if (fd === undefined) throw new KernelError('find', `map ${name}`, 'ENOENT', 'no program declares it')
  return fd
}

function named(sums: readonly bigint[], names: Readonly<Record<number, string>>): Record<string, number> {
  return Object.fromEntries(sums.map((sum, index) => [names[index] ?? `unnamed-${index}`, Number(sum)]))
}
