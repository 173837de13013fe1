/**
 * The routes of all VRFs in one half of the maps: from a change of routes to the words that have to be stored. Changes are first taken into the tree
 * (`insert`, `remove`, `change`), then built and stored together (`commit`): slots that many changes touch are written once.
 *
 * A slot holds its routes in a chain as long as they are few. Then they get a node of their own, so that a change never writes more than a few
 * hundred ranges; a node that has become nearly empty goes back into its slot.
 */
import { ABI_FAMILY_IPV4, fibKind } from '../../../schema/abi.gen.ts'
import { Arena } from './arena.ts'
import { Builder, DIRECTORY_BITS, FibFullError } from './builder.ts'
import type { FibMemory } from './memory.ts'
import { Node, shortKey } from './node.ts'
import { bitsOf, compareRoutes, familyOf, lengthOf, nexthopOf, ROUTE_WORDS } from './route.ts'
import { isAnswer, structureWord, tableUnits, UNIT_WORDS } from './word.ts'

/** Routes of a slot; above MANY it gets a node, below FEW the node goes. */
const MANY = 256
const FEW = 64
/** From this many routes on a directory of 2^18 words, 1 MiB, pays: 32 bytes for each. */
const DIRECTORY_ROUTES = 32768
/** The directory and what its words lead to. */
const DIRECTORY_ROOM = 4 * tableUnits(DIRECTORY_BITS)
const STRIDE = 8
/** 2000::/3 has a directory of its own: all that is routed in the Internet begins with these bits (RFC 4291 section 2.4). */
const GLOBAL_UNICAST_BITS = 3

export class Tree {
  readonly arena: Arena
  readonly #memory: FibMemory
  readonly half: number
  readonly #builder: Builder
  readonly #routes: Uint32Array
  /** Record -> the next of its chain; 0: the last. */
  readonly #next: Uint32Array
  /** VRF * 2 + family -> the slot that is the root's word. */
  readonly #roots: (Node | undefined)[] = []
  /** Nodes with dirty slots. */
  #dirty: Node[] = []
  /** Nodes written since the last commit. */
  #written: Node[] = []
  #retired: number[] = []
  readonly #sorted = new Uint32Array(MANY + 1)

  constructor(memory: FibMemory, half: number) {
    const units = memory.halfUnits
    this.arena = new Arena(memory.placeOf(half), units)
    this.#memory = memory
    this.half = half
    this.#routes = memory.routes
    this.#builder = new Builder(this.arena, memory.words, memory.routes)
    this.#next = new Uint32Array(memory.routes.length / ROUTE_WORDS)
    memory.words.fill(0, memory.rootOf(half, 0), memory.rootOf(half, memory.vrfs))
  }

  /** The record of exactly this prefix; 0: there is none. @param records, at where the prefix is */
  find(records: Uint32Array, at: number): number {
    let node = this.#roots[rootKey(records, at)]
    const length = lengthOf(records[at * ROUTE_WORDS + 1] as number)
    while (node) {
      const slot = bitsOf(records, at, node.level, node.bits)
      if (length <= node.end) return node.shorts.get(shortKey(slot, length - node.level)) ?? 0
      const child = node.children[slot]
      if (!child) return this.#findChained(node.heads[slot] as number, records, at)
      node = child
    }
    return 0
  }

  #findChained(head: number, records: Uint32Array, at: number): number {
    for (let id = head; id !== 0; id = this.#next[id] as number) {
      const order = compareRoutes(this.#routes, id, records, at)
      if (order <= 0) return order === 0 ? id : 0
    }
    return 0
  }

