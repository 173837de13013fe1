/**
 * The FIB over its maps: takes batches of changes, writes what programs read, and keeps a record of every route in fib_routes. Whoever opens the same
 * maps later rebuilds the table from the records, in the half that does not answer, and puts it in place by one store.
 */
import { ABI_FAMILY_IPV4, ABI_FIB_UNIT, ABI_MAX_NEXTHOPS } from '../../../schema/abi.gen.ts'
import type { FibUsage } from '../port.ts'
import { FibFullError } from './builder.ts'
import type { FibMemory } from './memory.ts'
import { addressOrder, inOrder } from './order.ts'
import { familyOf, lengthOf, nexthopOf, ROUTE_WORDS } from './route.ts'
import { Tree } from './tree.ts'

/** Why a change was not made: no room for the record or the table; a VRF number or next hop that the maps cannot hold. */
export type Refusal = 'ENOSPC' | 'ERANGE'

/** Words of struct fib. */
const ROOTS = 0
const VRFS = 1
/** Word of struct fib_root. */
const DEFAULTS = 2

/** What was done, in order: records, and what their word 1 was; 0: it was not in the tree, REMOVED: it was and is no longer. */
interface Steps {
  readonly ids: Uint32Array
  readonly before: Int32Array
  count: number
}
const REMOVED = -1

/** Batches from this size on are applied in the order of addresses. */
const MANY = 1024

/** Packing a table anew takes as long as building it: a full one is not packed for each change that does not fit. */
const CHANGES_BETWEEN_REBUILDS = 100_000

export class FibEngine {
  readonly #memory: FibMemory
  readonly #wait: () => void
  /** VRF * 2 + family -> record of its default route. */
  readonly #defaults = new Map<number, number>()
  #tree: Tree
  #routes = 0
  /** Records that are free below `#fresh`; from there on none was ever used. */
  #free: number[] = []
  #fresh = 1
  /** Replaced, and waiting for the end of a grace period. */
  #leaving: number[] = []
  #lost = 0
  /** Changes until a table without room may be packed anew. */
  #untilRebuild = 0

  /**
   * Opens the maps, whatever state they are in: packets get the old answers until the new table is whole.
   * @param wait returns when no program reads any more what was replaced before
   */
  constructor(memory: FibMemory, wait: () => void) {
    this.#memory = memory
    this.#wait = wait
    // In this order: until somebody has written the second there is no VRF.
    if (memory.words[VRFS] === 0) memory.words[ROOTS] = rootsIn(memory, 0)
    memory.words[VRFS] = memory.vrfs
    this.#readRecords()
    this.#tree = this.#rebuild()
  }

