/**
 * How many entries the maps of a node have, where that is fewer than bpf/maps.h declares. Arrays take their memory when they are made, so a
 * branch edge pays for the few gateways it has, and only a gateway for 65,536 paths.
 */

/** Map name -> entries. */
export type MapSizes = Readonly<Record<string, number>>

const EDGE_PATHS = 1024
/** Lines of two slots: 131,072 flows (one per direction) at half load, 8 MB. A power of two. */
const EDGE_FLOWS = 131_072

/** 32 gateways, each with two sessions during a rekey, of 16 paths. 1 MB. */
export const edgeSizes: MapSizes = {
  sessions: EDGE_PATHS,
  path_conf: EDGE_PATHS,
  path_state: EDGE_PATHS,
  peers: 256,
  flows: EDGE_FLOWS,
  // 16,384 routes, 2 MiB for the table and its successor.
  fib_routes: 16_385,
  fib_lines: 32_768,
  fib_roots: 128,
}

/** As declared: 51 MB for sessions, paths and peers, 64 MB for a million flows at half load, 75 MB for a million routes. */
export const gatewaySizes: MapSizes = {}
