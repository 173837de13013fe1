/** Routes of this node's VRFs as FIB resources; holds one next hop per prefix and lets go of it when the route changes. */

import type { Nexthop } from '../../schema/abi.gen.ts'
import { formatAddress, parsePrefix } from '../../schema/address.ts'
import type { Reconciler } from '../plan/reconciler.ts'
import { keyOf, type Resource } from '../plan/resource.ts'
import { type Nexthops, sameNexthop } from './nexthops.ts'

export class Fib {
  readonly #reconciler: Reconciler
  readonly #nexthops: Nexthops
  readonly #routes = new Map<string, Nexthop>()

  constructor(reconciler: Reconciler, nexthops: Nexthops) {
    this.#reconciler = reconciler
    this.#nexthops = nexthops
  }

  set(vrf: number, prefix: string, nexthop: Nexthop): void {
    const key = keyOf(fibResource(vrf, prefix, 0))
    const before = this.#routes.get(key)
    if (before && sameNexthop(before, nexthop)) return
    const resource = fibResource(vrf, prefix, this.#nexthops.acquire(nexthop))
    this.#routes.set(key, nexthop)
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