  /**
   * A new table from the records, in the half that does not answer, and then the one that does. Routes for which there is no room are lost: there
   * are some only where another build of the agent packed better, or other sizes were asked for.
   */
  #rebuild(): Tree {
    const half = 1 - this.#half
    this.#wait()
    const tree = new Tree(this.#memory, half)
    const ids: number[] = []
    for (let id = 1; id < this.#fresh; id++) {
      const word1 = this.#word1(id)
      if (word1 !== 0 && lengthOf(word1) !== 0) ids.push(id)
    }
    const refused = this.#insertAll(tree, ids)
    for (const id of refused) this.#forget(id)
    this.#lost += refused.length
    for (const key of this.#defaults.keys()) this.#writeDefaults(half, key >>> 1)
    Atomics.store(this.#memory.words, ROOTS, rootsIn(this.#memory, half))
    this.#leaving = []
    this.#untilRebuild = CHANGES_BETWEEN_REBUILDS
    return tree
  }

  get #half(): number {
    return this.#memory.words[ROOTS] === rootsIn(this.#memory, 0) ? 0 : 1
  }

  /** Routes of the former table that did not fit. */
  get lost(): number {
    return this.#lost
  }

  get usage(): FibUsage {
    return {
      routes: this.#routes,
      routesMax: this.#memory.routes.length / ROUTE_WORDS - 1,
      bytes: this.#tree.arena.used * ABI_FIB_UNIT,
      bytesMax: this.#tree.arena.size * ABI_FIB_UNIT,
    }
  }

  /** Records of all routes, without gaps. */
  records(): Uint32Array<ArrayBuffer> {
    const all = new Uint32Array(this.#routes * ROUTE_WORDS)
    let at = 0
    for (let id = 1; id < this.#fresh; id++) {
      if (this.#word1(id) === 0) continue
      all.set(this.#memory.routes.subarray(id * ROUTE_WORDS, (id + 1) * ROUTE_WORDS), at)
      at += ROUTE_WORDS
    }
    return all
  }

  /**
   * Makes the changes and returns when packets see them: index of each change that was refused, and why. The others are made.
   * @param changes records; one with next hop 0 removes the route, if there is one. Of two changes of one prefix the later holds.
   */
  apply(changes: Uint32Array): Map<number, Refusal> {
    const refused = new Map<number, Refusal>()
    const count = changes.length / ROUTE_WORDS
    if (count < MANY) {
      this.#applyPart(changes, 0, count, refused)
      return refused
    }
    const order = addressOrder(changes)
    this.#applyPart(inOrder(changes, order), 0, count, refused)
    return new Map(Array.from(refused, ([at, refusal]) => [order[at] as number, refusal]))
  }

  #applyPart(changes: Uint32Array, from: number, to: number, refused: Map<number, Refusal>): void {
    const steps: Steps = { ids: new Uint32Array(to - from), before: new Int32Array(to - from), count: 0 }
    const before = this.#routes
    for (let at = from; at < to; at++) {
      const refusal = this.#step(changes, at, steps)
      if (refusal) refused.set(at, refusal)
    }
    if (this.#commit(this.#tree, this.#routes > before)) {
      for (let i = 0; i < steps.count; i++) if (steps.before[i] === REMOVED) this.#forget(steps.ids[i] as number)
      this.#untilRebuild -= to - from
      return
    }
    this.#takeBack(steps)
    const middle = (from + to) >>> 1
    if (this.reclaim() || this.#pack()) this.#applyPart(changes, from, to, refused)
    else if (middle === from) refused.set(from, 'ENOSPC')
    else {
      this.#applyPart(changes, from, middle, refused)
      this.#applyPart(changes, middle, to, refused)
    }
  }

  #step(changes: Uint32Array, at: number, steps: Steps): Refusal | undefined {
    const from = at * ROUTE_WORDS
    const vrf = changes[from] as number
    const word1 = changes[from + 1] as number
    if (vrf >= this.#memory.vrfs || nexthopOf(word1) >= ABI_MAX_NEXTHOPS) return 'ERANGE'
    const isDefault = lengthOf(word1) === 0
    const known = isDefault ? (this.#defaults.get(rootKey(vrf, word1)) ?? 0) : this.#tree.find(changes, at)
    if (nexthopOf(word1) === 0) {
      if (known === 0) return undefined
      if (isDefault) this.#setDefault(vrf, word1, 0)
      else {
        this.#tree.remove(known)
        push(steps, known, REMOVED)
      }
      return undefined
    }
    const id = known || this.#newRecord()
    if (id === 0) return 'ENOSPC'
    const before = known === 0 ? 0 : this.#word1(id)
    this.#write(id, changes, from)
    if (isDefault) this.#setDefault(vrf, word1, id)
    else {
      push(steps, id, before)
      if (known === 0) this.#tree.insert(id)
      else if (before !== word1) this.#tree.change(id)
    }
    return undefined
  }

  #takeBack(steps: Steps): void {
    for (let i = steps.count - 1; i >= 0; i--) {
      const id = steps.ids[i] as number
      const before = steps.before[i] as number
      if (before === REMOVED) this.#tree.insert(id)
      else if (before === 0) {
        this.#tree.remove(id)
        this.#forget(id)
      } else {
        this.#memory.routes[id * ROUTE_WORDS + 1] = before
        this.#tree.change(id)
      }
    }
    this.#tree.forget()
  }

  /** Waits for the end of a grace period and frees what was replaced before. @returns false when nothing was */
  reclaim(): boolean {
    const words = [...this.#leaving, ...this.#tree.takeRetired()]
    this.#leaving = []
    if (words.length === 0) return false
    this.#wait()
    this.#tree.release(words)
    return true
  }

  /** @returns false when that was done not long ago */
  #pack(): boolean {
    if (this.#untilRebuild > 0) return false
    this.#tree = this.#rebuild()
    return true
  }

  /** Structures that were replaced and are not free yet. */
  get retired(): number {
    return this.#tree.retired + this.#leaving.length
  }

  /**
   * Frees what has been replaced so far when `over` resolves. To be called again only after that.
   * @param over resolves when no program reads it any more
   */
  async collect(over: () => Promise<void>): Promise<void> {
    this.#leaving = this.#tree.takeRetired()
    await over()
    this.#tree.release(this.#leaving)
    this.#leaving = []
  }

  /** @returns false when there is no room */
  #commit(tree: Tree, grows: boolean): boolean {
    try {
      tree.commit(grows)
      return true
    } catch (error) {
      if (error instanceof FibFullError) return false
      throw error
    }
  }

  // Records

  #word1(id: number): number {
    return this.#memory.routes[id * ROUTE_WORDS + 1] as number
  }

  /** 0: none is free. */
  #newRecord(): number {
    const id = this.#free.pop() ?? (this.#fresh < this.#memory.routes.length / ROUTE_WORDS ? this.#fresh++ : 0)
    if (id !== 0) this.#routes++
    return id
  }

  /** Word 1 last: with it the record counts. Only a process that ends between two stores could tell, and stores are not reordered. */
  #write(id: number, changes: Uint32Array, from: number): void {
    const at = id * ROUTE_WORDS
    const { routes } = this.#memory
    if (this.#word1(id) === 0) {
      routes[at] = changes[from] as number
      for (let word = 2; word < ROUTE_WORDS; word++) routes[at + word] = changes[from + word] as number
    }
    routes[at + 1] = changes[from + 1] as number
  }

  #forget(id: number): void {
    this.#memory.routes[id * ROUTE_WORDS + 1] = 0
    this.#free.push(id)
    this.#routes--
  }

