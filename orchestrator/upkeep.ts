/** What time alone makes necessary: grants are renewed at half of their life, and so is the server certificate. */
import type { Logger } from 'pino'
import type { Grants } from './store/grants.ts'
import type { Store } from './store/store.ts'

/** Grants renewed in one work: others wait for it, so it must stay short. */
const BATCH = 200
const CERTIFICATE_INTERVAL_MS = 12 * 3_600_000

export class Upkeep {
  readonly #store: Store
  readonly #grants: Grants
  readonly #log: Logger
  readonly #timers: NodeJS.Timeout[] = []
  #renewing: Promise<void> | undefined

  constructor(options: { store: Store; grants: Grants; log: Logger }) {
    this.#store = options.store
    this.#grants = options.grants
    this.#log = options.log
  }

  /** @param lifetimeMs of grants: looked after twenty times in it, at most once a minute and at least once a second */
  start(lifetimeMs: number, renewCertificate: () => Promise<void>): void {
    const interval = Math.min(60_000, Math.max(1000, lifetimeMs / 20))
    this.#every(interval, 'renew grants', () => this.renewGrants())
    this.#every(CERTIFICATE_INTERVAL_MS, 'renew the server certificate', renewCertificate)
  }

  #every(ms: number, what: string, run: () => Promise<void>): void {
    const timer = setInterval(() => {
      run().catch(error => this.#log.error({ err: error }, `cannot ${what}; trying again`))
    }, ms)
    timer.unref()
    this.#timers.push(timer)
  }

  async renewGrants(): Promise<void> {
    this.#renewing ??= this.#renewAll().finally(() => {
      this.#renewing = undefined
    })
    await this.#renewing
  }

  async #renewAll(): Promise<void> {
    for (;;) {
      const renewed = await this.#store.work('orchestrator', work => this.#grants.renew(work, BATCH))
      if (renewed > 0) this.#log.info({ renewed }, 'grants renewed')
      if (renewed < BATCH) return
    }
  }

  async stop(): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer)
    // A failure was logged by the timer that started it.
    await this.#renewing?.catch(() => {})
  }
}
