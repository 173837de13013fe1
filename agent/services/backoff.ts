/** Who failed to start waits before the next try: twice as long each time. */

const FIRST_MS = 1000
const LONGEST_MS = 60_000

interface Failing {
  failures: number
  untilMs: number
  reason: string
}

export class Backoff {
  readonly #failing = new Map<string, Failing>()

  failed(key: string, nowMs: number, reason: string): void {
    const failures = (this.#failing.get(key)?.failures ?? 0) + 1
    this.#failing.set(key, { failures, untilMs: nowMs + Math.min(LONGEST_MS, FIRST_MS * 2 ** (failures - 1)), reason })
  }

  worked(key: string): void {
    this.#failing.delete(key)
  }

  waits(key: string, nowMs: number): boolean {
    return this.pauseMs(key, nowMs) > 0
  }

  /** ms until the next try. */
  pauseMs(key: string, nowMs: number): number {
    return Math.max(0, (this.#failing.get(key)?.untilMs ?? 0) - nowMs)
  }

  /** Why it failed last; undefined: it did not. */
  reason(key: string): string | undefined {
    return this.#failing.get(key)?.reason
  }
}
