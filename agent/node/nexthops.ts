/**
 * Indexes of the nexthops and nexthop_sets maps, by content: equal next hops share an index, so a route's target is one number and adoption after a restart finds
 * the same indexes again. Index 0 stays empty (a zeroed FIB value must not mean anything).
 *
 * An index is given again only when the kernel has no next hop there any more. That next hop is removed behind all routes that used it, so a route on
 * its way out never leads to whoever gets the index next, who may be of another tenant.
 */

import type { Nexthop } from '../../schema/abi.gen.ts'
import { ABI_MAX_NEXTHOP_SETS, ABI_MAX_NEXTHOPS, ABI_NEXTHOP_SET_MEMBERS, nexthopKind } from '../../schema/abi.gen.ts'
import type { Reconciler } from '../plan/reconciler.ts'

/** Several next hops that a flow may get one of; a member that is listed n times gets n shares of the flows. */
export interface NexthopSet {
  members: readonly Nexthop[]
}

export type Target = Nexthop | NexthopSet

export class Nexthops {
  readonly #reconciler: Reconciler
  readonly #nexthops: Indexes
  /** By the indexes of their members. */
  readonly #sets: Indexes
  /** What an index that is in use stands for. */
  readonly #targets = new Map<number, Target>()

  constructor(reconciler: Reconciler) {
    this.#reconciler = reconciler
    const exists = (kind: string) => (index: number) => reconciler.exists(`${kind} ${index}`)
    this.#nexthops = new Indexes('next hops', ABI_MAX_NEXTHOPS, exists('nexthop'))
    this.#sets = new Indexes('next hop sets', ABI_MAX_NEXTHOP_SETS, exists('nexthop-set'))
    for (const resource of reconciler.observed()) {
      if (resource.kind === 'nexthop') this.#nexthops.adopt(content(resource.value), resource.index)
      if (resource.kind === 'nexthop-set') this.#sets.adopt(resource.members.join(' '), resource.index)
    }
    this.#nexthops.adopted()
    this.#sets.adopted()
  }

  /** Index of this next hop or set, one more user of it. Throws RangeError when a map is full or a set too large. */
  acquire(target: Target): number {
    const index = 'members' in target ? this.#acquireSet(target) : this.#acquireOne(target)
    this.#targets.set(index, target)
    return index
  }

  #acquireSet(target: NexthopSet): number {
    const { length } = target.members
    if (length === 0 || length > ABI_NEXTHOP_SET_MEMBERS)
      throw new RangeError(`a set has 1 to ${ABI_NEXTHOP_SET_MEMBERS} members, not ${length}`)
    const members = target.members.map(member => this.#acquireOne(member)).sort((a, b) => a - b)
    const { index, isNew } = this.#sets.acquire(members.join(' '))
    if (isNew) this.#reconciler.want({ kind: 'nexthop-set', index, members })
    return this.#acquireOne(setNumber(index))
  }

  #acquireOne(nexthop: Nexthop): number {
    const { index, isNew } = this.#nexthops.acquire(content(nexthop))
    if (isNew) this.#reconciler.want({ kind: 'nexthop', index, value: nexthop })
    return index
  }

  /** One user less of an index that `acquire` gave. */
  release(index: number): void {
    const target = this.#targets.get(index)
    if (!target) return
    if ('members' in target) this.#releaseSet(target)
    else this.#releaseOne(target)
  }

  #releaseSet(target: NexthopSet): void {
    const members = target.members.map(member => this.#nexthops.indexOf(content(member)) ?? 0).sort((a, b) => a - b)
    const key = members.join(' ')
    const index = this.#sets.indexOf(key)
    if (index === undefined) return
    this.#releaseOne(setNumber(index))
    if (this.#sets.release(key)) this.#reconciler.drop(`nexthop-set ${index}`)
    for (const member of target.members) this.#releaseOne(member)
  }

  #releaseOne(nexthop: Nexthop): void {
    const key = content(nexthop)
    const index = this.#nexthops.indexOf(key)
    if (index === undefined || !this.#nexthops.release(key)) return
    this.#reconciler.drop(`nexthop ${index}`)
    this.#targets.delete(index)
  }
}

/** Numbers from 1 on for contents that are in use. */
class Indexes {
  readonly #what: string
  readonly #limit: number
  readonly #exists: (index: number) => boolean
  readonly #byContent = new Map<string, { index: number; users: number }>()
  /** Oldest first, those before `#given` in use again. No Set: its first member lies behind all that were deleted before it. */
  #free: number[] = []
  #given = 0
  #next = 1

  /** @param exists is it in the kernel still? */
  constructor(what: string, limit: number, exists: (index: number) => boolean) {
    this.#what = what
    this.#limit = limit
    this.#exists = exists
  }

  adopt(key: string, index: number): void {
    this.#byContent.set(key, { index, users: 0 })
    this.#next = Math.max(this.#next, index + 1)
  }

  adopted(): void {
    const used = new Set([...this.#byContent.values()].map(entry => entry.index))
    for (let index = 1; index < this.#next; index++) if (!used.has(index)) this.#free.push(index)
  }

  indexOf(key: string): number | undefined {
    return this.#byContent.get(key)?.index
  }

  /** `isNew`: it had no user before. @throws RangeError when none is free */
  acquire(key: string): { index: number; isNew: boolean } {
    let entry = this.#byContent.get(key)
    if (!entry) {
      entry = { index: this.#newIndex(), users: 0 }
      this.#byContent.set(key, entry)
    }
    entry.users += 1
    return { index: entry.index, isNew: entry.users === 1 }
  }

  /** @returns true when it was the last user */
  release(key: string): boolean {
    const entry = this.#byContent.get(key)
    if (!entry || entry.users === 0) return false
    entry.users -= 1
    if (entry.users > 0) return false
    this.#byContent.delete(key)
    this.#free.push(entry.index)
    return true
  }

  #newIndex(): number {
    const oldest = this.#free[this.#given]
    if (oldest !== undefined && !this.#exists(oldest)) {
      this.#given += 1
      if (2 * this.#given > this.#free.length) {
        this.#free = this.#free.slice(this.#given)
        this.#given = 0
      }
      return oldest
    }
    if (this.#next >= this.#limit) throw new RangeError(`all ${this.#limit - 1} ${this.#what} are in use`)
    return this.#next++
  }
}

function content({ kind, flags, target }: Nexthop): string {
  return `${kind} ${flags} ${target}`
}

const setNumber = (index: number): Nexthop => ({ kind: nexthopKind.NH_SET, flags: 0, reserved: 0, target: index })

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

/** Each of these peers gets an equal share of the flows; of more than fit, the first do. */
export const viaPeers = (peers: readonly number[], flags: number): NexthopSet => ({
  members: peers.slice(0, ABI_NEXTHOP_SET_MEMBERS).map(peer => viaPeer(peer, flags)),
})
