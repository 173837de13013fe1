/**
 * One table of the tree as the agent remembers it: which routes lie below each slot, and what covers them. The words that programs read are
 * `words[base + slot]`; a node that is not written yet has no base, and is written with its parent's slot.
 */
export class Node {
  readonly parent: Node | undefined
  readonly parentSlot: number
  /** Bits of the address that lead here. */
  readonly level: number
  /** 2^bits slots. */
  readonly bits: number
  words: Uint32Array
  base: number | undefined
  /** Slot -> first of its chained routes, longer than level + bits; 0: none. */
  readonly heads: Uint32Array
  readonly chained: Uint16Array
  /** Slot -> answer for what no route below it contains, and the length of the route that gives it; 0: it comes from above. */
  readonly covers: Uint16Array
  readonly coverLengths: Uint8Array
  inherited: number
  /** Routes of level + 1 to level + bits bits, by shortKey. */
  readonly shorts = new Map<number, number>()
  /** Slot -> the node that its routes have become. */
  children: (Node | undefined)[] = NONE
  /** Routes in here and below. */
  count = 0
  /** Slots whose words are to be written anew. */
  dirty: number[] = []
  readonly #isDirty: Uint8Array
  /** Replaced by another node or by a structure. */
  detached = false

  constructor(parent: Node | undefined, parentSlot: number, level: number, bits: number, inherited: number) {
    const slots = 2 ** bits
    this.parent = parent
    this.parentSlot = parentSlot
    this.level = level
    this.bits = bits
    this.words = NOWHERE
    this.heads = new Uint32Array(slots)
    this.chained = new Uint16Array(slots)
    this.covers = new Uint16Array(slots).fill(inherited)
    this.coverLengths = new Uint8Array(slots)
    this.inherited = inherited
    this.#isDirty = new Uint8Array(slots)
  }

  get end(): number {
    return this.level + this.bits
  }

  /** @param child undefined: none any more */
  setChild(slot: number, child: Node | undefined): void {
    if (this.children === NONE) this.children = new Array(this.heads.length)
    this.children[slot] = child
  }

  /** @returns whether the node had no dirty slot before */
  mark(slot: number): boolean {
    if (this.#isDirty[slot] === 1) return false
    this.#isDirty[slot] = 1
    return this.dirty.push(slot) === 1
  }

  clean(): void {
    for (const slot of this.dirty) this.#isDirty[slot] = 0
    this.dirty = []
  }
}

const NONE: (Node | undefined)[] = []
const NOWHERE = new Uint32Array(0)

/** @param slot the first that the prefix covers @param length 1 to `bits`, relative to the node */
export function shortKey(slot: number, length: number): number {
  return slot * 32 + length
}
