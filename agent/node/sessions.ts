/** The MP sessions of one node as resources, with the ids and SPIs that they hold; adoption of those that a former agent left. */
import { hasBundle, newSpi, type SessionPath, type SessionSpec, sessionResources } from '../mp/session.ts'
import type { Reconciler } from '../plan/reconciler.ts'
import { keyOf, type Resource } from '../plan/resource.ts'
import { SidPool } from './sid-pool.ts'

/** A session as the agent remembers it; its keys are in the kernel only. */
export interface LiveSession {
  sid: number
  remoteSid: number
  peer: number
  esp: boolean
  /** ms on the machine's monotonic clock. */
  created: number
  paths: Omit<SessionPath, 'conf'>[]
}

export interface SessionsOptions {
  reconciler: Reconciler
  /** Entries of the sessions map. */
  places: number
  /** ms, monotonic. */
  now: () => number
  /** The list of sessions has changed. */
  changed: () => void
}

export class Sessions {
  readonly #reconciler: Reconciler
  readonly #now: () => number
  readonly #changed: () => void
  readonly #live = new Map<number, LiveSession>()
  /** Keys of each session's resources. */
  readonly #keys = new Map<number, string[]>()
  readonly #spis = new Set<number>()
  readonly #sids: SidPool
  /** What a former agent left, by session. */
  #found: Map<number, Resource[]>

  constructor(options: SessionsOptions) {
    this.#reconciler = options.reconciler
    this.#now = options.now
    this.#changed = options.changed
    this.#sids = new SidPool(options.places)
    this.#found = bySession(options.reconciler.observed())
    for (const [sid, resources] of this.#found) {
      this.#sids.adopt(sid, placesOf(resources.map(resource => ({ path: (handleIn(resource) ?? 0) & 15 }))))
      this.#giveBackSid(sid, resources.map(keyOf))
    }
  }

  get size(): number {
    return this.#live.size
  }

  get(sid: number): LiveSession | undefined {
    return this.#live.get(sid)
  }

  values(): Iterable<LiveSession> {
    return this.#live.values()
  }

  /** Id for a session of these paths; undefined when there is no room for another. */
  newSid(paths: readonly { path: number }[]): number | undefined {
    return this.#sids.take(placesOf(paths))
  }

  #giveBackSid(sid: number, keys: readonly string[]): void {
    this.#sids.giveBack(sid, () => !keys.some(key => this.#reconciler.exists(key)))
  }

  newSpi(): number {
    const spi = newSpi(candidate => this.#spis.has(candidate))
    this.#spis.add(spi)
    return spi
  }

  releaseSpi(spi: number): void {
    this.#spis.delete(spi)
  }

  /** The caller flushes. @throws RangeError when the peer offers an SPI that another of its sessions uses: two SAs cannot share one */
  install(spec: SessionSpec): LiveSession {
    const resources = sessionResources(spec)
    const keys = resources.map(keyOf)
    const taken = keys.find(key => this.#reconciler.desired(key))
    if (taken) throw new RangeError(`session ${spec.sid}: ${taken} is in use by another session`)
    const live: LiveSession = {
      sid: spec.sid,
      remoteSid: spec.remoteSid,
      peer: spec.peer,
      esp: spec.esp !== undefined,
      created: this.#now(),
      paths: spec.paths.map(({ conf, ...path }) => path),
    }
    this.#live.set(spec.sid, live)
    this.#keys.set(spec.sid, keys)
    for (const resource of resources) this.#reconciler.want(resource)
    this.#changed()
    return live
  }

  /** Also of an id that no session was made of. The caller flushes. */
  remove(sid: number): void {
    const live = this.#live.get(sid)
    const keys = this.#keys.get(sid) ?? []
    for (const key of keys) this.#reconciler.drop(key)
    this.#giveBackSid(sid, keys)
    if (!live) return
    for (const { spiIn } of live.paths) this.releaseSpi(spiIn)
    this.#live.delete(sid)
    this.#keys.delete(sid)
    this.#changed()
  }

  /** Takes over a session of the former agent as it stands in the kernel. False when it is not whole. */
  adopt(live: LiveSession): boolean {
    const mine = this.#found.get(live.sid) ?? []
    // Entry, what its paths have in common, then state and addresses of each path, then two SAs and a policy.
    const whole = 1 + Number(hasBundle(live.paths)) + live.paths.length * (live.esp ? 5 : 2)
    if (this.#live.has(live.sid) || mine.length !== whole) return false
    for (const resource of mine) this.#reconciler.want(resource)
    for (const { spiIn } of live.paths) this.#spis.add(spiIn)
    this.#sids.adopt(live.sid, placesOf(live.paths))
    this.#live.set(live.sid, live)
    this.#keys.set(live.sid, mine.map(keyOf))
    return true
  }

  /** Nothing more will be adopted. */
  adopted(): void {
    this.#found = new Map()
  }

  /** ms since the session was made. */
  ageMs(live: LiveSession): number {
    return Math.max(0, this.#now() - live.created)
  }
}

function placesOf(paths: readonly { path: number }[]): number {
  return 1 + Math.max(0, ...paths.map(({ path }) => path))
}

/** Sorted once: a gateway comes back with 10,000 sessions. */
function bySession(resources: Iterable<Resource>): Map<number, Resource[]> {
  const found = new Map<number, Resource[]>()
  for (const resource of resources) {
    const handle = handleIn(resource)
    if (handle === undefined) continue
    const sid = (handle & ~15) >>> 0
    const list = found.get(sid)
    if (list) list.push(resource)
    else found.set(sid, [resource])
  }
  return found
}

function handleIn(resource: Resource): number | undefined {
  switch (resource.kind) {
    case 'session':
    case 'bundle':
      return resource.sid
    case 'path-conf':
    case 'path-state':
      return resource.handle
    case 'association':
    case 'policy':
      return resource.value.ifId
    default:
      return undefined
  }
}
