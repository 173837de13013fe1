/**
 * Path control of one node: every peer's paths are looked at when they are due. Most are due once in probeMs, when the role looks at all its peers;
 * those in trouble or in doubt are visited in between, so many at a time that 10,000 edges in trouble at once do not take the machine.
 */
import type { Prober } from '../mp/prober.ts'
import type { Node } from '../node/node.ts'
import { type PathChange, PathHistory } from './history.ts'
import { CLOSE_MS } from './pace.ts'
import { CLASSES, type Followed, PeerPaths } from './peer-paths.ts'

/** Peers visited in one round of CLOSE_MS; the others have their turn in the next ones. */
const VISITS = 100

export interface PathControlOptions {
  node: Node
  prober: Prober
  /** PeerPathsContext */
  quietMs: number
  changed?: (change: PathChange) => void
}

export class PathControl {
  readonly history = new PathHistory()
  readonly #options: PathControlOptions
  readonly #followed = new Map<number, PeerPaths>()
  /** Those that are due before the role's next look, oldest wish first. */
  readonly #close = new Set<PeerPaths>()
  #round: NodeJS.Timeout | undefined
  #stopped = false

  constructor(options: PathControlOptions) {
    this.#options = options
  }

  follow(peer: Followed): PeerPaths {
    const { node, prober, quietMs } = this.#options
    const paths = new PeerPaths(peer, {
      node,
      prober,
      quietMs,
      changed: change => this.#changed(change),
      delaysTold: () => this.#lead(),
    })
    this.#followed.set(peer.index, paths)
    return paths
  }

  peers(): Iterable<PeerPaths> {
    return this.#followed.values()
  }

  forget(paths: PeerPaths): void {
    this.#close.delete(paths)
    if (this.#followed.get(paths.peer.index) === paths) this.#followed.delete(paths.peer.index)
  }

  /** Looks at what is due of one peer; what is due before long is visited without being asked. */
  look(paths: PeerPaths): void {
    const { node } = this.#options
    const now = node.now()
    const next = paths.look(now)
    // Behind the others that wait.
    this.#close.delete(paths)
    if (next >= now + node.config.timers.probeMs || this.#stopped) return
    this.#close.add(paths)
    this.#round ??= setTimeout(() => this.#visit(), CLOSE_MS)
  }

  /** The programs left a path, or have something else to tell of it. */
  told(handle: number): void {
    const session = this.#options.node.sessions.get((handle & ~15) >>> 0)
    const paths = session && this.#followed.get(session.peer)
    if (!paths || paths.sid !== session.sid) return
    paths.hurry(handle & 15)
    this.look(paths)
  }

  #visit(): void {
    this.#round = undefined
    let visits = 0
    for (const paths of [...this.#close]) {
      if (visits++ >= VISITS) break
      this.look(paths)
    }
    if (this.#close.size > 0 && !this.#stopped) this.#round ??= setTimeout(() => this.#visit(), CLOSE_MS)
  }

  #changed(change: PathChange): void {
    const { node, changed } = this.#options
    this.history.add(change)
    const { peer, link, from, to, reason } = change
    node.log.info({ peer, link, from, to, reason }, `path ${link} to ${peer}: ${to}${reason && `, ${reason}`}`)
    changed?.(change)
  }

  /** Queues in front of the links are told what packets wait in them for: the most that any peer's do. */
  #lead(): void {
    const { node } = this.#options
    const leads = new Map<number, number[]>()
    for (const paths of this.#followed.values())
      for (const [ifindex, klass, us] of paths.leads()) {
        const link = leads.get(ifindex) ?? CLASSES.map(() => 0)
        link[klass] = Math.max(link[klass] ?? 0, us)
        leads.set(ifindex, link)
      }
    node.wan.lead(leads).catch(error => node.log.warn({ err: error }, 'queues of WAN links stay as they are'))
  }

  stop(): void {
    this.#stopped = true
    clearTimeout(this.#round)
  }
}
