/** The edges that a gateway knows, by node id, by session and by peer index. */
import { ABI_MAX_PEERS } from '../../schema/abi.gen.ts'
import type { Subnet } from '../../schema/common.ts'
import type { GrantBody, Signed } from '../../schema/grant.ts'
import type { SessionSecrets } from '../../schema/mpinit.ts'
import type { RouteSession } from '../mp/route-session.ts'
import type { PathControl } from '../paths/control.ts'
import type { PeerPaths } from '../paths/peer-paths.ts'
import type { Vrf } from './vrfs.ts'

/**
 * connecting: session made, key possession not proved yet; up; stale: route session lost, packets still come; lost: silent, its routes are withdrawn.
 */
export type PeerState = 'connecting' | 'up' | 'stale' | 'lost'

export interface EdgePeer {
  readonly node: string
  readonly index: number
  readonly vaddr: string
  grant: GrantBody
  signedGrant: Signed | undefined
  esp: boolean
  state: PeerState
  /** Session that packets for the edge are sent on. */
  sid: number
  readonly sessions: Set<number>
  /** The newest session, while the edge has not shown that it holds its keys; 0: there is none. At most one at a time, whatever an edge sends. */
  unproved: number
  rekeys: number
  /** As it told, and as packets for it say. */
  policyVersion: number
  vrf: Vrf | undefined
  readonly paths: PeerPaths
  route: RouteSession | undefined
  /** What a silent edge had announced: put back when it is heard again. */
  withheld: readonly Subnet[]
  /** Of the last change of state; ms, monotonic. */
  since: number
}

export class EdgePeers {
  readonly #byNode = new Map<string, EdgePeer>()
  readonly #bySid = new Map<number, EdgePeer>()
  readonly #secrets = new Map<number, SessionSecrets>()
  readonly #indexes = new Set<number>()
  #cursor = 1

  all(): Iterable<EdgePeer> {
    return this.#byNode.values()
  }

  get size(): number {
    return this.#byNode.size
  }

  get(node: string): EdgePeer | undefined {
    return this.#byNode.get(node)
  }

  ofSession(sid: number): EdgePeer | undefined {
    return this.#bySid.get(sid)
  }

  /** Record keys of a session; undefined for adopted ones, whose keys nobody has any more. */
  secretsOf(sid: number): SessionSecrets | undefined {
    return this.#secrets.get(sid)
  }

  /** Index of the peers map; undefined when it is full. Freed ones come round again last, when no route in the kernel means the former holder. */
  newIndex(): number | undefined {
    if (this.#indexes.size >= ABI_MAX_PEERS - 1) return undefined
    while (this.#indexes.has(this.#cursor)) this.#cursor = (this.#cursor % (ABI_MAX_PEERS - 1)) + 1
    return this.#cursor
  }

  add(peer: EdgePeer): void {
    this.#indexes.add(peer.index)
    this.#cursor = (peer.index % (ABI_MAX_PEERS - 1)) + 1
    this.#byNode.set(peer.node, peer)
    for (const sid of peer.sessions) this.#bySid.set(sid, peer)
  }

  remove(peer: EdgePeer): void {
    this.#indexes.delete(peer.index)
    this.#byNode.delete(peer.node)
    for (const sid of peer.sessions) this.removeSession(peer, sid)
  }

  /** The edge holds the keys of this session, or nobody waits for that any longer. */
  settled(peer: EdgePeer, sid: number): void {
    if (peer.unproved === sid) peer.unproved = 0
  }

  /** A session that the edge has still to prove. */
  addSession(peer: EdgePeer, sid: number, secrets: SessionSecrets): void {
    peer.unproved = sid
    peer.sessions.add(sid)
    this.#bySid.set(sid, peer)
    this.#secrets.set(sid, secrets)
  }

  removeSession(peer: EdgePeer, sid: number): void {
    this.settled(peer, sid)
    peer.sessions.delete(sid)
    this.#bySid.delete(sid)
    this.#secrets.delete(sid)
  }
}

/** An edge's packets show by which links it can be reached: here every path that it offered counts as there. */
export function edgePaths(
  control: PathControl,
  { index, vaddr, own, peer }: { index: number; vaddr: string; own: string; peer: () => EdgePeer },
): PeerPaths {
  return control.follow({
    index,
    name: () => peer().grant.nodeName,
    from: () => own,
    to: () => vaddr,
    policyVersion: () => peer().policyVersion,
    present: () => true,
  })
}
