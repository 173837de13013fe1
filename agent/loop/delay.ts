/**
 * How long the event loop kept others waiting: a timer fires every few milliseconds, and how late it is, is how late everything else was. What has been
 * measured lasts for a minute, so that a stall can still be seen by whoever asks for it a moment later.
 */
import { monitorEventLoopDelay } from 'node:perf_hooks'
import type { LoopStatus } from '../../schema/agent-api.ts'

/** ms. Fine enough to find stalls of 20 ms; a hundred wake-ups a second cost an idle edge nothing. */
const RESOLUTION_MS = 10
const WINDOW_MS = 60_000

export interface Delays {
  p50Ms: number
  p99Ms: number
  maxMs: number
}

export class LoopDelay {
  readonly #histogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS })
  readonly #timer: NodeJS.Timeout
  #before: Delays = NONE
  #longestMs = 0

  constructor() {
    this.#histogram.enable()
    this.#timer = setInterval(() => this.#turnOver(), WINDOW_MS)
    this.#timer.unref()
  }

  /** The worse of this minute and the one before. */
  read(): Delays {
    const now = this.#window()
    return {
      p50Ms: Math.max(now.p50Ms, this.#before.p50Ms),
      p99Ms: Math.max(now.p99Ms, this.#before.p99Ms),
      maxMs: Math.max(now.maxMs, this.#before.maxMs),
    }
  }

  /** Since the start. */
  get longestMs(): number {
    return Math.max(this.#longestMs, this.#window().maxMs)
  }

  status(): LoopStatus {
    return { ...this.read(), longestMs: this.longestMs }
  }

  /** What was measured so far is over: for a measurement of one thing. */
  reset(): void {
    this.#turnOver()
    this.#before = NONE
  }

  #turnOver(): void {
    this.#before = this.#window()
    this.#longestMs = Math.max(this.#longestMs, this.#before.maxMs)
    this.#histogram.reset()
  }

  #window(): Delays {
    if (this.#histogram.count === 0) return NONE
    return {
      p50Ms: late(this.#histogram.percentile(50)),
      p99Ms: late(this.#histogram.percentile(99)),
      maxMs: late(this.#histogram.max),
    }
  }

  close(): void {
    this.#histogram.disable()
    clearInterval(this.#timer)
  }
}

const NONE: Delays = { p50Ms: 0, p99Ms: 0, maxMs: 0 }

/** @param ns between two firings, the interval itself included */
function late(ns: number): number {
  return Math.max(0, ns / 1e6 - RESOLUTION_MS)
}
