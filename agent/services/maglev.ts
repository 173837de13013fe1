/**
 * Maglev's table of slots (Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI 2016, 3.4): every member gets an equal
 * share of the slots, and few slots change hands when a member comes or goes. It follows from the members' names alone, so two gateways, or one before
 * and after a restart, choose alike.
 */
import { siphash24 } from '../../schema/siphash.ts'

/** Primes, each about four times the last: a pool keeps its size while it grows a little, since another size moves everything. */
const SIZES = [1021, 4093, 16_381]
/** As in the paper, for shares within 1 % and few slots that move; above 163 members there is less room. */
const SLOTS_PER_MEMBER = 100

/** 16 bytes each. */
const OFFSET_KEY = new TextEncoder().encode('branchline-place')
const SKIP_KEY = new TextEncoder().encode('branchline--skip')

export function maglevSize(members: number): number {
  return SIZES.find(size => size >= members * SLOTS_PER_MEMBER) ?? (SIZES.at(-1) as number)
}

/**
 * @param names distinct; their order does not matter
 * @param size prime
 * @returns for each slot the place in `names` of the member that it belongs to; empty without members
 */
export function maglev(names: readonly string[], size = maglevSize(names.length)): number[] {
  if (names.length === 0) return []
  if (names.length > size) throw new RangeError(`${names.length} members do not fit into ${size} slots`)
  // In the order of names, so that turns do not depend on who came first.
  const turns = names
    .map((name, place) => ({ name, place }))
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .map(({ name, place }) => ({ place, ...permutation(name, size) }))
  const table = new Array<number>(size).fill(-1)
  for (let filled = 0; ; )
    for (const turn of turns) {
      while (table[turn.next] !== -1) turn.next = (turn.next + turn.skip) % size
      table[turn.next] = turn.place
      filled += 1
      if (filled === size) return table
    }
}

function permutation(name: string, size: number): { next: number; skip: number } {
  const bytes = new TextEncoder().encode(name)
  const number = (key: Uint8Array, limit: number) => Number(siphash24(key, bytes) % BigInt(limit))
  return { next: number(OFFSET_KEY, size), skip: number(SKIP_KEY, size - 1) + 1 }
}
