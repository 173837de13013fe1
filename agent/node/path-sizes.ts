/** How large packets may be: on a path, by what was found to get through (agent/paths/mtu.ts); in a tunnel, by the narrowest of its paths. */
import { clearMtu, insideEsp, LEAST_MTU, secureMtu } from '../mp/mtu.ts'
import type { SessionPath } from '../mp/session.ts'

/** IPv6 demands so much of every link (RFC 8200, 5); a tunnel should not carry less because of one path. */
const NARROW = 1280

export interface PathSize {
  /** Largest outer packet. */
  mtu: number
  family: 4 | 6
}

/** Largest outer packet of a path; 0: it is of no use. */
export function carriedBy({ mtu, carries }: Pick<SessionPath, 'mtu' | 'carries'>): number {
  return carries ?? mtu
}

/**
 * Of these paths those that a tunnel should be made of: without narrow ones while there is a wider one, and without those of no use while there is
 * any other. Over the last of them small packets still go, those by which the ends agree among them.
 */
export function wideEnough<Path extends Pick<SessionPath, 'mtu' | 'carries'>>(paths: readonly Path[]): readonly Path[] {
  for (const least of [NARROW, 1]) {
    const wide = paths.filter(path => carriedBy(path) >= least)
    if (wide.length > 0) return wide
  }
  return paths
}

/** Largest inner packets that fit all of these paths, and devices of this MTU; a path of no use counts as the least that one must carry. */
export function innerSizes(paths: readonly PathSize[], device: number): { clear: number; secure: number } {
  return {
    clear: Math.min(device, ...paths.map(({ mtu, family }) => clearMtu(mtu || LEAST_MTU[family], family))),
    secure: Math.min(insideEsp(device), ...paths.map(({ mtu, family }) => secureMtu(mtu || LEAST_MTU[family], family))),
  }
}
