/** What an edge's configuration says of its links, on its way: into MP_INIT, and into what both ends know of a session's paths. */
import type { LinkOffer } from '../../schema/mpinit.ts'

/** Of the edge's link, as its owner states it. Only what is said is there, so that an INIT stays small. */
export type LinkStatement = Pick<LinkOffer, 'upMbps' | 'downMbps' | 'backup' | 'metered'>

/** The same in the directions of the node that has the session. */
export interface LinkTraits {
  /** Mb/s, outer headers included; absent: unknown. */
  toPeerMbps?: number | undefined
  fromPeerMbps?: number | undefined
  /** Only when no other path lives. */
  backup?: boolean | undefined
  /** Every byte costs. */
  metered?: boolean | undefined
}

export function statementOf({ upMbps, downMbps, backup, metered }: LinkStatement): LinkStatement {
  return {
    ...(upMbps !== undefined && { upMbps }),
    ...(downMbps !== undefined && { downMbps }),
    ...(backup && { backup }),
    ...(metered && { metered }),
  }
}

/** @param end which of the two this node is */
export function traitsOf(link: LinkStatement, end: 'edge' | 'gateway'): LinkTraits {
  const { upMbps, downMbps, ...kind } = statementOf(link)
  const [toPeerMbps, fromPeerMbps] = end === 'edge' ? [upMbps, downMbps] : [downMbps, upMbps]
  return {
    ...(toPeerMbps !== undefined && { toPeerMbps }),
    ...(fromPeerMbps !== undefined && { fromPeerMbps }),
    ...kind,
  }
}

/** `path_conf.rate`, bytes per ms: of the slowest on the way; 0: nobody knows. */
export function pathRate(...mbps: readonly (number | undefined)[]): number {
  const known = mbps.filter(each => each !== undefined)
  return known.length > 0 ? Math.max(1, Math.round(Math.min(...known) * 125)) : 0
}
