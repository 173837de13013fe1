/**
 * One enterprise's routes on a gateway (RIB): which edge owns which prefix, and whether it may be reached now. Pure state; the gateway turns
 * changes into FIB entries and messages to the other edges.
 *
 * Announcements of one owner replace, withdraw and go stale together (RFC 4724's graceful restart): a lost route session keeps its routes,
 * marked stale, until the owner ends its next full announcement or the dataplane reports it silent.
 */

import { formatAddress, parsePrefix } from '../../schema/address.ts'
import type { Subnet } from '../../schema/common.ts'
import { type NodeId, OwnedPrefixes, PrefixStore } from './owned-prefixes.ts'
import { Waiting } from './waiting.ts'

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

/** Where the routes of many tables are kept. */
export interface RouteStores {
  4: PrefixStore
  6: PrefixStore
}

export function routeStores(): RouteStores {
  return { 4: new PrefixStore(4), 6: new PrefixStore(6) }
}

export interface VrfTableOptions {
  /** Shown in refusals. */
  ownerName: (owner: string) => string
  /** Shared with other tables; default: its own. */
  stores?: RouteStores
  /** Routes that one VRF may hold. */
  limit?: number
}

const REACHABLE = 1
const STALE = 2

/** A prefix as the trie of its family takes it. */
interface Key {
  family: 4 | 6
  address: Uint32Array
  length: number
}

export class VrfTable {
  readonly #stores: RouteStores
  readonly #tries: { 4: OwnedPrefixes; 6: OwnedPrefixes }
  readonly #owners = new Map<string, number>()
  readonly #names = new Map<number, string>()
  readonly #waiting = new Waiting()
  readonly #ownerName: (owner: string) => string
  readonly #limit: number
  #lastOwner = 0
  #size = 0

  constructor(options: VrfTableOptions) {
    this.#ownerName = options.ownerName
    this.#limit = options.limit ?? 1_000_000
    this.#stores = options.stores ?? routeStores()
    this.#tries = { 4: new OwnedPrefixes(this.#stores[4]), 6: new OwnedPrefixes(this.#stores[6]) }
  }

  get size(): number {
    return this.#size
  }

  get(prefix: string): VrfRoute | undefined {
    const key = keyOf(prefix)
    const node = this.#tries[key.family].find(key.address, key.length)
    return node === 0 ? undefined : this.#route(key.family, node)
  }

  /** In order of prefixes, IPv4 first. The table may change meanwhile: what is not changed is given once. */
  *routes(): Iterable<VrfRoute> {
    for (const family of [4, 6] as const) {
      const trie = this.#tries[family]
      const { address, length, words } = this.#stores[family]
      let node = trie.following()
      while (node !== 0) {
        const [from, bits] = [address.slice(node * words, (node + 1) * words), length[node]]
        yield this.#route(family, node)
        node = trie.following(from, bits)
      }
    }
  }

