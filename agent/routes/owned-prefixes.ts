/**
 * Prefixes of one family with an owner each, in path-compressed binary tries whose nodes are rows of typed arrays: 60 bytes a route for IPv4, 84 for
 * IPv6, and nothing for the garbage collector to walk through, where a Map of objects takes ten times as much. The tries of all VRFs share one store.
 *
 * Each node says whether everything in its subtree belongs to one owner (`sole`), so a prefix that overlaps another owner's is found in as many steps as
 * the trie is deep, however many routes lie below.
 */

/** Row of a node; 0 is none. */
export type NodeId = number

const NONE = 0
const MIXED = 0xffffffff
const MAX_NODES = 1 << 23
const GROWTH = 1 << 14
/** A trie is at most as deep as an IPv6 address has bits, and one more. */
const MAX_DEPTH = 130

export class PrefixStore {
  /** Words of 32 bits that an address has. */
  readonly words: 1 | 4
  /** Address, length, children (two a node), owner (0: a fork without a route), flags of the user, neighbours in the owner's list. */
  readonly address: Uint32Array
  readonly length: Uint8Array
  readonly child: Uint32Array
  readonly owner: Uint32Array
  readonly sole: Uint32Array
  readonly flags: Uint8Array
  readonly next: Uint32Array
  readonly previous: Uint32Array
  readonly #buffers: { buffer: ArrayBuffer; width: number }[] = []
  #capacity = 1
  #used = 1
  #free: NodeId = NONE

