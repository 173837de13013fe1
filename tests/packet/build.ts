/**
 * Packets by hand, from the RFCs and not from the code under test. Checksums and lengths are right unless a field says otherwise.
 *   ethernet(ip({ src, dst }, tcp({ flags: SYN })))
 */
import { parseAddress } from '../../schema/address.ts'

export type Bytes = Uint8Array

/** A layer 4 message; `checksumAt` is where its Internet checksum (with pseudo header unless `plain`) goes. */
export interface Layer4 {
  protocol: number
  bytes: Bytes
  checksumAt?: number
  plain?: boolean
}

export interface IpFields {
  src: string
  dst: string
  ttl?: number
  /** TOS byte or traffic class. */
  tos?: number
  /** IPv4 only; set unless said otherwise. */
  df?: boolean
  /** Fragment offset in bytes and whether more follow. In IPv6 this adds the extension header. */
  fragment?: { offset: number; more: boolean }
  /** IPv4 options or whole IPv6 extension headers (with their first byte, next header, still to be linked), multiples of 4 and 8 bytes. */
  options?: Bytes
  extensions?: { type: number; bytes: Bytes }[]
  id?: number
  /** Of the IP header, instead of the right one. */
  totalLength?: number
  payloadLength?: number
}

export const PROTOCOL = {
  ICMP: 1,
  TCP: 6,
  UDP: 17,
  ROUTING: 43,
  FRAGMENT: 44,
  ESP: 50,
  ICMPV6: 58,
  DESTINATION: 60,
} as const
export const SYN = 0x02
export const ACK = 0x10
const ZERO_MAC = [0, 0, 0, 0, 0, 0]
/** Of the station that sends to the node; the node's own is lo's, all zeros. */
export const STATION = [2, 0, 0, 0, 0, 9]

export function concat(...parts: Bytes[]): Bytes {
  return Uint8Array.from(Buffer.concat(parts))
}

/** RFC 1071, as a number in host order. */
export function checksum(...parts: Bytes[]): number {
  let sum = 0
  for (const [index, byte] of concat(...parts).entries()) sum += index % 2 === 0 ? byte << 8 : byte
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16)
  return ~sum & 0xffff
}

export function ethernet(payload: Bytes, { dst = ZERO_MAC, src = STATION, type = ethertype(payload) } = {}): Bytes {
  return concat(Uint8Array.of(...dst, ...src, type >> 8, type & 0xff), payload)
}

function ethertype(payload: Bytes): number {
  return (payload[0] ?? 0) >> 4 === 6 ? 0x86dd : 0x0800
}

export function ip(fields: IpFields, layer4: Layer4): Bytes {
  return fields.src.includes(':') ? ipv6(fields, layer4) : ipv4(fields, layer4)
}

function ipv4(fields: IpFields, layer4: Layer4): Bytes {
  const { ttl = 64, tos = 0, df = true, fragment, options = new Uint8Array(0), id = 0 } = fields
  const payload = summed(fields, layer4)
  const header = Buffer.alloc(20 + options.length)
  header.writeUInt8(0x40 | (header.length / 4), 0)
  header.writeUInt8(tos, 1)
  header.writeUInt16BE(fields.totalLength ?? header.length + payload.length, 2)
  header.writeUInt16BE(id, 4)
  header.writeUInt16BE((df ? 0x4000 : 0) | (fragment?.more ? 0x2000 : 0) | ((fragment?.offset ?? 0) / 8), 6)
  header.writeUInt8(ttl, 8)
  header.writeUInt8(layer4.protocol, 9)
  header.set(address(fields.src), 12)
  header.set(address(fields.dst), 16)
  header.set(options, 20)
  header.writeUInt16BE(checksum(header), 10)
  return concat(header, payload)
}

function ipv6(fields: IpFields, layer4: Layer4): Bytes {
  const { ttl = 64, tos = 0, fragment, extensions = [] } = fields
  const all = [...extensions]
  if (fragment) {
    const field = fragment.offset | (fragment.more ? 1 : 0)
    all.push({ type: PROTOCOL.FRAGMENT, bytes: Uint8Array.of(0, 0, field >> 8, field & 0xff, 0, 0, 0, 1) })
  }
  // Each header names the next one.
  const types = [...all.map(({ type }) => type), layer4.protocol]
  const chain = all.map(({ bytes }, index) => concat(Uint8Array.of(types[index + 1] ?? 0), bytes.subarray(1)))
  const payload = concat(...chain, summed(fields, layer4))
  const header = Buffer.alloc(40)
  header.writeUInt8(0x60 | (tos >> 4), 0)
  header.writeUInt8((tos & 0xf) << 4, 1)
  header.writeUInt16BE(fields.payloadLength ?? payload.length, 4)
  header.writeUInt8(types[0] ?? 0, 6)
  header.writeUInt8(ttl, 7)
  header.set(address(fields.src), 8)
  header.set(address(fields.dst), 24)
  return concat(header, payload)
}

