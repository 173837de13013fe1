/**
 * Tells the edges of a VRF what has changed. Changes of a few milliseconds become one message for all members, encoded once; only the records that
 * carry it are sealed for each. A round over ten thousand edges rests between them, so that the next changes can be taken meanwhile.
 */
import { PREFIXES_PER_MESSAGE, type RouteEntry } from '../../schema/route-messages.ts'
import { Slices } from '../loop/slices.ts'
import { EncodedMessage } from '../mp/route-session.ts'
import type { Vrf } from './vrfs.ts'

export interface RelayOptions {
  /** Has the kernel follow: before the members hear of it, since they send at once. */
  flush: () => void
  /** Called before a VRF's changes are taken up. */
  prepare: (vrf: Vrf) => void
  /** What to tell of a prefix; undefined: it is gone. */
  entry: (vrf: Vrf, prefix: string) => RouteEntry | undefined
  onError: (error: unknown) => void
  /** More announcements wait to be taken up. */
  busy: () => boolean
}

/** Changes are collected for so long, so that a toggle of 1,000 edges is not a million messages. */
const BATCH_MS = 5
/** A round that takes long is followed by a longer pause, in which more changes come together. */
const PAUSE_PER_COST = 2
const MAX_PAUSE_MS = 100
/** A round waits for the end of a burst of announcements: a second message costs each member as much as the first. But not longer than this. */
const PATIENCE_MS = 150

export class Relay {
  readonly #options: RelayOptions
  readonly #changed = new Set<Vrf>()
  #timer: NodeJS.Timeout | undefined
  #pauseMs = BATCH_MS
  #running = false
  #closed = false

  constructor(options: RelayOptions) {
    this.#options = options
  }

  /** The VRF has dirty prefixes. */
  changed(vrf: Vrf): void {
    this.#changed.add(vrf)
    this.#schedule()
  }

  #schedule(waitedMs = 0): void {
    if (this.#closed || this.#running || this.#changed.size === 0) return
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined
      const waited = waitedMs + this.#pauseMs
      if (this.#options.busy() && waited < PATIENCE_MS) {
        this.#pauseMs = BATCH_MS
        this.#schedule(waited)
        return
      }
      this.#running = true
      this.#round()
        .catch(this.#options.onError)
        .finally(() => {
          this.#running = false
          this.#schedule()
        })
    }, this.#pauseMs)
  }

  async #round(): Promise<void> {
    const begin = performance.now()
    const slices = new Slices()
    const vrfs = [...this.#changed]
    this.#changed.clear()
    for (const vrf of vrfs) this.#options.prepare(vrf)
    this.#options.flush()
    for (const vrf of vrfs) {
      for (const message of this.#messages(vrf)) {
        for (const { tell } of vrf.members.values()) {
          tell?.(message)
          if (slices.over) await slices.rest()
          if (this.#closed) return
        }
      }
    }
    this.#pauseMs = Math.min(MAX_PAUSE_MS, Math.max(BATCH_MS, PAUSE_PER_COST * (performance.now() - begin)))
  }

  /**
   * A message says how its prefixes are when it is made. What changes while it is on its way to the members is dirty again, so each of them hears the last
   * word last. Edges ignore their own prefixes, so that all get the same.
   */
  *#messages(vrf: Vrf): Iterable<EncodedMessage> {
    const { dirty } = vrf
    vrf.dirty = new Set()
    while (dirty.size > 0) {
      const routes: RouteEntry[] = []
      const prefixes: string[] = []
      for (const prefix of dirty) {
        dirty.delete(prefix)
        const entry = this.#options.entry(vrf, prefix)
        if (entry) routes.push(entry)
        else prefixes.push(prefix)
        if (routes.length + prefixes.length >= PREFIXES_PER_MESSAGE) break
      }
      if (prefixes.length > 0) yield new EncodedMessage({ type: 'unroutes', prefixes })
      if (routes.length > 0) yield new EncodedMessage({ type: 'routes', full: false, routes })
    }
  }

  close(): void {
    this.#closed = true
    clearTimeout(this.#timer)
  }
}