  *ownedBy(owner: string): Iterable<VrfRoute> {
    for (const [family, node] of this.#nodesOf(owner)) yield this.#route(family, node)
  }

  /** `full`: prefixes of the owner that the list does not name are withdrawn. */
  announce(owner: string, subnets: readonly Subnet[], full: boolean): TableChange {
    const change: TableChange = { changed: [], refused: [] }
    if (full) {
      const named = new Set(subnets.map(({ prefix }) => prefix))
      this.#waiting.forget(owner)
      const unnamed = Array.from(this.ownedBy(owner), ({ prefix }) => prefix).filter(prefix => !named.has(prefix))
      change.changed.push(...this.withdraw(owner, unnamed))
    }
    for (const subnet of subnets) {
      const result = this.#announceOne(owner, subnet)
      if (result === 'changed') change.changed.push(subnet.prefix)
      else if (result !== 'same') {
        change.refused.push(result)
        if (result.code === 'overlap') this.#waiting.add(owner, subnet)
      }
    }
    return change
  }

  /** What was refused for an overlap that is gone: taken now. Call it after prefixes have been withdrawn. */
  reconsider(): { owner: string; prefix: string }[] {
    const taken: { owner: string; prefix: string }[] = []
    for (const { owner, subnet } of this.#waiting.all()) {
      if (typeof this.#announceOne(owner, subnet) === 'object') continue
      this.#waiting.remove(owner, subnet.prefix)
      taken.push({ owner, prefix: subnet.prefix })
    }
    return taken
  }

  /** Announced by this owner, and refused because of another's overlapping prefix. */
  waitingOf(owner: string): Subnet[] {
    return this.#waiting.of(owner)
  }

  /** Returns the prefixes that were really there. */
  withdraw(owner: string, prefixes: Iterable<string>): string[] {
    const gone: string[] = []
    const id = this.#owners.get(owner)
    for (const prefix of prefixes) {
      this.#waiting.remove(owner, prefix)
      const key = keyOf(prefix)
      const node = this.#tries[key.family].find(key.address, key.length)
      if (node === 0 || this.#stores[key.family].owner[node] !== id) continue
      this.#tries[key.family].remove(node)
      this.#size -= 1
      gone.push(prefix)
    }
    if (id !== undefined && this.#isEmpty(owner)) {
      this.#owners.delete(owner)
      this.#names.delete(id)
    }
    return gone
  }

  withdrawAll(owner: string): string[] {
    this.#waiting.forget(owner)
    return this.withdraw(
      owner,
      Array.from(this.ownedBy(owner), ({ prefix }) => prefix),
    )
  }

  markStale(owner: string): void {
    // It announces again what it still wants.
    this.#waiting.forget(owner)
    for (const [family, node] of this.#nodesOf(owner)) this.#setFlag(family, node, STALE, true)
  }

  /** Withdraws what the owner did not announce again. */
  sweepStale(owner: string): string[] {
    const stale = Array.from(this.ownedBy(owner)).filter(route => route.stale)
    return this.withdraw(
      owner,
      stale.map(({ prefix }) => prefix),
    )
  }

  #announceOne(owner: string, { prefix, reachable }: Subnet): 'changed' | 'same' | Refusal {
    const key = keyOf(prefix)
    const { family } = key
    const { flags, owner: owners, full } = this.#stores[family]
    const trie = this.#tries[family]
    const id = this.#owners.get(owner) ?? this.#newOwner()
    const known = trie.find(key.address, key.length)
    if (known !== 0 && owners[known] === id) {
      const same = ((flags[known] ?? 0) & REACHABLE) === (reachable ? REACHABLE : 0)
      flags[known] = reachable ? REACHABLE : 0
      return same ? 'same' : 'changed'
    }
    if (known === 0 && (this.#size >= this.#limit || full)) {
      const message = `this gateway holds ${this.#size} routes of the enterprise already`
      return { prefix, code: 'full', message }
    }
    const other = trie.conflict(key.address, key.length, id)
    if (other !== 0) return this.#overlap(owner, prefix, this.#route(family, other))
    if (!this.#names.has(id)) {
      this.#owners.set(owner, id)
      this.#names.set(id, owner)
    }
    const node = trie.add(key.address, key.length, id)
    flags[node] = reachable ? REACHABLE : 0
    this.#size += 1
    return 'changed'
  }

  #overlap(owner: string, prefix: string, other: VrfRoute): Refusal {
    const what = other.prefix === prefix ? 'is' : `overlaps ${other.prefix}, which is`
    const message = `${prefix} of ${this.#ownerName(owner)} ${what} announced by ${this.#ownerName(other.owner)} already`
    return { prefix, code: 'overlap', message }
  }

  #newOwner(): number {
    do this.#lastOwner = (this.#lastOwner + 1) & 0x7fffffff || 1
    while (this.#names.has(this.#lastOwner))
    return this.#lastOwner
  }

  #isEmpty(owner: string): boolean {
    for (const _ of this.#nodesOf(owner)) return false
    return true
  }

  *#nodesOf(owner: string): Iterable<[4 | 6, NodeId]> {
    const id = this.#owners.get(owner)
    if (id === undefined) return
    for (const family of [4, 6] as const) for (const node of this.#tries[family].ownedBy(id)) yield [family, node]
  }

  #setFlag(family: 4 | 6, node: NodeId, flag: number, on: boolean): void {
    const { flags } = this.#stores[family]
    flags[node] = on ? (flags[node] ?? 0) | flag : (flags[node] ?? 0) & ~flag
  }

  #route(family: 4 | 6, node: NodeId): VrfRoute {
    const { address, length, owner, flags, words } = this.#stores[family]
    const bytes = new Uint8Array(4 * words)
    const view = new DataView(bytes.buffer)
    for (let word = 0; word < words; word++) view.setUint32(4 * word, address[node * words + word] ?? 0)
    const flag = flags[node] ?? 0
    return {
      prefix: `${formatAddress(bytes)}/${length[node]}`,
      owner: this.#names.get(owner[node] ?? 0) ?? '',
      reachable: (flag & REACHABLE) !== 0,
      stale: (flag & STALE) !== 0,
    }
  }
}

function keyOf(prefix: string): Key {
  const parsed = parsePrefix(prefix)
  if (!parsed) throw new TypeError(`not a prefix: ${prefix}`)
  const view = new DataView(parsed.bytes.buffer, parsed.bytes.byteOffset)
  const address = new Uint32Array(parsed.bytes.length / 4)
  for (let word = 0; word < address.length; word++) address[word] = view.getUint32(4 * word)
  return { family: parsed.family, address, length: parsed.length }
}
