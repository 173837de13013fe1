/**
 * Timestamps of initiations: µs since 1970, strictly increasing per static key, so that an initiation cannot be played again (WireGuard §5.1
 * does the same with TAI64N).
 */

/**
 * ms by which a sender's clock may be ahead of the responder's. Without a bound one wrong clock would leave a timestamp that nobody can exceed: for its
 * own key, and for others once the table forgets it.
 */
export const MAX_AHEAD_MS = 30 * 86_400_000

/** One per static key: shared by all initiators that use it, whichever gateway they talk to. */
export class TimestampSource {
  readonly #now: () => number
  #last = 0

  /** @param now Unix ms */
  constructor(now: () => number) {
    this.#now = now
  }

  next(): number {
    this.#last = Math.max(Math.floor(this.#now() * 1000), this.#last + 1)
    return this.#last
  }

  /** Follows the clock again, also backwards: it was set right after a time far ahead. */
  restart(): void {
    this.#last = 0
  }

  /** Goes on above `timestamp`, also when the clock was set back meanwhile. */
  continueAfter(timestamp: number): void {
    this.#last = Math.max(this.#last, timestamp)
  }
}

/** `duplicate`: the network delivered the packet twice. `old`: played again, or the sender's clock was set back; `after` is what to exceed. */
export type TimestampVerdict =
  | { ok: true }
  | { ok: false; reason: 'duplicate' }
  | { ok: false; reason: 'old'; after: number }

/**
 * The newest timestamp of each static key that a responder accepted. Bounded: the key heard longest ago is forgotten, and from then on unknown
 * keys have to exceed its timestamp, so forgetting never lets an old packet in.
 */
export class TimestampTable {
  readonly #limit: number
  readonly #newest = new Map<string, number>()
  #floor = 0

  constructor(limit = 65_536) {
    this.#limit = limit
  }

  get size(): number {
    return this.#newest.size
  }

  /** Checks and, when it is newer, records. Only for timestamps that are authentic. */
  accept(staticKey: Uint8Array, timestamp: number): TimestampVerdict {
    const key = Buffer.from(staticKey).toString('base64')
    const newest = this.#newest.get(key)
    if (timestamp === newest) return { ok: false, reason: 'duplicate' }
    const after = newest ?? this.#floor
    if (timestamp <= after) return { ok: false, reason: 'old', after }
    this.#newest.delete(key) // a map remembers the order of insertion: the first is the one heard longest ago
    this.#newest.set(key, timestamp)
    if (this.#newest.size > this.#limit) this.#forgetFirst()
    return { ok: true }
  }

  /** For the state file: [base64 of the static key, timestamp], the key heard longest ago first; `floor` beside it. */
  export(): { floor: number; newest: [string, number][] } {
    return { floor: this.#floor, newest: [...this.#newest] }
  }

  /** Merges: a key keeps its higher timestamp. */
  import(saved: { floor: number; newest: readonly (readonly [string, number])[] }): void {
    this.#floor = Math.max(this.#floor, saved.floor)
    for (const [key, timestamp] of saved.newest) {
      this.#newest.set(key, Math.max(timestamp, this.#newest.get(key) ?? 0))
      if (this.#newest.size > this.#limit) this.#forgetFirst()
    }
  }

  #forgetFirst(): void {
    for (const [key, timestamp] of this.#newest) {
      this.#newest.delete(key)
      this.#floor = Math.max(this.#floor, timestamp)
      return
    }
  }
}