/** The message with its checksum. */
function summed(fields: IpFields, { protocol, bytes, checksumAt, plain }: Layer4): Bytes {
  if (checksumAt === undefined) return bytes
  const copy = Buffer.from(bytes)
  const pseudo = Buffer.alloc(8)
  pseudo.writeUInt32BE(bytes.length, 0)
  pseudo.writeUInt32BE(protocol, 4)
  const covered = plain ? [copy] : [address(fields.src), address(fields.dst), pseudo, copy]
  copy.writeUInt16BE(checksum(...covered), checksumAt)
  return Uint8Array.from(copy)
}

export function address(text: string): Bytes {
  const parsed = parseAddress(text)
  if (!parsed) throw new TypeError(`not an address: ${text}`)
  return parsed.bytes
}

/** `length` bytes that are no two alike in a row. */
export function filler(length: number): Bytes {
  return Uint8Array.from({ length }, (_, index) => (index * 7 + 3) & 0xff)
}

export function udp(sport: number, dport: number, data: Bytes = filler(32), length = data.length + 8): Layer4 {
  const header = Buffer.alloc(8)
  header.writeUInt16BE(sport, 0)
  header.writeUInt16BE(dport, 2)
  header.writeUInt16BE(length, 4)
  return { protocol: PROTOCOL.UDP, bytes: concat(header, data), checksumAt: 6 }
}

/** As MP sends it: without a checksum. */
export function bareUdp(sport: number, dport: number, data: Bytes, length = data.length + 8): Layer4 {
  const { protocol, bytes } = udp(sport, dport, data, length)
  return { protocol, bytes }
}

export interface TcpFields {
  sport?: number
  dport?: number
  flags?: number
  options?: Bytes
  data?: Bytes
}

export function tcp(fields: TcpFields = {}): Layer4 {
  const { sport = 40000, dport = 443, flags = ACK, options = new Uint8Array(0), data = filler(10) } = fields
  const header = Buffer.alloc(20 + options.length)
  header.writeUInt16BE(sport, 0)
  header.writeUInt16BE(dport, 2)
  header.writeUInt32BE(0x01020304, 4)
  header.writeUInt32BE(0x05060708, 8)
  header.writeUInt8((header.length / 4) << 4, 12)
  header.writeUInt8(flags, 13)
  header.writeUInt16BE(0xfaf0, 14)
  header.set(options, 20)
  return { protocol: PROTOCOL.TCP, bytes: concat(header, data), checksumAt: 16 }
}

export function mssOption(mss: number): Bytes {
  return Uint8Array.of(2, 4, mss >> 8, mss & 0xff)
}

/** ICMP or ICMPv6: type, code, the four bytes after the checksum, and what follows. */
export function icmp(version: 4 | 6, type: number, code = 0, rest = 0, data: Bytes = filler(24)): Layer4 {
  const header = Buffer.alloc(8)
  header.writeUInt8(type, 0)
  header.writeUInt8(code, 1)
  header.writeUInt32BE(rest, 4)
  const bytes = concat(header, data)
  return version === 4
    ? { protocol: PROTOCOL.ICMP, bytes, checksumAt: 2, plain: true }
    : { protocol: PROTOCOL.ICMPV6, bytes, checksumAt: 2 }
}

/** SPI, sequence number and what is as good as ciphertext. */
export function esp(data: Bytes = filler(64)): Layer4 {
  return { protocol: PROTOCOL.ESP, bytes: concat(Uint8Array.of(0, 0, 16, 1, 0, 0, 0, 5), data) }
}

export function raw(protocol: number, bytes: Bytes = filler(24)): Layer4 {
  return { protocol, bytes }
}

/** The bytes with those at `offset` replaced. */
export function patched(bytes: Bytes, offset: number, ...values: number[]): Bytes {
  const copy = bytes.slice()
  copy.set(values, offset)
  return copy
}