  /** A record that is not in the tree yet. Its prefix length is not 0. */
  insert(id: number): void {
    let node = this.#rootOf(id)
    const length = this.#lengthOf(id)
    while (length > node.end) {
      node.count++
      const slot = bitsOf(this.#routes, id, node.level, node.bits)
      const child = node.children[slot]
      if (!child) {
        this.#chain(node, slot, id)
        return
      }
      const isLarge = child.count >= DIRECTORY_ROUTES && child.bits !== DIRECTORY_BITS
      node =
        isLarge && child.bits < this.#strideOf(id, child.level, child.count + 1) ? this.#restride(child, id) : child
    }
    node.count++
    this.#setShort(node, bitsOf(this.#routes, id, node.level, node.bits), id)
  }

  /** A record that is in the tree; it may be used again after the next commit. */
  remove(id: number): void {
    let node = this.#rootOf(id)
    const length = this.#lengthOf(id)
    while (length > node.end) {
      node.count--
      const slot = bitsOf(this.#routes, id, node.level, node.bits)
      const child = node.children[slot]
      if (child && child.count <= FEW) this.#collapse(child)
      if (!child || child.detached) {
        this.#unchain(node, slot, id)
        return
      }
      const isSparse = child.bits === DIRECTORY_BITS && child.count < DIRECTORY_ROUTES / 4
      node = isSparse ? this.#restride(child, id) : child
    }
    node.count--
    this.#removeShort(node, bitsOf(this.#routes, id, node.level, node.bits), length)
  }

  /** The record's next hop has become another. */
  change(id: number): void {
    let node = this.#rootOf(id)
    const length = this.#lengthOf(id)
    while (length > node.end) {
      const slot = bitsOf(this.#routes, id, node.level, node.bits)
      const child = node.children[slot]
      if (!child) {
        this.#mark(node, slot)
        return
      }
      node = child
    }
    this.#setShort(node, bitsOf(this.#routes, id, node.level, node.bits), id)
  }

  /**
   * Writes everything that changed and stores the words that lead to it: after that packets see it.
   * @param grows there are more routes than before. One sixteenth of the memory is kept for changes that take none: a full table can always be emptied,
   * and a route be switched off.
   * @throws FibFullError; then nothing is stored. What changed is still in the tree: the caller takes it back and forgets.
   */
  commit(grows: boolean): void {
    this.arena.spared = grows ? this.arena.size >>> 4 : 0
    const words: number[] = []
    try {
      for (const node of this.#dirty)
        if (!node.detached) for (const slot of node.dirty) words.push(this.#wordOf(node, slot))
    } catch (error) {
      if (!(error instanceof FibFullError)) throw error
      this.arena.rollback()
      for (const node of this.#written) node.base = undefined
      throw error
    }
    let next = 0
    for (const node of this.#dirty)
      if (!node.detached) for (const slot of node.dirty) this.#store(node, slot, words[next++] as number)
    this.arena.keep()
    this.forget()
  }

  #store(node: Node, slot: number, word: number): void {
    const at = (node.base as number) + slot
    const before = node.words[at] as number
    if (before === word) return
    Atomics.store(node.words, at, word)
    if (!isAnswer(before)) this.#retired.push(before)
  }

  /** What was changed and taken back again needs no writing. */
  forget(): void {
    for (const node of this.#dirty) node.clean()
    this.#dirty = []
    this.#written = []
  }

  /** Words that nothing leads to any more. What they lead to may be freed after a grace period. */
  takeRetired(): number[] {
    const retired = this.#retired
    this.#retired = []
    return retired
  }

  get retired(): number {
    return this.#retired.length
  }

  /** Frees what these words lead to. No program may be reading it any more. */
  release(words: readonly number[]): void {
    for (const word of words) this.#builder.release(word)
  }

  #lengthOf(id: number): number {
    return lengthOf(this.#routes[id * ROUTE_WORDS + 1] as number)
  }

  #rootOf(id: number): Node {
    const key = rootKey(this.#routes, id)
    let root = this.#roots[key]
    if (!root) {
      root = new Node(undefined, 0, 0, 0, 0)
      root.words = this.#memory.words
      root.base = this.#memory.rootOf(this.half, key >>> 1) + (key & 1)
      this.#roots[key] = root
    }
    return root
  }

  /** Bits of the node that so many routes get there. */
  #strideOf(id: number, level: number, count: number): number {
    const isIpv4 = familyOf(this.#routes[id * ROUTE_WORDS + 1] as number) === ABI_FAMILY_IPV4
    if (!isIpv4 && level === 0) return GLOBAL_UNICAST_BITS
    const mayHave = level === (isIpv4 ? 0 : GLOBAL_UNICAST_BITS)
    if (mayHave && count > DIRECTORY_ROUTES && this.arena.hasRoom(DIRECTORY_ROOM)) return DIRECTORY_BITS
    return Math.min(STRIDE, (isIpv4 ? 32 : 128) - level)
  }

  #mark(node: Node, slot: number): void {
    // What is not written yet is written with the slot above it.
    if (node.base === undefined && node.parent) this.#mark(node.parent, node.parentSlot)
    else if (node.mark(slot)) this.#dirty.push(node)
  }

  // Routes within a slot

  /** Chains go from the last route to the first: what comes in order goes to the front, and is known to be new by one comparison. */
  #chain(node: Node, slot: number, id: number): void {
    const routes = this.#routes
    const next = this.#next
    let before = 0
    let after = node.heads[slot] as number
    while (after !== 0 && compareRoutes(routes, after, routes, id) > 0) {
      before = after
      after = next[after] as number
    }
    next[id] = after
    if (before === 0) node.heads[slot] = id
    else next[before] = id
    const count = (node.chained[slot] as number) + 1
    node.chained[slot] = count
    if (count > MANY) this.#divide(node, slot, this.#strideOf(id, node.end, count), this.#unchainAll(node, slot))
    else this.#mark(node, slot)
  }

  #unchain(node: Node, slot: number, id: number): void {
    let before = 0
    for (let at = node.heads[slot] as number; at !== id; at = this.#next[at] as number) before = at
    const after = this.#next[id] as number
    if (before === 0) node.heads[slot] = after
    else this.#next[before] = after
    node.chained[slot] = (node.chained[slot] as number) - 1
    this.#mark(node, slot)
  }

  /** In order. */
  #unchainAll(node: Node, slot: number): number[] {
    const ids: number[] = []
    for (let id = node.heads[slot] as number; id !== 0; id = this.#next[id] as number) ids.push(id)
    node.heads[slot] = 0
    node.chained[slot] = 0
    return ids.reverse()
  }

  /** The slot's routes get a node. */
  #divide(node: Node, slot: number, bits: number, ids: readonly number[]): Node {
    const child = new Node(node, slot, node.end, bits, node.covers[slot] as number)
    node.setChild(slot, child)
    for (const each of ids) this.#insertBelow(child, each)
    this.#mark(node, slot)
    return child
  }

  #insertBelow(node: Node, id: number): void {
    node.count++
    const slot = bitsOf(this.#routes, id, node.level, node.bits)
    if (this.#lengthOf(id) <= node.end) this.#setShort(node, slot, id)
    else {
      const child = node.children[slot]
      if (child) this.#insertBelow(child, id)
      else this.#chain(node, slot, id)
    }
  }

  /** A node with too few routes goes back into its slot. */
  #collapse(child: Node): void {
    const node = child.parent as Node
    const slot = child.parentSlot
    const ids: number[] = []
    this.#detach(child, ids)
    node.setChild(slot, undefined)
    for (const id of ids) this.#chain(node, slot, id)
    this.#mark(node, slot)
  }

  /** @param ids gets the node's routes, nearly in order */
  #detach(node: Node, ids: number[]): void {
    node.detached = true
    for (const id of node.shorts.values()) ids.push(id)
    for (let slot = 0; slot < node.heads.length; slot++) {
      for (const id of this.#unchainAll(node, slot)) ids.push(id)
      const child = node.children[slot]
      if (child) this.#detach(child, ids)
    }
  }

  /** A node with too many routes for its stride becomes one with more slots, or the other way round. */
  #restride(child: Node, id: number): Node {
    const node = child.parent as Node
    const ids: number[] = []
    this.#detach(child, ids)
    return this.#divide(node, child.parentSlot, this.#strideOf(id, node.end, child.count + 1), ids)
  }

  // Routes that cover whole slots

  #setShort(node: Node, slot: number, id: number): void {
    const length = this.#lengthOf(id) - node.level
    node.shorts.set(shortKey(slot, length), id)
    const nexthop = nexthopOf(this.#routes[id * ROUTE_WORDS + 1] as number)
    for (let at = slot; at < slot + 2 ** (node.bits - length); at++)
      if ((node.coverLengths[at] as number) <= length) this.#cover(node, at, length, nexthop)
  }

  #removeShort(node: Node, slot: number, absolute: number): void {
    const length = absolute - node.level
    node.shorts.delete(shortKey(slot, length))
    let next = length - 1
    let id: number | undefined
    for (; next > 0; next--) {
      id = node.shorts.get(shortKey(slot & -(2 ** (node.bits - next)), next))
      if (id !== undefined) break
    }
    const nexthop = id === undefined ? node.inherited : nexthopOf(this.#routes[id * ROUTE_WORDS + 1] as number)
    for (let at = slot; at < slot + 2 ** (node.bits - length); at++)
      if (node.coverLengths[at] === length) this.#cover(node, at, next, nexthop)
  }

  #cover(node: Node, slot: number, length: number, nexthop: number): void {
    node.coverLengths[slot] = length
    if (node.covers[slot] === nexthop) return
    node.covers[slot] = nexthop
    const child = node.children[slot]
    if (child) this.#inherit(child, nexthop)
    else this.#mark(node, slot)
  }

  #inherit(node: Node, nexthop: number): void {
    node.inherited = nexthop
    for (let slot = 0; slot < node.covers.length; slot++)
      if (node.coverLengths[slot] === 0) this.#cover(node, slot, 0, nexthop)
  }

  // Words

  #wordOf(node: Node, slot: number): number {
    const child = node.children[slot]
    if (!child) {
      const begin = this.#sort(node, slot)
      return this.#builder.build(this.#sorted, begin, this.#sorted.length, node.end, node.covers[slot] as number)
    }
    if (child.base !== undefined) return (node.words[(node.base as number) + slot] as number) >>> 0
    return this.#write(child)
  }

  #write(node: Node): number {
    const place = this.#builder.table(node.bits)
    node.words = this.#memory.words
    node.base = place * UNIT_WORDS
    this.#written.push(node)
    for (let slot = 0; slot < node.heads.length; slot++) node.words[node.base + slot] = this.#wordOf(node, slot)
    return structureWord(fibKind.FIB_TABLE, node.bits, place)
  }

  /** Puts the slot's chain at the end of #sorted, in order. @returns where it begins */
  #sort(node: Node, slot: number): number {
    const sorted = this.#sorted
    let begin = sorted.length
    for (let id = node.heads[slot] as number; id !== 0; id = this.#next[id] as number) sorted[--begin] = id
    return begin
  }
}

function rootKey(records: Uint32Array, at: number): number {
  const family = familyOf(records[at * ROUTE_WORDS + 1] as number)
  return (records[at * ROUTE_WORDS] as number) * 2 + (family === ABI_FAMILY_IPV4 ? 0 : 1)
}
