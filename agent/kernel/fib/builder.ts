/**
 * Writes what bpf/path/fib.h reads: the structure for a sorted list of routes below one place of the tree, and takes it away again. What is written
 * here is read by nobody before a word that leads to it is stored.
 */
import { ABI_FAMILY_IPV4, ABI_FIB_DEEPER, fibKind } from '../../../schema/abi.gen.ts'
import type { Arena } from './arena.ts'
import { bitsOf, familyOf, lengthOf, nexthopOf, ROUTE_WORDS } from './route.ts'
import {
  isAnswer,
  kindOf,
  LINE_UNITS,
  matchedBits,
  placeOf,
  popcount32,
  structureWord,
  tableUnits,
  UNIT_WORDS,
} from './word.ts'

/** Where an IPv4 directory ends, and bitmaps of the next 6 bits begin. */
export const DIRECTORY_BITS = 18
const BITMAP_BITS = 6
const BITMAP_END = DIRECTORY_BITS + BITMAP_BITS
const RANGE_BITS = 32
const LINE_RANGES = 11
const FANOUT = 16
const NESTED_BITS = 8
const LAST = 0xffffffff
const LINE_WORDS = LINE_UNITS * UNIT_WORDS
/** Where a line's values begin, in u16 from its start. */
const LINE_VALUES = 2 * (LINE_RANGES - 1)

/** The arena has no room for a structure. What was allocated meanwhile is the caller's to roll back. */
export class FibFullError extends Error {
  override readonly name = 'FibFullError'
}

/** Numbers of records, in the order of compareRoutes. */
type Ids = Uint32Array

/** Ranges of 32-bit keys in order: the inclusive upper bound of each and its value, an answer or SIDE + the index of a word of `sides`. */
interface Ranges {
  bounds: number[]
  values: number[]
  sides: number[]
}
const SIDE = 0x10000

export class Builder {
  readonly #arena: Arena
  readonly #words: Uint32Array
  readonly #halves: Uint16Array
  readonly #routes: Uint32Array
  readonly #painted = new Uint32Array(2 ** BITMAP_BITS)
  readonly #values = new Uint32Array(2 ** BITMAP_BITS)

  /** @param words all of `fib` @param routes all of fib_routes */
  constructor(arena: Arena, words: Uint32Array, routes: Uint32Array) {
    this.#arena = arena
    this.#words = words
    this.#halves = new Uint16Array(words.buffer, words.byteOffset, words.length * 2)
    this.#routes = routes
  }

  /** Place of a table of 2^bits words, not written yet. @throws FibFullError */
  table(bits: number): number {
    return this.#allocate(tableUnits(bits))
  }

  /**
   * @param ids records in the order of compareRoutes; those from `from` to below `to` are longer than `level` and equal in the first `level` bits
   * @param cover answer for what no route of these contains
   * @returns the word. @throws FibFullError
   */
  build(ids: Ids, from: number, to: number, level: number, cover: number): number {
    if (from === to) return cover
    const isIpv4 = familyOf(this.#word1(ids[from] as number)) === ABI_FAMILY_IPV4
    if (isIpv4 && level === DIRECTORY_BITS) return this.#bitmap(ids, from, to, cover)
    const ranges = this.#sweep(ids, from, to, level, cover)
    const { length } = ranges.bounds
    if (length === 1) return ranges.values[0] as number
    if (length <= 3) return this.#short(ranges)
    if (length <= LINE_RANGES) return this.#line(ranges)
    if (length <= LINE_RANGES * FANOUT) return this.#lines(ranges)
    return this.#nestedTable(ids, from, to, level, Math.min(NESTED_BITS, (isIpv4 ? 32 : 128) - level), cover)
  }

  /** Frees everything that the word leads to. No program may be reading it any more. */
  release(word: number): void {
    const place = placeOf(word)
    switch (kindOf(word)) {
      case fibKind.FIB_ANSWER:
        return
      case fibKind.FIB_TABLE: {
        const bits = matchedBits(word)
        for (let slot = 0; slot < 2 ** bits; slot++) {
          const next = this.#words[place * UNIT_WORDS + slot] as number
          if (!isAnswer(next)) this.release(next)
        }
        this.#arena.free(place, tableUnits(bits))
        return
      }
      case fibKind.FIB_BITMAP: {
        const at = place * UNIT_WORDS
        const count = popcount32(this.#words[at] as number) + popcount32(this.#words[at + 1] as number)
        const sides = this.#releaseValues(place, at * 2 + 4, count)
        this.#arena.free(place, units(bitmapWords(count) + sides))
        return
      }
      case fibKind.FIB_SHORT:
        this.#arena.free(place, units(UNIT_WORDS + this.#releaseValues(place, place * UNIT_WORDS * 2 + 4, 3)))
        return
      case fibKind.FIB_LINE:
        this.#arena.free(place, units(LINE_WORDS + this.#releaseLine(place, place * UNIT_WORDS)))
        return
      case fibKind.FIB_LINES: {
        const at = place * UNIT_WORDS
        const last = this.#words.subarray(at, at + FANOUT - 1).indexOf(LAST)
        const lines = last < 0 ? FANOUT : last + 1
        let sides = 0
        for (let line = 1; line <= lines; line++) sides += this.#releaseLine(place, at + line * LINE_WORDS)
        this.#arena.free(place, units((1 + lines) * LINE_WORDS + sides))
      }
    }
  }

  #releaseLine(place: number, at: number): number {
    return this.#releaseValues(place, at * 2 + LINE_VALUES, LINE_RANGES)
  }

  /** @returns how many of the values lead deeper */
  #releaseValues(place: number, start: number, count: number): number {
    let sides = 0
    for (let i = start; i < start + count; i++) {
      const value = this.#halves[i] as number
      if (!(value & ABI_FIB_DEEPER)) continue
      this.release(this.#words[place * UNIT_WORDS + (value & ~ABI_FIB_DEEPER)] as number)
      sides++
    }
    return sides
  }

  #word1(id: number): number {
    return this.#routes[id * ROUTE_WORDS + 1] as number
  }

