/**
 * The round trip that is normal for a path. It follows a shorter one at once and a longer one slowly: a queue is an exception for its time, another
 * route of the network becomes the rule within minutes.
 */

/** Time constant upwards. */
const ADAPT_MS = 120_000

export class UsualRtt {
  #ms: number | undefined
  #atMs = 0

  add(nowMs: number, rttMs: number): void {
    const share = Math.min(1, Math.max(0, nowMs - this.#atMs) / ADAPT_MS)
    this.#atMs = nowMs
    this.#ms = this.#ms === undefined || rttMs < this.#ms ? rttMs : this.#ms + share * (rttMs - this.#ms)
  }

  get ms(): number | undefined {
    return this.#ms
  }
}
