/** Longest prefix match in the plainest way: a table for each length, from the longest down. What the FIB's answers are held against. */
import { familyOf, lengthOf, nexthopOf, ROUTE_WORDS } from '../../../agent/kernel/fib/route.ts'
import type { Question } from './probe.ts'

export class NaiveFib {
  /** family * 256 + length -> VRF and prefix -> next hop */
  readonly #lengths = new Map<number, Map<string, number>>()
  #order: number[] = []

  /** The changes of an engine's batch. */
  apply(changes: Uint32Array, refused: ReadonlyMap<number, unknown> = new Map()): void {
    for (let at = 0; at < changes.length / ROUTE_WORDS; at++) {
      if (refused.has(at)) continue
      const from = at * ROUTE_WORDS
      const word1 = changes[from + 1] as number
      const words = [3, 2, 5, 4].map(word => changes[from + word] as number)
      const table = this.#table(familyOf(word1) * 256 + lengthOf(word1))
      const key = keyOf(changes[from] as number, words, lengthOf(word1))
      if (nexthopOf(word1) === 0) table.delete(key)
      else table.set(key, nexthopOf(word1))
    }
  }

  lookup({ vrf, family, words }: Question): number {
    for (const slot of this.#order) {
      if (slot >>> 8 !== family) continue
      const found = this.#lengths.get(slot)?.get(keyOf(vrf, words, slot & 0xff))
      if (found !== undefined) return found
    }
    return 0
  }

  get size(): number {
    return [...this.#lengths.values()].reduce((sum, table) => sum + table.size, 0)
  }

  #table(slot: number): Map<string, number> {
    let table = this.#lengths.get(slot)
    if (!table) {
      table = new Map()
      this.#lengths.set(slot, table)
      this.#order = [...this.#lengths.keys()].sort((a, b) => b - a)
    }
    return table
  }
}

function keyOf(vrf: number, words: readonly number[], length: number): string {
  let key = String(vrf)
  for (let word = 0; word * 32 < length; word++) {
    const bits = Math.min(32, length - word * 32)
    key += ` ${((words[word] as number) >>> (32 - bits)) >>> 0}`
  }
  return key
}
