/**
 * IPv4 and IPv6 addresses and prefixes as text and bytes. One canonical text for each value: dotted decimal without leading zeros, RFC 5952
 * for IPv6, so texts may be compared and used as map keys.
 */

/** Address bytes are in network order: 4 for IPv4, 16 for IPv6. */
export interface ParsedAddress {
  family: 4 | 6
  bytes: Uint8Array
}

export interface Prefix {
  family: 4 | 6
  /** Network order, 4 or 16 bytes; bits behind `length` may be set (an interface address with its prefix length). */
  bytes: Uint8Array
  /** Prefix length in bits. */
  length: number
}

/** Accepts what inet_pton accepts, no zone id; undefined for anything else. */
export function parseAddress(text: string): ParsedAddress | undefined {
  const ipv4 = parseIpv4(text)
  if (ipv4) return { family: 4, bytes: ipv4 }
  const ipv6 = parseIpv6(text)
  if (ipv6) return { family: 6, bytes: ipv6 }
  return undefined
}

/** @param bytes 4 or 16 bytes in network order. @throws RangeError on another length */
export function formatAddress(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join('.')
  if (bytes.length === 16) return formatIpv6(bytes)
  throw new RangeError(`an address has 4 or 16 bytes, not ${bytes.length}`)
}

/** `address/length`; a prefix without a length is undefined. Host bits may be set: see canonicalPrefix. */
export function parsePrefix(text: string): Prefix | undefined {
  const slash = text.indexOf('/')
  if (slash < 0) return undefined
  const address = parseAddress(text.slice(0, slash))
  const lengthText = text.slice(slash + 1)
  if (!address || !/^(0|[1-9]\d{0,2})$/.test(lengthText)) return undefined
  const length = Number(lengthText)
  if (length > address.bytes.length * 8) return undefined
  return { ...address, length }
}

export function formatPrefix(prefix: Prefix): string {
  return `${formatAddress(prefix.bytes)}/${prefix.length}`
}

/** The one text of a prefix; undefined when `text` is no prefix or has bits set behind its length. */
export function canonicalPrefix(text: string): string | undefined {
  const prefix = parsePrefix(text)
  if (!prefix || !equalBits(prefix.bytes, networkBytes(prefix), prefix.bytes.length * 8)) return undefined
  return formatPrefix(prefix)
}

/** The prefix's bytes with everything behind its length cleared. */
export function networkBytes(prefix: Prefix): Uint8Array {
  return prefix.bytes.map((byte, index) => byte & byteMask(prefix.length - index * 8))
}

/** Is every address of `inner` in `outer`? A prefix contains itself; families never contain each other. */
export function prefixContains(outer: Prefix, inner: Prefix): boolean {
  return (
    outer.family === inner.family && outer.length <= inner.length && equalBits(outer.bytes, inner.bytes, outer.length)
  )
}

/** Do they share an address? Then one contains the other. */
export function prefixesOverlap(a: Prefix, b: Prefix): boolean {
  return a.family === b.family && equalBits(a.bytes, b.bytes, Math.min(a.length, b.length))
}

/** An IPv4 address as the number that its four bytes are in network order: 10.0.0.1 is 0x0a000001. @throws TypeError */
export function be32(text: string): number {
  const bytes = parseIpv4(text)
  if (!bytes) throw new TypeError(`not an IPv4 address: ${text}`)
  return new DataView(bytes.buffer).getUint32(0)
}

/** The reverse of be32. @param value 0 to 2^32 - 1 */
export function formatBe32(value: number): string {
  const bytes = new Uint8Array(4)
  new DataView(bytes.buffer).setUint32(0, value)
  return formatAddress(bytes)
}

function parseIpv4(text: string): Uint8Array<ArrayBuffer> | undefined {
  const parts = text.split('.')
  if (parts.length !== 4) return undefined
  const bytes = new Uint8Array(4)
  for (const [index, part] of parts.entries()) {
    // No leading zeros: "010" is 8 to some and 10 to others.
    if (!/^(0|[1-9]\d{0,2})$/.test(part)) return undefined
    const value = Number(part)
    if (value > 255) return undefined
    bytes[index] = value
  }
  return bytes
}

function parseIpv6(text: string): Uint8Array | undefined {
  const halves = text.split('::')
  if (halves.length > 2) return undefined
  const head = parseGroups(halves[0] ?? '', halves.length === 1)
  const tail = halves.length === 2 ? parseGroups(halves[1] ?? '', true) : []
  if (!head || !tail) return undefined
  const zeros = 8 - head.length - tail.length
  // "::" stands for at least one group (RFC 4291 section 2.2).
  if (halves.length === 2 ? zeros < 1 : zeros !== 0) return undefined
  const bytes = new Uint8Array(16)
  const view = new DataView(bytes.buffer)
  for (const [index, group] of head.entries()) view.setUint16(index * 2, group)
  for (const [index, group] of tail.entries()) view.setUint16((8 - tail.length + index) * 2, group)
  return bytes
}

/** Groups of one side of "::"; the last may be a dotted IPv4 address where `last` says that the text ends here. */
function parseGroups(text: string, last: boolean): number[] | undefined {
  if (text === '') return []
  const parts = text.split(':')
  const groups: number[] = []
  for (const [index, part] of parts.entries()) {
    if (last && index === parts.length - 1 && part.includes('.')) {
      const ipv4 = parseIpv4(part)
      if (!ipv4) return undefined
      const view = new DataView(ipv4.buffer)
      groups.push(view.getUint16(0), view.getUint16(2))
    } else if (/^[0-9a-f]{1,4}$/i.test(part)) {
      groups.push(Number.parseInt(part, 16))
    } else return undefined
  }
  return groups
}

/** RFC 5952: lower case, the first longest run of two or more zero groups as "::", IPv4-mapped addresses with a dotted end. */
function formatIpv6(bytes: Uint8Array): string {
  const view = new DataView(bytes.buffer, bytes.byteOffset, 16)
  const groups = Array.from({ length: 8 }, (_, index) => view.getUint16(index * 2))
  const mapped = groups.slice(0, 5).every(group => group === 0) && groups[5] === 0xffff
  if (mapped) return `::ffff:${bytes.subarray(12).join('.')}`
  const run = longestZeroRun(groups)
  const hex = groups.map(group => group.toString(16))
  if (run.length < 2) return hex.join(':')
  return `${hex.slice(0, run.start).join(':')}::${hex.slice(run.start + run.length).join(':')}`
}

function longestZeroRun(groups: readonly number[]): { start: number; length: number } {
  let best = { start: 0, length: 0 }
  let length = 0
  for (const [index, group] of groups.entries()) {
    length = group === 0 ? length + 1 : 0
    if (length > best.length) best = { start: index - length + 1, length }
  }
  return best
}

/** The mask of a byte of which the first `bits` count; `bits` may lie outside 0 to 8. */
function byteMask(bits: number): number {
  return (0xff00 >> Math.min(Math.max(bits, 0), 8)) & 0xff
}

/** Are the first `length` bits equal? */
function equalBits(a: Uint8Array, b: Uint8Array, length: number): boolean {
  return a.every((byte, index) => ((byte ^ (b[index] ?? 0)) & byteMask(length - index * 8)) === 0)
}
