/**
 * Keeps the kernel equal to what the agent wants. Callers say what they want (`want`, `drop`) and `flush`; only touched keys are planned, so the
 * cost follows the change and not the size of the network. A run takes a bounded number of routes, so that a handshake does not wait for a million.
 */
import type { Dataplane, KernelPort } from '../kernel/port.ts'
import { Slices } from '../loop/slices.ts'
import { apply, type Failure, HeldBack } from './apply.ts'
import { Plan } from './plan.ts'
import { affectsRoutes, isRouteTarget, keyOf, type Resource } from './resource.ts'
import { isRouteKey, RouteStates } from './route-states.ts'

export interface ReconcilerOptions {
  port: KernelPort
  dataplane: Dataplane
  /** What is in the kernel already (from `observe`), all of it taken as unwanted until wanted. */
  observed?: Iterable<Resource>
  onFailure?: (failure: Failure) => void
  /** A run that nobody waits for broke off; everything it had to do is tried again. */
  onError?: (error: unknown) => void
  /** ms after which failed operations are tried again. */
  retryMs?: number
}

const ROUTES_PER_RUN = 8192

export class Reconciler {
  readonly #port: KernelPort
  readonly #dataplane: Dataplane
  readonly #desired = new Map<string, Resource>()
  readonly #observed = new Map<string, Resource>()
  readonly #routes = new RouteStates()
  readonly #dirty = new Set<string>()
  readonly #dirtyRoutes = new Set<string>()
  /** What routes led to, and no longer should: it goes when a run has taken the last of them. */
  readonly #leaving = new Set<string>()
  /** Tried again later. */
  readonly #failed = new Set<string>()
  readonly #onFailure: (failure: Failure) => void
  readonly #onError: (error: unknown) => void
  readonly #retryMs: number
  /** Some of them are routes: what they lead to has to stay. */
  #routesFailed = false
  /** Flows do not know yet that routes have changed. */
  #routesChanged = false
  #running: Promise<Failure[]> | undefined
  #next: Promise<Failure[]> | undefined
  #retry: NodeJS.Timeout | undefined
  #continue: NodeJS.Immediate | undefined
  #closed = false

  constructor(options: ReconcilerOptions) {
    this.#port = options.port
    this.#dataplane = options.dataplane
    this.#onFailure = options.onFailure ?? (() => {})
    this.#onError = options.onError ?? (() => {})
    this.#retryMs = options.retryMs ?? 1000
    for (const resource of options.observed ?? []) this.#observe(keyOf(resource), resource)
  }

  /** The kernel object should exist like this. */
  want(resource: Resource): void {
    const key = keyOf(resource)
    if (resource.kind === 'fib') this.#routes.want(key, resource.nexthop)
    else this.#desired.set(key, resource)
    this.#touch(key)
  }

  /** The kernel object should not exist (any more). */
  drop(resource: Resource | string): void {
    const key = typeof resource === 'string' ? resource : keyOf(resource)
    if (isRouteKey(key)) this.#routes.want(key, 0)
    else this.#desired.delete(key)
    this.#touch(key)
  }

