/**
 * How many entries the maps of a node have, where that is fewer than bpf/maps.h declares. Arrays take their memory when they are made, so a
 * branch edge pays for the few gateways it has, and only a gateway for 65,536 paths.
 */
import { ABI_MAX_VRFS, fibRootCodec } from '../../schema/abi.gen.ts'

/** Map name -> entries; of a map with one entry: its bytes. */
export type MapSizes = Readonly<Record<string, number>>

const EDGE_PATHS = 1024
/** Lines of two slots: 131,072 flows (one per direction) at half load, 8 MB. A power of two. */
const EDGE_FLOWS = 131_072

/** 32 gateways, each with two sessions during a rekey, of 16 paths. 1 MB. */
export const edgeSizes: MapSizes = {
  sessions: EDGE_PATHS,
  path_conf: EDGE_PATHS,
  path_state: EDGE_PATHS,
  bundles: EDGE_PATHS / 2,
  peers: 256,
  flows: EDGE_FLOWS,
  // 16,384 routes, 1 MiB for the table and as much for its successor.
  fib_routes: 16_385,
  fib: 2 * 2 ** 20,
  // Service chains are a gateway's.
  policies: 1,
  policy_rules: 1,
  rule_hits: 1,
  chains: 1,
  pools: 1,
  pool_turns: 1,
  pool_lines: 1,
  adapters: 1,
  instance_state: 1,
  adapter_traffic: 1,
}

/** As declared: 89 MB for sessions, paths and peers, 64 MB for a million flows at half load, 75 MB for a million routes. */
export const gatewaySizes: MapSizes = {}

/** One part in so many of the FIB is for roots. */
const ROOTS_PART = 64

/** How many VRFs a FIB of so many bytes has; an even number, so that what follows the roots of both halves begins on a cache line. */
export function vrfsIn(fibBytes: number): number {
  return Math.min(ABI_MAX_VRFS, 2 * Math.floor(fibBytes / ROOTS_PART / (4 * fibRootCodec.size)))
}
