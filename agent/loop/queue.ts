/**
 * Work that arrives in bursts: when a thousand connections have something to read, the event loop would deliver all of it before it looks at a timer
 * or a handshake again. What is put here is done in the order it came, a slice in each turn of the loop.
 */
import { Slices } from './slices.ts'

export class WorkQueue {
  #work: (() => void)[] = []
  #next = 0
  #turn: NodeJS.Immediate | undefined

  get empty(): boolean {
    return this.#next === this.#work.length
  }

  /** What `work` throws is an uncaught exception, as if it came from the event loop itself; the rest is still done. */
  add(work: () => void): void {
    this.#work.push(work)
    this.#turn ??= setImmediate(() => this.#run())
  }

  #run(): void {
    this.#turn = undefined
    const slices = new Slices()
    try {
      while (!slices.over) {
        const work = this.#work[this.#next]
        if (!work) break
        this.#next += 1
        work()
      }
    } finally {
      if (this.#next === this.#work.length) {
        this.#work = []
        this.#next = 0
      } else this.#turn ??= setImmediate(() => this.#run())
    }
  }

  /** Forgets what was not done. */
  clear(): void {
    clearImmediate(this.#turn)
    this.#turn = undefined
    this.#work = []
    this.#next = 0
  }
}
