/**
 * Indexes of the nexthops map, by content: equal next hops share an index, so a route's target is one number and adoption after a restart finds
 * the same indexes again. Index 0 stays empty (a zeroed FIB value must not mean anything).
 *
 * An index is given again only when the kernel has no next hop there any more. That next hop is removed behind all routes that used it, so a route on
 * its way out never leads to whoever gets the index next, who may be of another tenant.
 */

import type { Nexthop } from '../../schema/abi.gen.ts'
import { ABI_MAX_NEXTHOPS, nexthopKind } from '../../schema/abi.gen.ts'
import type { Reconciler } from '../plan/reconciler.ts'

export class Nexthops {
  readonly #reconciler: Reconciler
  readonly #byContent = new Map<string, { index: number; users: number }>()
  /** Oldest first. */
  readonly #free = new Set<number>()
  #next = 1

  constructor(reconciler: Reconciler) {
    this.#reconciler = reconciler
    for (const resource of reconciler.observed()) {
      if (resource.kind !== 'nexthop') continue
      this.#byContent.set(content(resource.value), { index: resource.index, users: 0 })
      this.#next = Math.max(this.#next, resource.index + 1)
    }
    const used = new Set([...this.#byContent.values()].map(entry => entry.index))
    for (let index = 1; index < this.#next; index++) if (!used.has(index)) this.#free.add(index)
  }

  /** Index of this next hop, one more user of it. Throws RangeError when the map is full. */
  acquire(nexthop: Nexthop): number {
    const key = content(nexthop)
    let entry = this.#byContent.get(key)
    if (!entry) {
      entry = { index: this.#newIndex(), users: 0 }
      this.#byContent.set(key, entry)
    }
    if (entry.users === 0) this.#reconciler.want({ kind: 'nexthop', index: entry.index, value: nexthop })
    entry.users += 1
    return entry.index
  }

  #newIndex(): number {
    const [oldest] = this.#free
    if (oldest !== undefined && !this.#reconciler.exists(`nexthop ${oldest}`)) {
      this.#free.delete(oldest)
      return oldest
    }
    if (this.#next >= ABI_MAX_NEXTHOPS) throw new RangeError(`all ${ABI_MAX_NEXTHOPS} next hops are in use`)
    return this.#next++
  }

  release(nexthop: Nexthop): void {
    const key = content(nexthop)
    const entry = this.#byContent.get(key)
    if (!entry || entry.users === 0) return
    entry.users -= 1
    if (entry.users > 0) return
    this.#byContent.delete(key)
    this.#free.add(entry.index)
    this.#reconciler.drop(`nexthop ${entry.index}`)
  }
}

export function sameNexthop(a: Nexthop, b: Nexthop): boolean {
  return content(a) === content(b)
}

function content({ kind, flags, target }: Nexthop): string {
  return `${kind} ${flags} ${target}`
}

export const unreachable = (flags: number): Nexthop => ({
  kind: nexthopKind.NH_UNREACHABLE,
  flags,
  reserved: 0,
  target: 0,
})
export const local = (): Nexthop => ({ kind: nexthopKind.NH_LOCAL, flags: 0, reserved: 0, target: 0 })
export const lan = (ifindex: number, flags: number): Nexthop => ({
  kind: nexthopKind.NH_LAN,
  flags,
  reserved: 0,
  target: ifindex,
})
export const viaPeer = (peer: number, flags: number): Nexthop => ({
  kind: nexthopKind.NH_PEER,
  flags,
  reserved: 0,
  target: peer,
})
