/** What was counted in the last so many milliseconds, by a few totals kept from the past. */

/** Since the path is followed; never decreasing. */
export interface Totals {
  atMs: number
  sentBytes: number
  receivedBytes: number
  /** Packet numbers that the peer has used, and packets of them that came. */
  expected: number
  received: number
  /** The same of the other direction, as the peer told. */
  toldExpected: number
  toldReceived: number
  reordered: number
  /** Received packets by delay, struct path_state. */
  delay: readonly number[]
}

export class SlidingWindow {
  readonly #spanMs: number
  readonly #stepMs: number
  /** Oldest first, a step apart. */
  #kept: Totals[] = []

  constructor(spanMs: number, steps: number) {
    this.#spanMs = spanMs
    this.#stepMs = spanMs / steps
  }

  push(totals: Totals): void {
    const newest = this.#kept.at(-1)
    if (newest && totals.atMs - newest.atMs < this.#stepMs) return
    this.#kept.push(totals)
    // The first that is old enough is where the window begins; what is before it is of no use.
    const begin = totals.atMs - this.#spanMs
    while ((this.#kept[1]?.atMs ?? Number.POSITIVE_INFINITY) <= begin) this.#kept.shift()
  }

  /** Totals where the window begins: about its span ago, or as far as it reaches back. */
  get base(): Totals | undefined {
    return this.#kept[0]
  }

  clear(): void {
    this.#kept = []
  }
}
