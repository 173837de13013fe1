/**
 * Writes the snapshot for a successor: 50 ms after a lone change, and in a storm of changes twice a second. One of a gateway with 10,000 edges takes
 * 100 ms and more to make, so the time to the next also grows with what the last one took: writing never has more than a twentieth of the time.
 */
import type { Logger } from '../log.ts'

const DELAY_MS = 50
const INTERVAL_MS = 500
const INTERVAL_PER_COST = 20

export class Snapshots {
  readonly #write: () => void
  readonly #log: Logger
  #timer: NodeJS.Timeout | undefined
  /** ms, monotonic: not before. */
  #next = 0

  /** @param write makes and writes it; what it throws is logged, since an agent without a snapshot can do all but be adopted */
  constructor(write: () => void, log: Logger) {
    this.#write = write
    this.#log = log
  }

  /** Something changed that is worth remembering. */
  save(): void {
    this.#timer ??= setTimeout(() => this.saveNow(), Math.max(DELAY_MS, this.#next - performance.now()))
  }

  saveNow(): void {
    this.cancel()
    const begin = performance.now()
    try {
      this.#write()
    } catch (error) {
      this.#log.error({ err: error }, `snapshot not written: ${error instanceof Error ? error.message : String(error)}`)
    }
    const cost = performance.now() - begin
    this.#next = begin + Math.max(INTERVAL_MS, INTERVAL_PER_COST * cost)
  }

  cancel(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
  }
}
