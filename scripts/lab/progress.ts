/** How long a TCP connection stood still: the bytes that its receiving kernel has taken, asked for again and again. */
import { setTimeout as sleep } from 'node:timers/promises'
import { LabError } from './error.ts'
import type { Lab } from './lab.ts'

const EVERY_MS = 100

export class Progress {
  readonly #lab: Lab
  readonly #host: string
  readonly #port: number
  readonly #ended: Promise<void>
  #watching = true
  #bytes = 0
  #since = performance.now()
  #longestMs = 0
  #failure: unknown

  /** @param port that the receiver listens on */
  constructor(lab: Lab, host: string, port: number) {
    this.#lab = lab
    this.#host = host
    this.#port = port
    this.#ended = this.#watch().catch(error => {
      this.#failure = error
    })
  }

  async #watch(): Promise<void> {
    while (this.#watching) {
      const argv = ['ss', '-Htin', 'state', 'established', `sport = :${this.#port}`]
      const bytes = Number(/bytes_received:(\d+)/.exec(await this.#lab.run(this.#host, argv))?.[1] ?? 0)
      const now = performance.now()
      this.#longestMs = Math.max(this.#longestMs, now - this.#since)
      if (bytes !== this.#bytes) this.#since = now
      this.#bytes = bytes
      await sleep(EVERY_MS)
    }
  }

  get bytes(): number {
    return this.#bytes
  }

  /** @returns the longest time without a byte, in ms. @throws LabError when the connection could not be watched, or carried nothing */
  async stop(): Promise<number> {
    this.#watching = false
    await this.#ended
    if (this.#failure) throw this.#failure
    if (this.#bytes === 0) throw new LabError('claim', `no connection to port ${this.#port} of ${this.#host}`)
    return Math.round(this.#longestMs)
  }
}
