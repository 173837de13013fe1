/** The words of the FIB (bpf/abi/fib.h): what comes next for the addresses that reach one. */
import { ABI_FIB_UNIT, fibKind } from '../../../schema/abi.gen.ts'

/** 16 bytes: what places are counted in. */
export const UNIT_WORDS = ABI_FIB_UNIT / 4
/** A cache line. */
export const LINE_UNITS = 4

const KIND_SHIFT = 29
const BITS_SHIFT = 23

/** @param bits of the address that are matched there @param place units from the start of `fib` */
export function structureWord(kind: number, bits: number, place: number): number {
  return ((kind << KIND_SHIFT) | (bits << BITS_SHIFT) | place) >>> 0
}

export const kindOf = (word: number) => word >>> KIND_SHIFT
export const matchedBits = (word: number) => (word >>> BITS_SHIFT) & 0x3f
export const placeOf = (word: number) => word & 0x7fffff
/** A word that is an answer is the index of the next hop. */
export const isAnswer = (word: number) => kindOf(word) === fibKind.FIB_ANSWER

/** Units of a table of 2^bits words. */
export const tableUnits = (bits: number) => Math.max(1, 2 ** bits / UNIT_WORDS)

/** Set bits. Knuth, The Art of Computer Programming 4A, 7.1.3. */
export function popcount32(x: number): number {
  let sum = x - ((x >>> 1) & 0x55555555)
  sum = (sum & 0x33333333) + ((sum >>> 2) & 0x33333333)
  return Math.imul((sum + (sum >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24
}