  /** @param family 4 or 6 */
  constructor(family: 4 | 6) {
    this.words = family === 4 ? 1 : 4
    // They grow in place and track their buffer's length: a copy of a million rows would hold up the event loop.
    this.address = new Uint32Array(this.#column(4 * this.words))
    this.length = new Uint8Array(this.#column(1))
    this.child = new Uint32Array(this.#column(8))
    this.owner = new Uint32Array(this.#column(4))
    this.sole = new Uint32Array(this.#column(4))
    this.flags = new Uint8Array(this.#column(1))
    this.next = new Uint32Array(this.#column(4))
    this.previous = new Uint32Array(this.#column(4))
  }

  #column(width: number): ArrayBuffer {
    const buffer = new ArrayBuffer(width, { maxByteLength: width * MAX_NODES })
    this.#buffers.push({ buffer, width })
    return buffer
  }

  /** Room for another prefix, which takes a node and may need a fork? */
  get full(): boolean {
    return this.#free === NONE && this.#used + 2 > MAX_NODES
  }

  /** @param from the first `length` bits of it count */
  make(from: Uint32Array, length: number): NodeId {
    let node = this.#free
    if (node !== NONE) this.#free = this.next[node] ?? NONE
    else {
      node = this.#used++
      if (node >= this.#capacity) {
        this.#capacity = Math.min(MAX_NODES, this.#capacity + GROWTH)
        for (const { buffer, width } of this.#buffers) buffer.resize(width * this.#capacity)
      }
    }
    for (let word = 0; word < this.words; word++) {
      const bits = Math.min(32, Math.max(0, length - 32 * word))
      this.address[node * this.words + word] = bits === 0 ? 0 : (from[word] ?? 0) & (-1 << (32 - bits))
    }
    this.length[node] = length
    this.child[2 * node] = NONE
    this.child[2 * node + 1] = NONE
    this.owner[node] = NONE
    this.sole[node] = NONE
    this.flags[node] = 0
    return node
  }

  release(node: NodeId): void {
    this.next[node] = this.#free
    this.#free = node
  }
}

export class OwnedPrefixes {
  readonly #store: PrefixStore
  #root: NodeId = NONE
  /** Newest node of each owner's list. */
  readonly #heads = new Map<number, NodeId>()
  // The way of the last descent: nodes that contain the prefix, then the node where it left the trie and after how many equal bits.
  readonly #path = new Uint32Array(MAX_DEPTH)
  #depth = 0
  #stop: NodeId = NONE
  #equal = 0

  constructor(store: PrefixStore) {
    this.#store = store
  }

  /** The node of exactly this prefix, 0 when there is none. */
  find(address: Uint32Array, length: number): NodeId {
    const node = this.#descend(address, length)
    return node !== NONE && this.#store.owner[node] !== NONE ? node : NONE
  }

  /** A node of another owner whose prefix shares an address with this one, 0 when there is none. */
  conflict(address: Uint32Array, length: number, owner: number): NodeId {
    const { owner: owners, child, sole } = this.#store
    const exact = this.#descend(address, length)
    for (let depth = 0; depth < this.#depth; depth++) {
      const node = this.#path[depth] ?? NONE
      const other = owners[node]
      if (other !== NONE && other !== owner) return node
    }
    let node = exact !== NONE ? exact : this.#equal === length ? this.#stop : NONE
    const foreign = (candidate: NodeId) => candidate !== NONE && sole[candidate] !== owner && sole[candidate] !== NONE
    while (foreign(node)) {
      const other = owners[node]
      if (other !== NONE && other !== owner) return node
      const left = child[2 * node] ?? NONE
      node = foreign(left) ? left : (child[2 * node + 1] ?? NONE)
    }
    return NONE
  }

  /** The prefix, which has no owner yet, belongs to `owner` (above 0). */
  add(address: Uint32Array, length: number, owner: number): NodeId {
    const store = this.#store
    let node = this.#descend(address, length)
    if (node === NONE) {
      node = store.make(address, length)
      this.#insert(node, address)
    }
    store.owner[node] = owner
    const head = this.#heads.get(owner) ?? NONE
    store.next[node] = head
    store.previous[node] = NONE
    if (head !== NONE) store.previous[head] = node
    this.#heads.set(owner, node)
    this.#judge(node)
    this.#judgePath()
    return node
  }

  remove(node: NodeId): void {
    const store = this.#store
    const owner = store.owner[node] ?? NONE
    const [before, after] = [store.previous[node] ?? NONE, store.next[node] ?? NONE]
    if (after !== NONE) store.previous[after] = before
    if (before !== NONE) store.next[before] = after
    else if (after !== NONE) this.#heads.set(owner, after)
    else this.#heads.delete(owner)
    const { words } = store
    this.#descend(store.address.subarray(node * words, (node + 1) * words), store.length[node] ?? 0)
    store.owner[node] = NONE
    this.#shrink()
    this.#judgePath()
  }

  /** Nodes of one owner, newest first. The one that was given last may be removed meanwhile, no other. */
  *ownedBy(owner: number): Iterable<NodeId> {
    let node = this.#heads.get(owner) ?? NONE
    while (node !== NONE) {
      const next = this.#store.next[node] ?? NONE
      yield node
      node = next
    }
  }

  /** The first route in order behind this place, containing prefixes before what they contain; 0 at the end. Without arguments: the first of all. */
  following(address?: Uint32Array, length = 0): NodeId {
    const { child, owner } = this.#store
    let node = this.#root
    if (address) {
      const exact = this.#descend(address, length)
      const below = exact !== NONE ? NONE : this.#stop
      node =
        exact !== NONE
          ? this.#firstChild(exact)
          : below !== NONE && this.#isBehind(below, address, length)
            ? below
            : NONE
      for (let depth = this.#depth - (exact !== NONE ? 2 : 1); node === NONE && depth >= 0; depth--) {
        const parent = this.#path[depth] ?? NONE
        // What was left of the way is done; what is right of it comes next.
        if (bitOf(address, this.#store.length[parent] ?? 0) === 0) node = child[2 * parent + 1] ?? NONE
      }
    }
    // A fork has two children, so its first route is below.
    while (node !== NONE && owner[node] === NONE) node = this.#firstChild(node)
    return node
  }

  #firstChild(node: NodeId): NodeId {
    const { child } = this.#store
    return child[2 * node] || child[2 * node + 1] || NONE
  }

  /** Where the descent left the trie: does everything at `node` come behind the prefix? */
  #isBehind(node: NodeId, address: Uint32Array, length: number): boolean {
    if (this.#equal === length) return true
    return bitOf(address, this.#equal) === 0 && this.#bitOfNode(node, this.#equal) === 1
  }

  /** @returns the node of exactly this prefix, fork or not; the way stands in `#path`, `#stop` and `#equal` */
  #descend(address: Uint32Array, length: number): NodeId {
    const { child, length: lengths } = this.#store
    this.#depth = 0
    this.#stop = NONE
    this.#equal = 0
    for (let node = this.#root; node !== NONE; ) {
      const own = lengths[node] ?? 0
      this.#equal = this.#equalBits(node, address, Math.min(own, length))
      if (this.#equal < own) {
        this.#stop = node
        return NONE
      }
      this.#path[this.#depth++] = node
      if (own === length) return node
      node = child[2 * node + bitOf(address, own)] ?? NONE
    }
    return NONE
  }

  /** Hangs a new node in where the descent ended. */
  #insert(node: NodeId, address: Uint32Array): void {
    const store = this.#store
    const length = store.length[node] ?? 0
    const stop = this.#stop
    let top = node
    if (stop !== NONE && this.#equal === length) store.child[2 * node + this.#bitOfNode(stop, length)] = stop
    else if (stop !== NONE) {
      top = store.make(address, this.#equal)
      store.child[2 * top + bitOf(address, this.#equal)] = node
      store.child[2 * top + (1 - bitOf(address, this.#equal))] = stop
    }
    this.#replace(this.#depth - 1, address, top)
    if (top !== node) this.#path[this.#depth++] = top
  }

  /** The node at the end of the path has lost its route: it goes where nothing needs it, and so does a fork above that has one way left. */
  #shrink(): void {
    const store = this.#store
    while (this.#depth > 0) {
      const node = this.#path[this.#depth - 1] ?? NONE
      const [left, right] = [store.child[2 * node] ?? NONE, store.child[2 * node + 1] ?? NONE]
      if (store.owner[node] !== NONE || (left !== NONE && right !== NONE)) return
      this.#depth -= 1
      const { words } = store
      this.#replace(this.#depth - 1, store.address.subarray(node * words, (node + 1) * words), left || right)
      store.release(node)
    }
  }

  /** @param depth of the parent in the path; below 0 is the root's place */
  #replace(depth: number, address: Uint32Array, node: NodeId): void {
    const { child, length } = this.#store
    if (depth < 0) {
      this.#root = node
      return
    }
    const parent = this.#path[depth] ?? NONE
    child[2 * parent + bitOf(address, length[parent] ?? 0)] = node
  }

  #judgePath(): void {
    for (let depth = this.#depth - 1; depth >= 0; depth--) this.#judge(this.#path[depth] ?? NONE)
  }

  #judge(node: NodeId): void {
    const { owner, sole, child } = this.#store
    let result = owner[node] ?? NONE
    for (let side = 0; side < 2; side++) {
      const below = sole[child[2 * node + side] ?? NONE] ?? NONE
      if (below !== NONE) result = result === NONE || result === below ? below : MIXED
    }
    sole[node] = result
  }

  #equalBits(node: NodeId, address: Uint32Array, limit: number): number {
    const { words, address: addresses } = this.#store
    for (let word = 0; 32 * word < limit; word++) {
      const difference = (addresses[node * words + word] ?? 0) ^ (address[word] ?? 0)
      if (difference !== 0) return Math.min(limit, 32 * word + Math.clz32(difference))
    }
    return limit
  }

  #bitOfNode(node: NodeId, bit: number): number {
    return ((this.#store.address[node * this.#store.words + (bit >>> 5)] ?? 0) >>> (31 - (bit & 31))) & 1
  }
}

function bitOf(address: Uint32Array, bit: number): number {
  return ((address[bit >>> 5] ?? 0) >>> (31 - (bit & 31))) & 1
}
