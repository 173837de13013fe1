/**
 * Routes of this node's VRFs as FIB resources; holds one next hop, or set of them, per prefix and lets go of it when the route changes. What a prefix
 * holds stands in the reconciler alone: of a million routes every copy counts.
 */

import { formatAddress, parsePrefix } from '../../schema/address.ts'
import type { Reconciler } from '../plan/reconciler.ts'
import { keyOf, type Resource } from '../plan/resource.ts'
import type { Nexthops, Target } from './nexthops.ts'

export class Fib {
  readonly #reconciler: Reconciler
  readonly #nexthops: Nexthops

  constructor(reconciler: Reconciler, nexthops: Nexthops) {
    this.#reconciler = reconciler
    this.#nexthops = nexthops
  }

  set(vrf: number, prefix: string, target: Target): void {
    const nexthop = this.#nexthops.acquire(target)
    const resource = fibResource(vrf, prefix, nexthop)
    const before = this.#held(keyOf(resource))
    if (before !== nexthop) this.#reconciler.want(resource)
    if (before !== undefined) this.#nexthops.release(before)
  }

  delete(vrf: number, prefix: string): void {
    const key = keyOf(fibResource(vrf, prefix, 0))
    const before = this.#held(key)
    if (before === undefined) return
    this.#reconciler.drop(key)
    this.#nexthops.release(before)
  }

  #held(key: string): number | undefined {
    const route = this.#reconciler.desired(key)
    return route?.kind === 'fib' ? route.nexthop : undefined
  }
}

function fibResource(vrf: number, prefix: string, nexthop: number): Resource {
  const parsed = parsePrefix(prefix)
  if (!parsed) throw new TypeError(`not a prefix: ${prefix}`)
  return { kind: 'fib', vrf, address: formatAddress(parsed.bytes), prefixLength: parsed.length, nexthop }
}
