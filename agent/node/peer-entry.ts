/** What the programs know of a peer: the session to send on, which of its paths, and how large packets may be. */
import type { Peer, Steering } from '../../schema/abi.gen.ts'
import { ABI_FAMILY_IPV6, ABI_PEER_F_ESP, trafficClass } from '../../schema/abi.gen.ts'
import type { SessionPath } from '../mp/session.ts'
import { plainSteering, within } from '../plan/values.ts'
import { carriedBy, innerSizes } from './path-sizes.ts'
import type { LiveSession } from './sessions.ts'

export interface PeerTerms {
  policyVersion: number
  /** What each class does with the paths; absent: all use the first. */
  steering: readonly Steering[] | undefined
  /** Of mp0. */
  mtu: number
}

/** @param paths those to send on, each with the address family outside */
export function peerEntry(
  session: Pick<LiveSession, 'sid' | 'esp'>,
  paths: readonly (Pick<SessionPath, 'path' | 'mtu' | 'carries'> & { family: number })[],
  { policyVersion, steering, mtu }: PeerTerms,
): Peer {
  const sizes = paths.map(path => ({
    mtu: carriedBy(path),
    family: path.family === ABI_FAMILY_IPV6 ? (6 as const) : (4 as const),
  }))
  const { clear, secure } = innerSizes(sizes, mtu)
  const pathMask = paths.reduce((mask, { path }) => mask | (1 << path), 0)
  const words = within(steering ?? plainSteering(paths[0]?.path ?? 0, pathMask), pathMask)
  return {
    sid: session.sid,
    pathMask,
    pathBest: words[trafficClass.CLASS_DEFAULT]?.best ?? 0,
    policyVersion,
    mtuClear: clear,
    mtuSecure: secure,
    flags: session.esp ? ABI_PEER_F_ESP : 0,
    steering: words,
    reserved: [0n, 0n],
  }
}
