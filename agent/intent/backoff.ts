/** Waiting times between attempts: doubling, with full jitter, so that thousands of nodes do not come back at the same moment. */
const FIRST_MS = 250
const LONGEST_MS = 15_000
/** When the answer was no: an operator has to act first. */
const REFUSED_MS = 60_000

export class Backoff {
  readonly #random: () => number
  #attempt = 0
  #longest = LONGEST_MS

  constructor(random: () => number = Math.random) {
    this.#random = random
  }

  /** @returns ms, between half and the whole of the current step */
  next(): number {
    const step = Math.min(FIRST_MS * 2 ** this.#attempt, this.#longest)
    this.#attempt++
    return step * (0.5 + this.#random() / 2)
  }

  slow(): void {
    this.#longest = REFUSED_MS
  }

  /** Call it when work goes on, not when a connection opens: one that opens and is closed at once is no success. */
  reset(): void {
    this.#attempt = 0
    this.#longest = LONGEST_MS
  }
}
