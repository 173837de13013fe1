/**
 * How many entries the maps of a node have, where that is fewer than bpf/maps.h declares. Arrays take their memory when they are made, so a
 * branch edge pays for the few gateways it has, and only a gateway for 65,536 paths.
 */

/** Map name -> entries. */
export type MapSizes = Readonly<Record<string, number>>

const EDGE_PATHS = 1024

/** 32 gateways, each with two sessions during a rekey, of 16 paths. 1 MB. */
export const edgeSizes: MapSizes = {
  sessions: EDGE_PATHS,
  path_conf: EDGE_PATHS,
  path_state: EDGE_PATHS,
  peers: 256,
}

/** As declared: 51 MB for sessions, paths and peers. */
export const gatewaySizes: MapSizes = {}
