/** What a gateway's programs tell its agent: packets of unknown sessions, edges that moved, flows of a newer policy. */
import { type Event as DataplaneEvent, eventType } from '../../schema/abi.gen.ts'
import { formatReset } from '../mp/packets.ts'
import type { Node } from '../node/node.ts'
import { outerAddress, pathConfOf } from '../node/path-conf.ts'
import type { EdgePeer, EdgePeers } from './peers.ts'

export interface DataplaneEventsOptions {
  node: Node
  peers: EdgePeers
  /** The outer address of a path of this edge is another now; the caller has the kernel follow. */
  moved: (peer: EdgePeer, sid: number) => void
  /** Packets of the edge name a policy version that it has not told. */
  policyAhead: (peer: EdgePeer, version: number) => void
  /** The programs left this path. */
  left: (handle: number) => void
}

/** Hints to unknown sessions per second: enough for a reboot with many edges, too few to be of use to anyone else. */
const RESETS_PER_SECOND = 200

export class DataplaneEvents {
  readonly #options: DataplaneEventsOptions
  #resets = RESETS_PER_SECOND

  constructor(options: DataplaneEventsOptions) {
    this.#options = options
  }

  /** @param ms since the call before */
  refill(ms: number): void {
    this.#resets = Math.min(RESETS_PER_SECOND, this.#resets + (RESETS_PER_SECOND * ms) / 1000)
  }

  take(event: DataplaneEvent): void {
    const peer = this.#options.peers.ofSession((event.handle & ~15) >>> 0)
    if (event.type === eventType.EVENT_NO_SESSION) this.#sendReset(event)
    else if (event.type === eventType.EVENT_PATH_LEFT) this.#options.left(event.handle)
    else if (event.type === eventType.EVENT_PATH_MOVED && peer) this.#move(event, peer)
    else if (event.type === eventType.EVENT_POLICY_AHEAD && peer) this.#options.policyAhead(peer, event.value)
  }

  /** Somebody uses a session that is gone, as all are after a reboot: tell them, so that they need not wait until they miss us. */
  #sendReset(event: DataplaneEvent): void {
    if (this.#resets < 1) return
    this.#resets -= 1
    const socket = this.#options.node.wan.socket(outerAddress(event.family, event.dst))
    socket?.send(formatReset(event.handle), { address: outerAddress(event.family, event.src), port: event.srcPort })
  }

  #move(event: DataplaneEvent, peer: EdgePeer): void {
    const { node, moved } = this.#options
    const sid = (event.handle & ~15) >>> 0
    const path = node.sessions.get(sid)?.paths.find(candidate => candidate.path === (event.handle & 15))
    if (!path) return
    const local = { address: outerAddress(event.family, event.dst), port: event.dstPort }
    const remote = { address: outerAddress(event.family, event.src), port: event.srcPort }
    const link = node.wan.links.find(candidate => candidate.ifindex === event.ifindex)
    if (!link) return
    node.setPathConf(event.handle, pathConfOf(local, remote, { ...link, mtu: path.mtu }, path.toPeerMbps))
    node.log.info({ node: peer.node, path: path.link, remote }, `${peer.grant.nodeName} moved`)
    moved(peer, sid)
  }
}
