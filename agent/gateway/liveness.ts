/**
 * Who is there: an edge that is silent on all its paths loses its routes, gets them back when it is heard again, and is forgotten when it stays away
 * or its grant runs out.
 */
import { CLOCK_TOLERANCE } from '../../schema/grant.ts'
import type { NodeEvent } from '../../schema/node-state.ts'
import { Slices } from '../loop/slices.ts'
import { handleOf } from '../mp/session.ts'
import type { Node } from '../node/node.ts'
import type { PathControl } from '../paths/control.ts'
import type { EdgePeer, EdgePeers } from './peers.ts'
import type { RoutePeerContext } from './route-peer.ts'
import { refuse, subnetsOf } from './route-peer.ts'

export interface LivenessOptions {
  node: Node
  peers: EdgePeers
  paths: PathControl
  routes: RoutePeerContext
  report: (event: Omit<NodeEvent, 'time'>) => void
  /** Forgets the edge. */
  remove: (peer: EdgePeer, reason: string) => void
  /** Its routes live for the stale time only, unless a route session brings them again. */
  expireStale: (peer: EdgePeer) => void
}

/** A silent edge's sessions are kept for so long, in case it is heard again. */
const LOST_HOLD_MS = 60_000

export class Liveness {
  readonly #options: LivenessOptions
  #closed = false

  constructor(options: LivenessOptions) {
    this.#options = options
  }

  /** Every probeMs: looks at the paths of every edge that has proved its keys. */
  async check(): Promise<void> {
    const { node, peers, paths, remove } = this.#options
    const [now, date] = [node.now(), Date.now()]
    const slices = new Slices()
    for (const peer of peers.all()) {
      if (slices.over) await slices.rest()
      if (this.#closed) return
      if (!node.sessions.get(peer.sid) || peer.state === 'connecting') continue
      paths.look(peer.paths)
      const silent = !peer.paths.alive
      if (silent) await this.#followTo(peer)
      if (silent && peer.state !== 'lost') this.#lose(peer)
      else if (!silent && peer.state === 'lost') this.#regain(peer)
      else if (silent && now - peer.since > LOST_HOLD_MS) remove(peer, 'silent for too long')
      else if ((peer.grant.expires + CLOCK_TOLERANCE) * 1000 < date)
        remove(peer, 'its grant expired and was not renewed')
    }
  }

  /** An edge that is silent on the session it had, but heard on another, has moved: whoever is heard holds that session's keys. */
  async #followTo(peer: EdgePeer): Promise<void> {
    const { node, routes } = this.#options
    const heard = (sid: number) =>
      node.sessions
        .get(sid)
        ?.paths.some(({ path }) => (node.pathIdleMs(handleOf(sid, path)) ?? Infinity) < node.config.timers.silentMs)
    const moved = [...peer.sessions].findLast(sid => sid !== peer.sid && heard(sid))
    if (moved !== undefined) await routes.switchTo(peer, moved)
  }

  close(): void {
    this.#closed = true
  }

  #lose(peer: EdgePeer): void {
    this.#enter(peer, 'lost')
    const message = `${peer.grant.nodeName} is silent; its prefixes are withdrawn`
    this.#options.report({ severity: 'warning', code: 'edge-lost', message, detail: { node: peer.node } })
    const { vrf } = peer
    if (!vrf) return
    peer.withheld = [...subnetsOf(peer), ...vrf.table.waitingOf(peer.node)]
    this.#options.routes.vrfs.withdrawn(vrf, vrf.table.withdrawAll(peer.node))
  }

  #regain(peer: EdgePeer): void {
    const { routes, report, expireStale } = this.#options
    this.#enter(peer, peer.route ? 'up' : 'stale')
    const message = `${peer.grant.nodeName} is heard again`
    report({ severity: 'info', code: 'edge-back', message, detail: { node: peer.node } })
    const subnets = peer.withheld
    peer.withheld = []
    // Refused is what another edge has announced meanwhile.
    for (const refusal of peer.vrf ? routes.vrfs.announce(peer.vrf, peer.node, subnets, false) : [])
      refuse(routes, peer, refusal.prefix, refusal.code, refusal.message)
    if (peer.route) return
    peer.vrf?.table.markStale(peer.node)
    expireStale(peer)
  }

  #enter(peer: EdgePeer, state: EdgePeer['state']): void {
    peer.state = state
    peer.since = this.#options.node.now()
  }
}