  #allocate(wanted: number): number {
    const place = this.#arena.allocate(wanted)
    if (place === undefined) throw new FibFullError(`no ${wanted * 16} bytes left in fib`)
    return place
  }

  /** A directory's word: 6 bits, and what is longer below. */
  #bitmap(ids: Ids, from: number, to: number, cover: number): number {
    const painted = this.#painted
    paint(painted, 0, painted.length, cover)
    const sides: number[] = []
    for (let i = from; i < to; ) {
      const id = ids[i] as number
      const length = lengthOf(this.#word1(id))
      const slot = bitsOf(this.#routes, id, DIRECTORY_BITS, BITMAP_BITS)
      if (length <= BITMAP_END) {
        paint(painted, slot, slot + (1 << (BITMAP_END - length)), nexthopOf(this.#word1(id)))
        i++
        continue
      }
      let end = i + 1
      while (end < to && bitsOf(this.#routes, ids[end] as number, DIRECTORY_BITS, BITMAP_BITS) === slot) end++
      painted[slot] = valueFor(this.build(ids, i, end, BITMAP_END, painted[slot] as number), sides)
      i = end
    }
    return this.#writeBitmap(painted, sides)
  }

  #writeBitmap(painted: Uint32Array, sides: readonly number[]): number {
    const values = this.#values
    let [low, high, count, before] = [0, 0, 0, -1]
    for (let slot = 0; slot < 64; slot++) {
      const value = painted[slot] as number
      if (value === before) continue
      if (slot < 32) low |= 1 << slot
      else high |= 1 << slot
      values[count++] = value
      before = value
    }
    if (count === 1 && before < SIDE) return before
    const head = bitmapWords(count)
    const place = this.#allocate(units(head + sides.length))
    const at = place * UNIT_WORDS
    this.#words[at] = low
    this.#words[at + 1] = high
    for (let i = 0; i < count; i++) this.#halves[at * 2 + 4 + i] = encodeValue(values[i] as number, head)
    this.#writeSides(at + head, sides)
    return structureWord(fibKind.FIB_BITMAP, BITMAP_BITS, place)
  }

  #writeSides(at: number, sides: readonly number[]): void {
    for (let i = 0; i < sides.length; i++) this.#words[at + i] = sides[i] as number
  }

  /** Routes to ranges: prefixes nest, so a stack of those that the sweep is inside of tells the longest. */
  #sweep(ids: Ids, from: number, to: number, level: number, cover: number): Ranges {
    const ranges: Ranges = { bounds: [], values: [], sides: [] }
    const ends = [LAST]
    const inside = [cover]
    let position = 0
    const leave = (start: number) => {
      while ((ends.at(-1) as number) < start) {
        const end = ends.pop() as number
        if (position <= end) append(ranges, end, inside.at(-1) as number)
        inside.pop()
        position = Math.max(position, end + 1)
      }
      if (start > position) append(ranges, start - 1, inside.at(-1) as number)
      position = Math.max(position, start)
    }
    for (let i = from; i < to; ) {
      const id = ids[i] as number
      const length = lengthOf(this.#word1(id)) - level
      const key = bitsOf(this.#routes, id, level, 32)
      leave(key)
      if (length <= 32) {
        ends.push(key + 2 ** (32 - length) - 1)
        inside.push(nexthopOf(this.#word1(id)))
        i++
        continue
      }
      let end = i + 1
      while (end < to && bitsOf(this.#routes, ids[end] as number, level, 32) === key) end++
      ends.push(key)
      inside.push(valueFor(this.build(ids, i, end, level + 32, inside.at(-1) as number), ranges.sides))
      i = end
    }
    leave(LAST + 1)
    return ranges
  }

  #short({ bounds, values, sides }: Ranges): number {
    const place = this.#allocate(units(UNIT_WORDS + sides.length))
    const at = place * UNIT_WORDS
    for (let i = 0; i < 2; i++) this.#words[at + i] = bounds[i] ?? LAST
    for (let i = 0; i < 4; i++) this.#halves[at * 2 + 4 + i] = encodeValue(values[i] ?? 0, UNIT_WORDS)
    this.#writeSides(at + UNIT_WORDS, sides)
    return structureWord(fibKind.FIB_SHORT, RANGE_BITS, place)
  }

  #line(ranges: Ranges): number {
    const head = LINE_WORDS
    const place = this.#allocate(units(head + ranges.sides.length))
    this.#writeLine(place * UNIT_WORDS, ranges, 0, head)
    this.#writeSides(place * UNIT_WORDS + head, ranges.sides)
    return structureWord(fibKind.FIB_LINE, RANGE_BITS, place)
  }

  #lines(ranges: Ranges): number {
    const lines = Math.ceil(ranges.bounds.length / LINE_RANGES)
    const head = (1 + lines) * LINE_WORDS
    const place = this.#allocate(units(head + ranges.sides.length))
    const at = place * UNIT_WORDS
    this.#words.fill(LAST, at, at + LINE_WORDS)
    for (let line = 0; line < lines; line++) {
      if (line < lines - 1) this.#words[at + line] = ranges.bounds[(line + 1) * LINE_RANGES - 1] as number
      this.#writeLine(at + (line + 1) * LINE_WORDS, ranges, line * LINE_RANGES, head)
    }
    this.#writeSides(at + head, ranges.sides)
    return structureWord(fibKind.FIB_LINES, RANGE_BITS, place)
  }

  #writeLine(at: number, { bounds, values }: Ranges, first: number, head: number): void {
    for (let i = 0; i < LINE_RANGES - 1; i++) this.#words[at + i] = bounds[first + i] ?? LAST
    for (let i = 0; i < LINE_RANGES + 1; i++)
      this.#halves[at * 2 + LINE_VALUES + i] = i < LINE_RANGES ? encodeValue(values[first + i] ?? 0, head) : 0
  }

  /** Too many ranges: by 8 bits first. */
  #nestedTable(ids: Ids, from: number, to: number, level: number, bits: number, cover: number): number {
    const place = this.table(bits)
    const slots = new Uint32Array(2 ** bits).fill(cover)
    for (let i = from; i < to; ) {
      const id = ids[i] as number
      const length = lengthOf(this.#word1(id)) - level
      const slot = bitsOf(this.#routes, id, level, bits)
      if (length <= bits) {
        slots.fill(nexthopOf(this.#word1(id)), slot, slot + 2 ** (bits - length))
        i++
        continue
      }
      let end = i + 1
      while (end < to && bitsOf(this.#routes, ids[end] as number, level, bits) === slot) end++
      slots[slot] = this.build(ids, i, end, level + bits, slots[slot] as number)
      i = end
    }
    this.#words.set(slots, place * UNIT_WORDS)
    return structureWord(fibKind.FIB_TABLE, bits, place)
  }
}

/** The bitmap itself and its values, padded to whole words. */
const bitmapWords = (values: number) => 2 + ((values + 1) >>> 1)
const units = (words: number) => Math.ceil(words / UNIT_WORDS)

/** A structure's words lie behind it, `head` words from its start. */
function encodeValue(value: number, head: number): number {
  return value < SIDE ? value : ABI_FIB_DEEPER | (head + value - SIDE)
}

function valueFor(word: number, sides: number[]): number {
  return isAnswer(word) ? word : SIDE + sides.push(word) - 1
}

/** As fill(), which costs more than it does for so few. */
function paint(slots: Uint32Array, from: number, to: number, value: number): void {
  for (let slot = from; slot < to; slot++) slots[slot] = value
}

function append({ bounds, values }: Ranges, end: number, value: number): void {
  if (values.at(-1) === value) bounds[bounds.length - 1] = end
  else {
    bounds.push(end)
    values.push(value)
  }
}
