/**
 * Keeps the kernel equal to what the agent wants. Callers say what they want (`want`, `drop`) and `flush`; only touched keys are planned, so the
 * cost follows the change and not the size of the network.
 */
import type { Dataplane, KernelPort } from '../kernel/port.ts'
import { apply, type Failure } from './apply.ts'
import { changesBetween, plan } from './plan.ts'
import { affectsRoutes, keyOf, type Resource } from './resource.ts'

export interface ReconcilerOptions {
  port: KernelPort
  dataplane: Dataplane
  /** What is in the kernel already (from `observe`), all of it taken as unwanted until wanted. */
  observed?: Iterable<Resource>
  onFailure?: (failure: Failure) => void
  /** ms after which failed operations are tried again. */
  retryMs?: number
}

export class Reconciler {
  readonly #port: KernelPort
  readonly #dataplane: Dataplane
  readonly #desired = new Map<string, Resource>()
  readonly #observed = new Map<string, Resource>()
  readonly #dirty = new Set<string>()
  readonly #onFailure: (failure: Failure) => void
  readonly #retryMs: number
  #running: Promise<Failure[]> | undefined
  #next: Promise<Failure[]> | undefined
  #retry: NodeJS.Timeout | undefined
  #closed = false

  constructor(options: ReconcilerOptions) {
    this.#port = options.port
    this.#dataplane = options.dataplane
    this.#onFailure = options.onFailure ?? (() => {})
    this.#retryMs = options.retryMs ?? 1000
    for (const resource of options.observed ?? []) this.#observed.set(keyOf(resource), resource)
  }

  /** The kernel object should exist like this. */
  want(resource: Resource): void {
    const key = keyOf(resource)
    this.#desired.set(key, resource)
    this.#dirty.add(key)
  }

  /** The kernel object should not exist (any more). */
  drop(resource: Resource | string): void {
    const key = typeof resource === 'string' ? resource : keyOf(resource)
    this.#desired.delete(key)
    this.#dirty.add(key)
  }

  desired(key: string): Resource | undefined {
    return this.#desired.get(key)
  }

  /** Is the object in the kernel, as far as this agent knows? */
  exists(key: string): boolean {
    return this.#observed.has(key)
  }

  observed(): Iterable<Resource> {
    return this.#observed.values()
  }

  /** Marks everything that is observed but not wanted: the next flush removes it. Called once, when adoption is complete. */
  sweep(): void {
    for (const key of this.#observed.keys()) if (!this.#desired.has(key)) this.#dirty.add(key)
  }

  /** Something else changed these objects: forget what was observed, so that they are written again. */
  forget(resources: Iterable<Resource>): void {
    for (const resource of resources) {
      const key = keyOf(resource)
      this.#observed.delete(key)
      if (this.#desired.has(key)) this.#dirty.add(key)
    }
  }

  /**
   * Resolves when everything that was wanted at the time of the call has been tried; returns what failed of it. Calls during a run share the
   * following run.
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

  async #run(): Promise<Failure[]> {
    if (this.#closed) return []
    const keys = [...this.#dirty]
    this.#dirty.clear()
    const stages = plan(keys.map(key => ({ desired: this.#desired.get(key), observed: this.#observed.get(key) })))
    if (stages.length === 0) return []
    let routesChanged = false
    const failures = await apply(stages, this.#port, this.#dataplane, operation => {
      const key = keyOf(operation.resource)
      if (operation.action === 'delete') this.#observed.delete(key)
      else this.#observed.set(key, operation.resource)
      routesChanged ||= affectsRoutes(operation.resource)
    })
    if (routesChanged) this.#newEpoch()
    for (const failure of failures) {
      this.#dirty.add(keyOf(failure.operation.resource))
      this.#onFailure(failure)
    }
    if (failures.length > 0 && !this.#closed) {
      this.#retry ??= setTimeout(() => {
        this.#retry = undefined
        if (!this.#closed) this.flush().catch(() => {})
      }, this.#retryMs)
    }
    return failures
  }

  #newEpoch(): void {
    const { node } = this.#dataplane.maps
    const config = node.get(0)
    if (config) node.set(0, { ...config, routeEpoch: (config.routeEpoch + 1) >>> 0 })
  }

  /** Full comparison, for `branchline status` and tests: differences that a flush would mend. */
  pending(): number {
    return plan(changesBetween(this.#desired.values(), this.#observed.values())).flat().length
  }

  /** Flushes do nothing any more: the kernel belongs to the next agent. */
  close(): void {
    this.#closed = true
    clearTimeout(this.#retry)
  }
}
