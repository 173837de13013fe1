/** Asks at intervals and notices silence. */

/** Runs `run` once after `ms`; the result cancels it. */
export type Schedule = (ms: number, run: () => void) => () => void

export const afterMs: Schedule = (ms, run) => {
  const timer = setTimeout(run, ms)
  timer.unref()
  return () => clearTimeout(timer)
}

export interface HeartbeatOptions {
  /** ms between beats. */
  intervalMs: number
  /** ms without `heard` after which the peer counts as silent, in whole intervals. */
  deadlineMs: number
  schedule: Schedule
  beat: () => void
  /** Once; no beat follows. */
  silent: (ms: number) => void
}

export class Heartbeat {
  readonly #options: HeartbeatOptions
  #heard = false
  #silentMs = 0
  #cancel: () => void
  #stopped = false

  constructor(options: HeartbeatOptions) {
    this.#options = options
    this.#cancel = options.schedule(options.intervalMs, () => this.#tick())
  }

  heard(): void {
    this.#heard = true
  }

  stop(): void {
    this.#stopped = true
    this.#cancel()
  }

  #tick(): void {
    const { intervalMs, deadlineMs, schedule, beat, silent } = this.#options
    const heard = this.#heard
    this.#silentMs = heard ? 0 : this.#silentMs + intervalMs
    this.#heard = false
    if (this.#silentMs >= deadlineMs) {
      silent(this.#silentMs)
      return
    }
    // Who speaks need not be asked: of two ends that both would, one does.
    if (!heard) beat()
    if (!this.#stopped) this.#cancel = schedule(intervalMs, () => this.#tick())
  }
}
