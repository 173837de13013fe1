/** Records of struct fib_route (bpf/abi/fib.h) as words: the form in which routes lie in the kernel, and travel between the agent and its FIB worker. */
import { ABI_FAMILY_IPV4, ABI_FAMILY_IPV6 } from '../../../schema/abi.gen.ts'
import { formatAddress, parseAddress } from '../../../schema/address.ts'
import type { FibKey } from '../fib-key.ts'

export const ROUTE_WORDS = 6

/** Word 1: next hop in bits 0 to 15, prefix length in 16 to 23, family in 24 to 31. */
export const nexthopOf = (word1: number) => word1 & 0xffff
export const lengthOf = (word1: number) => (word1 >>> 16) & 0xff
export const familyOf = (word1: number) => word1 >>> 24

/**
 * `bits` (1 to 32) bits of a record's address from bit `level` on, left-aligned where `bits` is 32. Addresses are two little-endian u64, so their
 * 32-bit words lie in the order 1, 0, 3, 2.
 */
export function bitsOf(records: Uint32Array, record: number, level: number, bits: number): number {
  const shift = level & 31
  const at = record * ROUTE_WORDS + 2
  const word = level >>> 5
  if (bits === 0) return 0
  let value = (records[at + (word ^ 1)] as number) << shift
  if (shift + bits > 32 && word < 3) value |= (records[at + ((word + 1) ^ 1)] as number) >>> (32 - shift)
  return value >>> (32 - bits)
}

/** Order of addresses, and of lengths where addresses are equal: what contains comes before what it contains. */
export function compareRoutes(lefts: Uint32Array, a: number, rights: Uint32Array, b: number): number {
  const left = a * ROUTE_WORDS
  const right = b * ROUTE_WORDS
  return (
    (lefts[left + 3] as number) - (rights[right + 3] as number) ||
    (lefts[left + 2] as number) - (rights[right + 2] as number) ||
    (lefts[left + 5] as number) - (rights[right + 5] as number) ||
    (lefts[left + 4] as number) - (rights[right + 4] as number) ||
    lengthOf(lefts[left + 1] as number) - lengthOf(rights[right + 1] as number)
  )
}

/** @param nexthop 0: none, as a change it means: remove. @throws TypeError for what is no prefix, or has bits set behind its length */
export function writeRoute(records: Uint32Array, record: number, key: FibKey, nexthop: number): void {
  const parsed = parseAddress(key.address)
  const { vrf, prefixLength } = key
  if (!parsed || prefixLength > parsed.bytes.length * 8)
    throw new TypeError(`not a prefix: ${key.address}/${prefixLength}`)
  const wide = new Uint8Array(16)
  wide.set(parsed.bytes)
  const words = new DataView(wide.buffer)
  const at = record * ROUTE_WORDS
  records[at] = vrf
  const family = parsed.family === 4 ? ABI_FAMILY_IPV4 : ABI_FAMILY_IPV6
  for (let word = 0; word < 4; word++) {
    const value = words.getUint32(word * 4)
    const kept = Math.min(Math.max(prefixLength - word * 32, 0), 32)
    if (kept < 32 && value << kept !== 0) throw new TypeError(`bits behind the length: ${key.address}/${prefixLength}`)
    records[at + 2 + (word ^ 1)] = value
  }
  records[at + 1] = ((family << 24) | (prefixLength << 16) | nexthop) >>> 0
}

export function readRoute(records: Uint32Array, record: number): [FibKey, number] {
  const at = record * ROUTE_WORDS
  const word1 = records[at + 1] as number
  const wide = new DataView(new ArrayBuffer(16))
  for (let word = 0; word < 4; word++) wide.setUint32(word * 4, records[at + 2 + (word ^ 1)] as number)
  const bytes = new Uint8Array(wide.buffer, 0, familyOf(word1) === ABI_FAMILY_IPV4 ? 4 : 16)
  const key = { vrf: records[at] as number, address: formatAddress(bytes), prefixLength: lengthOf(word1) }
  return [key, nexthopOf(word1)]
}