  #touch(key: string): void {
    this.#failed.delete(key)
    this.#leaving.delete(key)
    if (isRouteKey(key)) this.#dirtyRoutes.add(key)
    else this.#dirty.add(key)
  }

  desired(key: string): Resource | undefined {
    return isRouteKey(key) ? this.#routes.desired(key) : this.#desired.get(key)
  }

  /** Is the object in the kernel, as far as this agent knows? */
  exists(key: string): boolean {
    return this.#present(key) !== undefined
  }

  #present(key: string): Resource | undefined {
    return isRouteKey(key) ? this.#routes.observed(key) : this.#observed.get(key)
  }

  /** @param resource undefined: it is not there any more */
  #observe(key: string, resource: Resource | undefined): void {
    if (isRouteKey(key)) this.#routes.observe(key, resource?.kind === 'fib' ? resource.nexthop : 0)
    else if (resource) this.#observed.set(key, resource)
    else this.#observed.delete(key)
  }

  *observed(): Iterable<Resource> {
    yield* this.#observed.values()
    yield* this.#routes.allObserved()
  }

  /** Marks everything that is observed but not wanted: the next flush removes it. Called once, when adoption is complete. */
  sweep(): void {
    for (const key of this.#observed.keys()) if (!this.#desired.has(key)) this.#touch(key)
    for (const key of this.#routes.unwanted()) this.#touch(key)
  }

  /** Something else changed these objects: forget what was observed, so that they are written again. */
  forget(resources: Iterable<Resource>): void {
    for (const resource of resources) {
      const key = keyOf(resource)
      this.#observe(key, undefined)
      if (this.desired(key)) this.#touch(key)
    }
  }

  /**
   * Resolves when everything that was wanted at the time of the call has been tried, but for routes beyond a run's share, which follow by themselves.
   * Returns what failed of it. Calls during a run share the following run.
   */
  flush(): Promise<Failure[]> {
    if (!this.#running) {
      this.#running = this.#run().finally(() => {
        this.#running = undefined
      })
      return this.#running
    }
    this.#next ??= this.#running
      .catch(() => [])
      .then(() => {
        this.#next = undefined
        return this.flush()
      })
    return this.#next
  }

  /** Everything that was wanted has been tried. */
  get idle(): boolean {
    return !this.#running && this.#dirty.size === 0 && this.#dirtyRoutes.size === 0 && this.#leaving.size === 0
  }

  async #run(): Promise<Failure[]> {
    if (this.#closed) return []
    const keys = this.#take()
    try {
      return await this.#tryAll(keys)
    } catch (error) {
      // The dataplane was closed while it was at it: what is left is the next agent's.
      if (this.#closed) return []
      this.#tryLater(keys)
      throw error
    } finally {
      const leaving = this.#routesFailed ? 0 : this.#leaving.size
      if (this.#dirtyRoutes.size + leaving > 0 && !this.#closed)
        this.#continue ??= setImmediate(() => this.#flushAlone())
    }
  }

  /** What the next run is about. Routes are counted by themselves: however much else there is, a run takes its share of them. */
  #take(): string[] {
    const routes: string[] = []
    for (const key of this.#dirtyRoutes) if (routes.push(key) === ROUTES_PER_RUN) break
    for (const key of routes) this.#dirtyRoutes.delete(key)
    const keys = [...this.#dirty, ...routes]
    this.#dirty.clear()
    if (this.#dirtyRoutes.size > 0 || this.#routesFailed) return keys.filter(key => !this.#waits(key))
    for (const key of this.#leaving) keys.push(key)
    this.#leaving.clear()
    return keys
  }

  /** Routes that this run does not take, or that could not be changed, may still lead to it. */
  #waits(key: string): boolean {
    const present = isRouteKey(key) ? undefined : this.#observed.get(key)
    if (!present || !isRouteTarget(present) || this.#desired.has(key)) return false
    this.#leaving.add(key)
    return true
  }

  async #tryAll(keys: readonly string[]): Promise<Failure[]> {
    const slices = new Slices()
    const plan = new Plan()
    for (const key of keys) {
      plan.add({ desired: this.desired(key), observed: this.#present(key) })
      if (slices.over) await slices.rest()
    }
    const failures = await apply(plan.stages(), this.#port, this.#dataplane, operation => {
      const key = keyOf(operation.resource)
      this.#observe(key, operation.action === 'delete' ? undefined : operation.resource)
      const before = operation.action === 'replace' ? operation.before : undefined
      this.#routesChanged ||= affectsRoutes(operation.resource, before)
    })
    if (this.#routesChanged) this.#newEpoch()
    for (const failure of failures) if (!(failure.error instanceof HeldBack)) this.#onFailure(failure)
    this.#tryLater(failures.map(({ operation }) => keyOf(operation.resource)))
    return failures
  }

  #tryLater(keys: readonly string[]): void {
    for (const key of keys) if (!this.#dirty.has(key) && !this.#dirtyRoutes.has(key)) this.#failed.add(key)
    this.#routesFailed ||= keys.some(isRouteKey)
    if (this.#failed.size === 0 || this.#closed) return
    this.#retry ??= setTimeout(() => {
      this.#retry = undefined
      this.#routesFailed = false
      for (const key of this.#failed) this.#touch(key)
      this.#flushAlone()
    }, this.#retryMs)
  }

  #flushAlone(): void {
    this.#continue = undefined
    this.flush().catch(this.#onError)
  }

  #newEpoch(): void {
    const { node } = this.#dataplane.maps
    const config = node.get(0)
    if (config) node.set(0, { ...config, routeEpoch: (config.routeEpoch + 1) >>> 0 })
    this.#routesChanged = false
  }

  /** Flushes do nothing any more: the kernel belongs to the next agent. */
  close(): void {
    this.#closed = true
    clearTimeout(this.#retry)
    clearImmediate(this.#continue)
  }
}
