/** Seeded random numbers: a run can be had again with `--seed`. */

export interface Random {
  /** 32 random bits. */
  u32(): number
  /** 0 to below `limit`. */
  below(limit: number): number
  /** In place (Fisher and Yates). */
  shuffle<T>(items: T[]): T[]
}

/** SplitMix32: Steele, Lea, Flood 2014, with the 32-bit finalizer of MurmurHash3. @param seed 32 bits */
export function random(seed: number): Random {
  let state = seed | 0
  const u32 = () => {
    state = (state + 0x9e3779b9) | 0
    let word = state ^ (state >>> 16)
    word = Math.imul(word, 0x85ebca6b)
    word = Math.imul(word ^ (word >>> 13), 0xc2b2ae35)
    return (word ^ (word >>> 16)) >>> 0
  }
  const below = (limit: number) => Math.floor((u32() / 2 ** 32) * limit)
  return {
    u32,
    below,
    shuffle(items) {
      for (let last = items.length - 1; last > 0; last--) {
        const other = below(last + 1)
        const [a, b] = [items[last], items[other]]
        if (a !== undefined && b !== undefined) [items[last], items[other]] = [b, a]
      }
      return items
    },
  }
}
