/** Events on their way to the orchestrator: in order, in batches, bounded. */
import type { NodeEvent } from '../../schema/node-state.ts'

const CAPACITY = 1000
/** As many as one call may carry (orchestrator/api/agent.ts). */
const BATCH = 100
const RETRY_MS = 5000

export class EventQueue {
  readonly #send: (batch: NodeEvent[]) => Promise<void>
  readonly #queue: NodeEvent[] = []
  #running = false
  #sending = false
  #retry: NodeJS.Timeout | undefined
  #lost = 0

  constructor(send: (batch: NodeEvent[]) => Promise<void>) {
    this.#send = send
  }

  get lost(): number {
    return this.#lost
  }

  add(event: NodeEvent): void {
    this.#queue.push(event)
    if (this.#queue.length > CAPACITY) {
      this.#queue.shift()
      this.#lost++
    }
    void this.#flush()
  }

  resume(): void {
    this.#running = true
    void this.#flush()
  }

  pause(): void {
    this.#running = false
    clearTimeout(this.#retry)
  }

  /** What was sent leaves the queue only when the orchestrator has it: after a cut it may be told twice, never not at all. */
  async #flush(): Promise<void> {
    if (this.#sending) return
    this.#sending = true
    try {
      while (this.#running && this.#queue.length > 0) {
        const batch = this.#queue.slice(0, BATCH)
        await this.#send(batch)
        for (const sent of batch) {
          // The oldest may have fallen out while the call was under way.
          const at = this.#queue.indexOf(sent)
          if (at >= 0) this.#queue.splice(at, 1)
        }
      }
    } catch {
      clearTimeout(this.#retry)
      if (this.#running) this.#retry = setTimeout(() => void this.#flush(), RETRY_MS).unref()
    } finally {
      this.#sending = false
    }
  }
}
