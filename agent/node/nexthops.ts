/**
 * Indexes of the nexthops map, by content: equal next hops share an index, so a route's target is one number and adoption after a restart finds
 * the same indexes again. Index 0 stays empty (a zeroed FIB value must not mean anything).
 */
import { ABI_MAX_NEXTHOPS, nexthopKind } from '../../schema/abi.gen.ts'
import type { Nexthop } from '../../schema/abi.gen.ts'
import type { Reconciler } from '../plan/reconciler.ts'

export class Nexthops {
  readonly #reconciler: Reconciler
  readonly #byContent = new Map<string, { index: number; users: number }>()
  readonly #free: number[] = []
  #next = 1

  constructor(reconciler: Reconciler) {
    this.#reconciler = reconciler
    for (const resource of reconciler.observed()) {
      if (resource.kind !== 'nexthop') continue
      this.#byContent.set(content(resource.value), { index: resource.index, users: 0 })
      this.#next = Math.max(this.#next, resource.index + 1)
    }
    const used = new Set([...this.#byContent.values()].map(entry => entry.index))
    for (let index = 1; index < this.#next; index++) if (!used.has(index)) this.#free.push(index)
  }

  /** Index of this next hop, one more user of it. Throws RangeError when the map is full. */
  acquire(nexthop: Nexthop): number {
    const key = content(nexthop)
    let entry = this.#byContent.get(key)
    if (!entry) {
      const index = this.#free.pop() ?? this.#next++
      if (index >= ABI_MAX_NEXTHOPS) throw new RangeError(`all ${ABI_MAX_NEXTHOPS} next hops are in use`)
      entry = { index, users: 0 }
      this.#byContent.set(key, entry)
    }
    entry.users += 1
    this.#reconciler.want({ kind: 'nexthop', index: entry.index, value: nexthop })
    return entry.index
  }

  release(nexthop: Nexthop): void {
    const key = content(nexthop)
    const entry = this.#byContent.get(key)
    if (!entry || entry.users === 0) return
    entry.users -= 1
    if (entry.users > 0) return
    this.#byContent.delete(key)
    this.#free.push(entry.index)
    this.#reconciler.drop(`nexthop ${entry.index}`)
  }
}

function content({ kind, flags, target }: Nexthop): string {
  return `${kind} ${flags} ${target}`
}

export const unreachable = (flags: number): Nexthop => ({ kind: nexthopKind.NH_UNREACHABLE, flags, reserved: 0, target: 0 })
export const local = (): Nexthop => ({ kind: nexthopKind.NH_LOCAL, flags: 0, reserved: 0, target: 0 })
export const lan = (ifindex: number, flags: number): Nexthop => ({ kind: nexthopKind.NH_LAN, flags, reserved: 0, target: ifindex })
export const viaPeer = (peer: number, flags: number): Nexthop => ({ kind: nexthopKind.NH_PEER, flags, reserved: 0, target: peer })
