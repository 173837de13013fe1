/** Routes of this node's VRFs as FIB resources; holds one next hop, or set of them, per prefix and lets go of it when the route changes. */

import { formatAddress, parsePrefix } from '../../schema/address.ts'
import type { Reconciler } from '../plan/reconciler.ts'
import { keyOf, type Resource } from '../plan/resource.ts'
import { type Nexthops, sameTarget, type Target } from './nexthops.ts'

export class Fib {
  readonly #reconciler: Reconciler
  readonly #nexthops: Nexthops
  readonly #routes = new Map<string, Target>()

  constructor(reconciler: Reconciler, nexthops: Nexthops) {
    this.#reconciler = reconciler
    this.#nexthops = nexthops
  }

  set(vrf: number, prefix: string, target: Target): void {
    const key = keyOf(fibResource(vrf, prefix, 0))
    const before = this.#routes.get(key)
    if (before && sameTarget(before, target)) return
    const resource = fibResource(vrf, prefix, this.#nexthops.acquire(target))
    this.#routes.set(key, target)
    this.#reconciler.want(resource)
    if (before) this.#nexthops.release(before)
  }

  delete(vrf: number, prefix: string): void {
    const key = keyOf(fibResource(vrf, prefix, 0))
    const before = this.#routes.get(key)
    if (!before) return
    this.#routes.delete(key)
    this.#reconciler.drop(key)
    this.#nexthops.release(before)
  }

  get size(): number {
    return this.#routes.size
  }
}

function fibResource(vrf: number, prefix: string, nexthop: number): Resource {
  const parsed = parsePrefix(prefix)
  if (!parsed) throw new TypeError(`not a prefix: ${prefix}`)
  return { kind: 'fib', vrf, address: formatAddress(parsed.bytes), prefixLength: parsed.length, nexthop }
}
