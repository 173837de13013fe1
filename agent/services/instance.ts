/** One instance of a function: launch, adapters, health, end. What a driver does takes time; this keeps what is true meanwhile. */
import type { Chain } from './chains.ts'
import type { PlacedAdapter } from './compile.ts'
import type { FunctionConfig } from './config.ts'
import type { AdapterSide, InstanceDriver, Launched, LaunchSpec } from './driver.ts'
import type { InstanceFacts, InstanceState } from './lifecycle.ts'
import { checkHealth, type HealthCheck } from './monitor.ts'

export interface AdapterNumbers {
  index: number
  nexthopInside: number
  nexthopOutside: number
}

interface Attached extends AdapterNumbers {
  slot: number
  /** Undefined: being made. */
  side: AdapterSide | undefined
}

/** Who gives and takes what an instance needs, and is told what becomes of it. */
export interface InstanceHost {
  adapterNumbers(adopted?: number): AdapterNumbers | undefined
  giveAdapter(index: number): void
  now(): number
  /** State, adapters or health are others now. */
  changed(instance: Instance): void
  failed(instance: Instance, reason: string): void
}

/** What a successor needs to take it over. */
export interface SavedInstance {
  name: string
  number: number
  function: string
  enterprise: string | null
  state: 'ready' | 'draining' | 'dead'
  nat: string[]
  launched: Launched
  adapters: { position: string; index: number; slot: number; side: AdapterSide }[]
}

/** ms after which an adapter that could not be made is tried again. */
const RETRY_MS = 5000

export class Instance implements InstanceFacts {
  readonly spec: LaunchSpec
  readonly enterprise: string | null
  readonly #driver: InstanceDriver
  readonly #host: InstanceHost
  readonly #adapters = new Map<string, Attached>()
  #retryMs = 0
  #check: HealthCheck | undefined
  launched: Launched | undefined
  state: InstanceState = 'starting'
  sinceMs: number
  reason: string | undefined
  connections = 0
  mbps = 0
  /** Of the newest reading of its counters. */
  counted: { atMs: number; bytes: bigint } | undefined

  constructor(spec: LaunchSpec, enterprise: string | null, driver: InstanceDriver, host: InstanceHost) {
    this.spec = spec
    this.enterprise = enterprise
    this.#driver = driver
    this.#host = host
    this.sinceMs = host.now()
  }

  get name(): string {
    return this.spec.name
  }

  get function(): string {
    return this.spec.function.name
  }

  get config(): FunctionConfig {
    return this.spec.function
  }

  get managed(): boolean {
    return this.spec.function.driver.kind !== 'remote'
  }

  /** Rejects with why it failed, when everything is as if there had been none. */
  async launch(): Promise<void> {
    this.launched = await this.#driver.launch(this.spec)
    if (this.state === 'stopping') return
    // Somebody else's machine has to prove itself first.
    this.#set(this.managed || !this.#checked ? 'ready' : 'dead', undefined)
    this.#watch()
  }

