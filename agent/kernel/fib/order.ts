/** The order in which a large batch is applied: neighbours in the table one after the other, which the caches thank for by a factor of five. */
import { ROUTE_WORDS } from './route.ts'

/** Words of a record. */
const VRF = 0
const ADDRESS = 3

const DIGIT = 11
const RADIX = 2 ** DIGIT
const MASK = RADIX - 1

/** Keys, and the records that they are of: moved together, so that nothing is read but in the order in which it lies. */
interface Keyed {
  keys: Uint32Array
  order: Uint32Array
}

/**
 * Indexes of records by VRF and the first 32 bits of their addresses; of equal ones the earlier first. A radix sort (Knuth, The Art of
 * Computer Programming 3, 5.2.5) that leaves out digits in which all are equal.
 */
export function addressOrder(records: Uint32Array): Uint32Array {
  const count = records.length / ROUTE_WORDS
  let sorted = room(count)
  let vrfs = 0
  for (let i = 0, at = 0; i < count; i++, at += ROUTE_WORDS) {
    sorted.order[i] = i
    sorted.keys[i] = records[at + ADDRESS] as number
    vrfs |= (records[at + VRF] as number) ^ (records[VRF] as number)
  }
  sorted = sortByKeys(sorted)
  if (vrfs === 0) return sorted.order
  const { keys, order } = sorted
  for (let i = 0; i < count; i++) keys[i] = records[(order[i] as number) * ROUTE_WORDS + VRF] as number
  return sortByKeys(sorted).order
}

/** The records themselves in that order: one pass whose cache misses overlap spares as many that would not. */
export function inOrder(records: Uint32Array, order: Uint32Array): Uint32Array {
  const sorted = new Uint32Array(records.length)
  for (let i = 0, to = 0; i < order.length; i++, to += ROUTE_WORDS) {
    const from = (order[i] as number) * ROUTE_WORDS
    sorted[to] = records[from] as number
    sorted[to + 1] = records[from + 1] as number
    sorted[to + 2] = records[from + 2] as number
    sorted[to + 3] = records[from + 3] as number
    sorted[to + 4] = records[from + 4] as number
    sorted[to + 5] = records[from + 5] as number
  }
  return sorted
}

const room = (count: number): Keyed => ({ keys: new Uint32Array(count), order: new Uint32Array(count) })

function sortByKeys(keyed: Keyed): Keyed {
  const { length } = keyed.keys
  let [from, to] = [keyed, room(length)]
  for (const [digit, counts] of countDigits(keyed.keys).entries()) {
    if (!sumUp(counts, length)) continue
    sortByDigit(from, to, digit * DIGIT, counts)
    ;[from, to] = [to, from]
  }
  return from
}

/** How often each value of each digit occurs. */
function countDigits(keys: Uint32Array): Uint32Array[] {
  const [low, middle, high] = [new Uint32Array(RADIX), new Uint32Array(RADIX), new Uint32Array(RADIX)]
  for (let i = 0; i < keys.length; i++) {
    const key = keys[i] as number
    low[key & MASK] = (low[key & MASK] as number) + 1
    middle[(key >>> DIGIT) & MASK] = (middle[(key >>> DIGIT) & MASK] as number) + 1
    high[key >>> (2 * DIGIT)] = (high[key >>> (2 * DIGIT)] as number) + 1
  }
  return [low, middle, high]
}

/** From counts to where each value's keys begin. @returns false when all keys have the same */
function sumUp(counts: Uint32Array, count: number): boolean {
  let sum = 0
  for (let value = 0; value < RADIX; value++) {
    const own = counts[value] as number
    if (own === count) return false
    counts[value] = sum
    sum += own
  }
  return true
}

function sortByDigit(from: Keyed, to: Keyed, shift: number, starts: Uint32Array): void {
  const { keys, order } = from
  for (let i = 0; i < keys.length; i++) {
    const key = keys[i] as number
    const digit = (key >>> shift) & MASK
    const place = starts[digit] as number
    starts[digit] = place + 1
    to.keys[place] = key
    to.order[place] = order[i] as number
  }
}
