/**
 * The paths to one peer: looks at those that are due, and tells the programs which to use. They belong to the peer, not to a session: what was learned
 * of a path is true of the next session's path over the same link.
 */
import { type PathConf, type Steering, spread } from '../../schema/abi.gen.ts'
import type { Prober } from '../mp/prober.ts'
import { handleOf } from '../mp/session.ts'
import type { Node } from '../node/node.ts'
import type { LiveSession } from '../node/sessions.ts'
import { Chooser } from './chooser.ts'
import type { PathChange } from './history.ts'
import { type Change, RANK } from './judge.ts'
import { WatchedPath } from './watched-path.ts'

/** As enum traffic_class orders them. */
export const CLASSES = ['default', 'realtime', 'transactional', 'bulk'] as const

/** Figures of paths are compared so often, ms; what fails is left at once. */
const COMPARE_MS = 500
/** Delays that differ by less, or by less than a fifth, are the same. */
const LEAST_CHANGE_US = 500

export interface Followed {
  /** Of the peers map. */
  readonly index: number
  readonly name: () => string
  /** Virtual addresses of the two ends. */
  readonly from: () => string
  readonly to: () => string
  readonly policyVersion: () => number
  /** Is there a link that the path can leave by? */
  readonly present: (path: number) => boolean
}

export interface PeerPathsContext {
  node: Node
  prober: Prober
  /** A path that is heard without being asked is not asked while its silence is shorter, ms. */
  quietMs: number
  changed: (change: PathChange) => void
  /** The programs were told how long paths are. */
  delaysTold: () => void
}

export class PeerPaths {
  readonly peer: Followed
  readonly #context: PeerPathsContext
  #paths: WatchedPath[] = []
  readonly #chooser: Chooser
  #words: readonly Steering[] = []
  #steeredMs = 0
  #sid = 0

  constructor(peer: Followed, context: PeerPathsContext) {
    this.peer = peer
    this.#context = context
    const { classes } = context.node.config
    this.#chooser = new Chooser(CLASSES.map(name => classes[name]))
  }

  get paths(): readonly WatchedPath[] {
    return this.#paths
  }

  get sid(): number {
    return this.#sid
  }

  /** Some path answers, or has not been silent for long enough to say that it does not. */
  get alive(): boolean {
    return this.#paths.some(({ judge }) => judge.condition !== 'down')
  }

  /** Those that carry packets as far as is known; a path that was left is not among them until it has proved itself. */
  get working(): WatchedPath[] {
    return this.#paths.filter(({ judge }) => RANK[judge.condition] < RANK.left)
  }