  get #checked(): boolean {
    return this.config.health.kind !== 'none' && this.launched?.health !== undefined
  }

  #watch(): void {
    const { health } = this.config
    if (health.kind === 'none' || !this.launched?.health) return
    this.#check = checkHealth(this.launched.health, health, this.state !== 'dead', (healthy, reason) => {
      if (healthy && this.state === 'dead') this.#set('ready', undefined)
      else if (!healthy) this.die(reason)
    })
  }

  /** Takes over what a former agent left. False: there is nothing to take over. */
  async adopt(saved: SavedInstance, known: (position: string) => boolean): Promise<boolean> {
    if (!(await this.#driver.adopt(this.spec, saved.adapters))) return false
    this.launched = saved.launched
    this.state = saved.state
    for (const { position, index, slot, side } of saved.adapters) {
      const numbers = known(position) ? this.#host.adapterNumbers(index) : undefined
      if (numbers) this.#adapters.set(position, { ...numbers, slot, side })
      else this.#driver.detach(this.spec, slot).catch(() => {})
    }
    this.#watch()
    return true
  }

  saved(): SavedInstance | undefined {
    const { state, launched, spec } = this
    if (!launched || state === 'starting' || state === 'stopping') return undefined
    const adapters = [...this.#adapters].flatMap(([position, { index, slot, side }]) =>
      side ? [{ position, index, slot, side }] : [],
    )
    const { name, number } = spec
    return {
      name,
      number,
      function: this.function,
      enterprise: this.enterprise,
      state,
      nat: [...spec.nat],
      launched,
      adapters,
    }
  }

  /** It needs an adapter at each of these positions, and at no others. */
  serve(positions: ReadonlySet<string>): void {
    if (this.state === 'starting' || this.state === 'stopping') return
    for (const [position, adapter] of this.#adapters)
      if (!positions.has(position) && adapter.side) this.#detach(position, adapter)
    if (this.state === 'dead' && this.managed) return
    if (this.#host.now() < this.#retryMs) return
    for (const position of positions) if (!this.#adapters.has(position)) this.#attach(position)
  }

  #attach(position: string): void {
    const numbers = this.#host.adapterNumbers()
    if (!numbers) return
    const used = new Set([...this.#adapters.values()].map(each => each.slot))
    let slot = 0
    while (used.has(slot)) slot += 1
    const adapter: Attached = { ...numbers, slot, side: undefined }
    this.#adapters.set(position, adapter)
    this.#driver.attach(this.spec, slot).then(
      side => {
        adapter.side = side
        this.#host.changed(this)
      },
      error => {
        this.#adapters.delete(position)
        this.#host.giveAdapter(numbers.index)
        this.#retryMs = this.#host.now() + RETRY_MS
        this.#host.failed(this, error instanceof Error ? error.message : String(error))
      },
    )
  }

  #detach(position: string, adapter: Attached): void {
    this.#adapters.delete(position)
    this.#host.giveAdapter(adapter.index)
    this.#driver.detach(this.spec, adapter.slot).catch(error => this.#host.failed(this, String(error)))
  }

  adapterAt(position: string): PlacedAdapter | undefined {
    const adapter = this.#adapters.get(position)
    if (!adapter?.side) return undefined
    const { index, side, nexthopInside, nexthopOutside } = adapter
    return { index, side, nexthopInside, nexthopOutside, instance: this.spec.number, dead: this.state === 'dead' }
  }

  *adapterIndexes(): Iterable<number> {
    for (const { index } of this.#adapters.values()) yield index
  }

  drain(): void {
    this.#set('draining', undefined)
  }

  resume(): void {
    this.#set('ready', undefined)
  }

  /** It does not do its work any more. */
  die(reason: string): void {
    if (this.state === 'dead' || this.state === 'stopping') return
    this.#set('dead', reason)
    this.#host.failed(this, reason)
    if (!this.managed) return
    this.#check?.close()
    this.#driver.stop(this.spec).catch(error => this.#host.failed(this, String(error)))
  }

  /** Has it ended by itself? */
  look(): void {
    if (this.state !== 'ready' && this.state !== 'draining') return
    const failure = this.#driver.failure(this.name)
    if (failure !== undefined) this.die(failure)
  }

  /** Ends it for good. Its numbers are free afterwards. */
  async stop(reason: string): Promise<void> {
    this.#set('stopping', reason)
    this.#check?.close()
    await this.#driver.stop(this.spec)
    for (const { index } of this.#adapters.values()) this.#host.giveAdapter(index)
    this.#adapters.clear()
  }

  #set(state: InstanceState, reason: string | undefined): void {
    this.state = state
    this.reason = reason
    this.sinceMs = this.#host.now()
    this.#host.changed(this)
  }

  /** The agent ends; the instance stays. */
  close(): void {
    this.#check?.close()
  }
}

export const positionOf = (chain: Chain, hop: number) => `${chain.key} ${hop}`
