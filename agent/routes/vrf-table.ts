/**
 * One enterprise's routes on a gateway (RIB): which edge owns which prefix, and whether it may be reached now. Pure state; the gateway turns
 * changes into FIB entries and messages to the other edges.
 *
 * Announcements of one owner replace, withdraw and go stale together (RFC 4724's graceful restart): a lost route session keeps its routes,
 * marked stale, until the owner ends its next full announcement or the dataplane reports it silent.
 */

import { type Prefix, parsePrefix } from '../../schema/address.ts'
import type { Subnet } from '../../schema/common.ts'
import { OverlapIndex } from './overlap-index.ts'

export interface VrfRoute {
  prefix: string
  owner: string
  reachable: boolean
  stale: boolean
}

export interface Refusal {
  prefix: string
  code: 'overlap' | 'full'
  message: string
}

export interface TableChange {
  /** Prefixes whose route is new, other or gone. */
  changed: string[]
  refused: Refusal[]
}

export interface VrfTableOptions {
  /** Shown in refusals. */
  ownerName: (owner: string) => string
  /** Routes that one VRF may hold. */
  limit?: number
}

export class VrfTable {
  readonly #routes = new Map<string, VrfRoute>()
  readonly #byOwner = new Map<string, Set<string>>()
  readonly #overlaps = new OverlapIndex()
  readonly #ownerName: (owner: string) => string
  readonly #limit: number

  constructor(options: VrfTableOptions) {
    this.#ownerName = options.ownerName
    this.#limit = options.limit ?? 1_000_000
  }

  get size(): number {
    return this.#routes.size
  }

  get(prefix: string): VrfRoute | undefined {
    return this.#routes.get(prefix)
  }

  routes(): Iterable<VrfRoute> {
    return this.#routes.values()
  }

  ownedBy(owner: string): Iterable<VrfRoute> {
    return [...(this.#byOwner.get(owner) ?? [])].flatMap(prefix => this.#routes.get(prefix) ?? [])
  }

  /** `full`: prefixes of the owner that the list does not name are withdrawn. */
  announce(owner: string, subnets: readonly Subnet[], full: boolean): TableChange {
    const change: TableChange = { changed: [], refused: [] }
    if (full) {
      const named = new Set(subnets.map(subnet => subnet.prefix))
      change.changed.push(
        ...this.withdraw(
          owner,
          [...(this.#byOwner.get(owner) ?? [])].filter(prefix => !named.has(prefix)),
        ),
      )
    }
    for (const subnet of subnets) {
      const known = this.#routes.get(subnet.prefix)
      if (known?.owner === owner) {
        if (known.reachable !== subnet.reachable) change.changed.push(subnet.prefix)
        known.reachable = subnet.reachable
        known.stale = false
        continue
      }
      const refusal = this.#add(owner, subnet)
      if (refusal) change.refused.push(refusal)
      else change.changed.push(subnet.prefix)
    }
    return change
  }

  /** Returns the prefixes that were really there. */
  withdraw(owner: string, prefixes: Iterable<string>): string[] {
    const gone: string[] = []
    const owned = this.#byOwner.get(owner)
    for (const prefix of [...prefixes]) {
      const route = this.#routes.get(prefix)
      if (route?.owner !== owner) continue
      this.#routes.delete(prefix)
      owned?.delete(prefix)
      this.#overlaps.remove(prefix)
      gone.push(prefix)
    }
    if (owned?.size === 0) this.#byOwner.delete(owner)
    return gone
  }

  withdrawAll(owner: string): string[] {
    return this.withdraw(owner, this.#byOwner.get(owner) ?? [])
  }

  markStale(owner: string): void {
    for (const prefix of this.#byOwner.get(owner) ?? []) {
      const route = this.#routes.get(prefix)
      if (route) route.stale = true
    }
  }

  /** Withdraws what the owner did not announce again. */
  sweepStale(owner: string): string[] {
    return this.withdraw(
      owner,
      [...(this.#byOwner.get(owner) ?? [])].filter(prefix => this.#routes.get(prefix)?.stale),
    )
  }

  #add(owner: string, subnet: Subnet): Refusal | undefined {
    const parsed = parsePrefix(subnet.prefix)
    if (!parsed) throw new TypeError(`not a prefix: ${subnet.prefix}`)
    if (this.#routes.size >= this.#limit)
      return {
        prefix: subnet.prefix,
        code: 'full',
        message: `this gateway holds ${this.#limit} routes of the enterprise already`,
      }
    const other = this.#overlap(owner, subnet.prefix, parsed)
    if (other) {
      const what = other.prefix === subnet.prefix ? 'is' : `overlaps ${other.prefix}, which is`
      return {
        prefix: subnet.prefix,
        code: 'overlap',
        message: `${subnet.prefix} of ${this.#ownerName(owner)} ${what} announced by ${this.#ownerName(other.owner)} already`,
      }
    }
    this.#routes.set(subnet.prefix, { prefix: subnet.prefix, owner, reachable: subnet.reachable, stale: false })
    let owned = this.#byOwner.get(owner)
    if (!owned) {
      owned = new Set()
      this.#byOwner.set(owner, owned)
    }
    owned.add(subnet.prefix)
    this.#overlaps.add(subnet.prefix, parsed)
    return undefined
  }

  /** A route of another owner that shares an address with the prefix. One owner may announce a prefix and a part of it. */
  #overlap(owner: string, prefix: string, parsed: Prefix): VrfRoute | undefined {
    const same = this.#routes.get(prefix)
    if (same) return same.owner === owner ? undefined : same
    for (const text of this.#overlaps.overlapping(parsed)) {
      const route = this.#routes.get(text)
      if (route && route.owner !== owner) return route
    }
    return undefined
  }
}