  /** Packets go by this session from now on. The caller flushes. */
  use(sid: number): void {
    const { node } = this.#context
    const session = node.sessions.get(sid)
    if (!session) return
    this.#sid = sid
    this.#paths = session.paths.map(({ path, link, metered = false, backup = false }) => {
      const known = this.#paths.find(candidate => candidate.path === path && candidate.link === link)
      const watched = known ?? new WatchedPath(path, link, node.config.timers, this.peer.index + path)
      watched.metered = metered
      watched.backup = backup
      return watched
    })
    this.steer()
  }

  /** Everything that the choice depends on may have changed. The caller flushes. */
  steer(): void {
    const { node } = this.#context
    const nowMs = node.now()
    const there = this.#paths.filter(({ judge }) => judge.condition !== 'down')
    const choosable = there.map(path => path.choosable(mbpsOf(node.pathConf(handleOf(this.#sid, path.path)))))
    const steering = this.#chooser.choose(nowMs, choosable)
    const usable = (path: number) => there.some(candidate => candidate.path === path)
    this.#steeredMs = nowMs
    this.#words = steering ?? []
    node.wantPeer(this.peer.index, this.#sid, this.peer.policyVersion(), usable, steering)
  }

  /** What the programs were told, by class; empty: no path is there. */
  get words(): readonly Steering[] {
    return this.#words
  }

  /** Looks at the paths that are due. @returns ms, monotonic: when the next one is */
  look(nowMs: number): number {
    const session = this.#context.node.sessions.get(this.#sid)
    if (!session) return Number.POSITIVE_INFINITY
    let moved = false
    for (const path of this.#paths) if (path.nextMs <= nowMs) moved = this.#lookAt(path, session, nowMs) || moved
    if (!this.#paths.some(({ tier }) => tier < 2)) moved = this.#lastResort(nowMs) || moved
    if (moved) {
      this.steer()
      this.#flush()
    } else if (this.#paths.length > 1 && nowMs - this.#steeredMs >= COMPARE_MS) this.#compare()
    return Math.min(...this.#paths.map(path => path.nextMs))
  }

  /** Nothing failed, but figures may have crossed. */
  #compare(): void {
    const before = JSON.stringify(this.#words)
    this.steer()
    const told = this.#words.some(({ mode }) => mode === spread.SPREAD_PACKETS) && this.#tellDelays()
    if (told) this.#context.delaysTold()
    if (told || JSON.stringify(this.#words) !== before) this.#flush()
  }

  /** Who sends each packet where it arrives first must know how long the ways are. @returns true when one has changed */
  #tellDelays(): boolean {
    const { node } = this.#context
    let told = false
    for (const { path, usualRttMs } of this.#paths) {
      const handle = handleOf(this.#sid, path)
      const conf = node.pathConf(handle)
      if (!conf || usualRttMs === undefined) continue
      const delayUs = Math.round((usualRttMs * 1000) / 2)
      if (Math.abs(delayUs - conf.delayUs) <= Math.max(LEAST_CHANGE_US, conf.delayUs / 5)) continue
      node.setPathConf(handle, { ...conf, delayUs })
      told = true
    }
    return told
  }

  /** How much quicker links are than the slowest that a class is spread over, packet by packet: ifindex, class and µs. */
  *leads(): Generator<[ifindex: number, klass: number, us: number]> {
    const confs = this.#paths.map(({ path }) => [path, this.#context.node.pathConf(handleOf(this.#sid, path))] as const)
    for (const [klass, { mode, mask }] of this.#words.entries()) {
      if (mode !== spread.SPREAD_PACKETS) continue
      const used = confs.flatMap(([path, conf]) => (conf && (mask >> path) & 1 ? [conf] : []))
      const slowest = Math.max(...used.map(({ delayUs }) => delayUs))
      for (const { ifindex, delayUs } of used) yield [ifindex, klass, slowest - delayUs]
    }
  }

  /** Has paths looked at the next time, all or one: something is known to have changed. */
  hurry(path?: number): void {
    for (const watched of this.#paths) if (path === undefined || watched.path === path) watched.hurry()
  }

  /** So many packets were sent on the path that are perhaps too large for it; below 0: as many of them are not. */
  excuse(path: number, packets: number): void {
    const watched = this.#paths.find(candidate => candidate.path === path)
    watched?.meter.excuse(packets, this.#context.node.now())
  }

  #lookAt(watched: WatchedPath, session: LiveSession, nowMs: number): boolean {
    const { node, prober, quietMs } = this.#context
    const { path } = watched
    const handle = handleOf(session.sid, path)
    const counters = node.dataplane.maps.pathCounters(handle)
    if (!counters) return false
    const { change, probe } = watched.look(nowMs, counters, {
      present: this.peer.present(path) && node.pathConf(handle) !== undefined,
      silenceMs: node.silenceMs(session, path),
      choice: this.#paths.length > 1,
      metered: watched.metered,
      probeMs: node.config.timers.probeMs,
      quietMs,
    })
    // As large as the path is said to carry: what is lost of these, and only of these, is lost for its size.
    const size = probe === 'large' ? (node.pathConf(handle)?.mtu ?? 0) : 0
    if (probe !== 'none') prober.probe(this.peer.from(), this.peer.to(), path, { round: 0, size })
    if (change) this.#changed(watched, change)
    return change !== undefined
  }

  /** No path is good: those that answer are better than none, whatever they have done before. */
  #lastResort(nowMs: number): boolean {
    let moved = false
    for (const watched of this.#paths) {
      const change = watched.judge.needed(nowMs)
      if (!change) continue
      this.#changed(watched, change)
      moved = true
    }
    return moved
  }

  #changed({ path, link }: WatchedPath, change: Change): void {
    const { node, changed } = this.#context
    if (change.to === 'good') node.dataplane.maps.clearLeft(handleOf(this.#sid, path))
    changed({ time: Date.now(), peer: this.peer.name(), path, link, ...change })
  }

  #flush(): void {
    const { node } = this.#context
    node.reconciler.flush().catch(error => node.log.error({ err: error }, 'flush failed'))
  }
}

function mbpsOf(conf: PathConf | undefined): number | undefined {
  return conf && conf.rate > 0 ? conf.rate / 125 : undefined
}