  /** Takes stock of the records of a former agent. */
  #readRecords(): void {
    const { routes } = this.#memory
    const end = routes.length / ROUTE_WORDS
    for (let id = 1; id < end; id++) {
      const word1 = this.#word1(id)
      if (word1 === 0) continue
      for (; this.#fresh < id; this.#fresh++) this.#free.push(this.#fresh)
      this.#fresh = id + 1
      this.#routes++
      if (lengthOf(word1) === 0) this.#defaults.set(rootKey(routes[id * ROUTE_WORDS] as number, word1), id)
    }
    this.#free.reverse()
  }

  /** Into a tree that nobody reads yet. @returns those for which there is no room, or that are there twice */
  #insertAll(tree: Tree, ids: readonly number[]): number[] {
    const doubles: number[] = []
    const inserted: number[] = []
    for (const id of ids) {
      // A former worker that ended between two stores may have left an old record beside the new one.
      if (tree.find(this.#memory.routes, id) !== 0) doubles.push(id)
      else {
        tree.insert(id)
        inserted.push(id)
      }
    }
    if (this.#commit(tree, false)) return doubles
    for (const id of inserted) tree.remove(id)
    tree.forget()
    if (inserted.length === 1) return [...doubles, ...inserted]
    const middle = inserted.length >>> 1
    const refused = [inserted.slice(0, middle), inserted.slice(middle)].map(part => this.#insertAll(tree, part))
    return [...doubles, ...refused.flat()]
  }

  // Default routes

  /** @param id 0: none any more */
  #setDefault(vrf: number, word1: number, id: number): void {
    const key = rootKey(vrf, word1)
    const known = this.#defaults.get(key)
    if (known !== undefined && known !== id) this.#forget(known)
    if (id === 0) this.#defaults.delete(key)
    else this.#defaults.set(key, id)
    this.#writeDefaults(this.#half, vrf)
  }

  #writeDefaults(half: number, vrf: number): void {
    const nexthop = (family: 0 | 1) => nexthopOf(this.#word1(this.#defaults.get(vrf * 2 + family) ?? 0))
    const at = this.#memory.rootOf(half, vrf) + DEFAULTS
    Atomics.store(this.#memory.words, at, nexthop(0) | (nexthop(1) << 16))
  }
}

function push(steps: Steps, id: number, before: number): void {
  steps.ids[steps.count] = id
  steps.before[steps.count] = before
  steps.count++
}

/** What struct fib says of a half: the byte where its roots begin. */
const rootsIn = (memory: FibMemory, half: number) => memory.rootOf(half, 0) * 4

const rootKey = (vrf: number, word1: number) => vrf * 2 + (familyOf(word1) === ABI_FAMILY_IPV4 ? 0 : 1)
