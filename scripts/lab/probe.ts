/** Asks an echo every few milliseconds and tells at once when answers begin and when they end. Times are on this process's clock. */

import type { Lab } from './lab.ts'
import type { LabProcess } from './process.ts'
import { FLOW } from './tools.ts'
import { until } from './until.ts'

const PORT = 7100
const EVERY_MS = 3
/** Silence after which the service counts as gone. */
const SILENT_MS = 100

export class Probe {
  readonly #echo: LabProcess
  readonly #end = new AbortController()
  #state: 'silent' | 'answered' = 'silent'
  /** performance.now() of the last change */
  #since = performance.now()

  static async start(lab: Lab, options: { from: string; to: string; address: string }): Promise<Probe> {
    const echo = await lab.start(options.to, {
      name: `echo-${options.to}-${Date.now()}`,
      argv: [FLOW, 'echo', '--port', String(PORT)],
    })
    await until('the echo listens', 20_000, async () => echo.output().includes('ready'))
    return new Probe(lab, options, echo)
  }

  private constructor(lab: Lab, options: { from: string; address: string }, echo: LabProcess) {
    this.#echo = echo
    const argv = [FLOW, 'probe', '--to', options.address, '--port', String(PORT)]
    argv.push('--every-ms', String(EVERY_MS), '--silent-ms', String(SILENT_MS))
    lab
      .exec(options.from, argv, { signal: this.#end.signal, onStdout: chunk => this.#hear(chunk.toString()) })
      .catch(error => {
        if (!this.#end.signal.aborted) this.#failure = error
      })
  }

  #failure: unknown

  #hear(text: string): void {
    const word = text.trimEnd().split('\n').at(-1)
    if (word !== 'silent' && word !== 'answered') return
    this.#since = performance.now()
    this.#state = word
  }

  /** Resolves with the time (performance.now) at which the state became so, at once when it is so already. @throws LabError `deadline` */
  async becomes(state: 'silent' | 'answered', deadlineMs: number): Promise<number> {
    return until(`the probe is ${state}`, deadlineMs, async () => {
      if (this.#failure !== undefined) throw this.#failure
      return this.#state === state && this.#since
    })
  }

  async stop(): Promise<void> {
    this.#end.abort()
    await this.#echo.end('INT')
  }
}
