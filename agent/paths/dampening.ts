/**
 * How long a path that was left must behave before it is used again. Each further time doubles it, so that a path which comes and goes costs less
 * and less; good time pays the debt back.
 */

/** Good time that halves what was doubled once, ms. */
const FORGIVEN = 60_000

/** Of the configuration's timers. */
export interface Hold {
  holdMs: number
  longestHoldMs: number
  /** No two departures are nearer than this, whatever the path does. */
  leaveEveryMs: number
}

export class Dampening {
  readonly #hold: Hold
  /** Departures that still count. */
  #count = 0
  #leftMs = Number.NEGATIVE_INFINITY
  #returnedMs = Number.NEGATIVE_INFINITY

  constructor(hold: Hold) {
    this.#hold = hold
  }

  left(nowMs: number): void {
    if (Number.isFinite(this.#returnedMs)) {
      const forgiven = Math.floor((nowMs - this.#returnedMs) / Math.max(FORGIVEN, this.#holdMs))
      this.#count = Math.max(0, this.#count - forgiven)
    }
    this.#count += 1
    this.#leftMs = nowMs
  }

  returned(nowMs: number): void {
    this.#returnedMs = nowMs
  }

  get #holdMs(): number {
    const { holdMs, longestHoldMs } = this.#hold
    return Math.min(longestHoldMs, holdMs * 2 ** Math.max(0, this.#count - 1))
  }

  /** @param goodSinceMs since when nothing was wrong. @returns ms until the path may be used; 0: now */
  waitMs(nowMs: number, goodSinceMs: number): number {
    return Math.max(0, goodSinceMs + this.#holdMs - nowMs, this.#leftMs + this.#hold.leaveEveryMs - nowMs)
  }
}
