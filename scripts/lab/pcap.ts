/**
 * Reads a capture of tcpdump `-i any` (LINKTYPE_LINUX_SLL2) and tells what kinds of packets are in it.
 * Formats: pcap(5) savefile, https://www.tcpdump.org/linktypes/LINKTYPE_LINUX_SLL2.html.
 */
import { ABI_MP_PORT } from '../../schema/abi.gen.ts'

const FILE_HEADER = 24
const RECORD_HEADER = 16
const MAGIC_LITTLE = 0xa1b2c3d4
const LINKTYPE_LINUX_SLL2 = 276
const SLL2_HEADER = 20

const ETHERTYPE = { ipv4: 0x0800, arp: 0x0806, ipv6: 0x86dd } as const
const PROTOCOL = { udp: 17, icmp6: 58, hopByHop: 0 } as const
const IPV6_HEADER = 40

/**
 * mp: UDP from or to port 2426. neighbour: ARP, IPv6 neighbour discovery and multicast listener reports, which stay on one link.
 * other: everything else, also what cannot be parsed.
 */
export type PacketKind = 'mp' | 'neighbour' | 'other'

export interface CaptureSummary {
  readonly packets: Readonly<Record<PacketKind, number>>
  readonly ipv4: number
  /** Packets in which `needle` stands. */
  readonly matches: number
  /** The first packets of kind `other`, in hexadecimal from the network header. */
  readonly strangers: readonly string[]
}

/**
 * @param needle text to look for in every packet
 * @param end text that marks the first packet which does not count any more
 * @throws RangeError when the file is no such capture
 */
export function summarise(file: Buffer, { needle, end }: { needle: string; end: string }): CaptureSummary {
  const packets = { mp: 0, neighbour: 0, other: 0 }
  const strangers: string[] = []
  let matches = 0
  let ipv4 = 0
  for (const { ethertype, packet } of captured(file, end)) {
    const kind = kindOf(ethertype, packet)
    packets[kind]++
    if (ethertype === ETHERTYPE.ipv4) ipv4++
    if (packet.includes(needle)) matches++
    if (kind === 'other' && strangers.length < 5) strangers.push(packet.subarray(0, 64).toString('hex'))
  }
  return { packets, ipv4, matches, strangers }
}

export interface Captured {
  /** Unix time, s */
  readonly time: number
  readonly ethertype: number
  /** from its network header */
  readonly packet: Buffer
}

/** What was captured, up to the first packet in which `end` stands. @throws RangeError when the file is no such capture */
export function* captured(file: Buffer, end: string): Generator<Captured> {
  if (
    file.length < FILE_HEADER ||
    file.readUInt32LE(0) !== MAGIC_LITTLE ||
    file.readUInt32LE(20) !== LINKTYPE_LINUX_SLL2
  )
    throw new RangeError('not a little-endian pcap file of tcpdump -i any')
  // The last record may be cut off when the writer was killed.
  for (let at = FILE_HEADER; at + RECORD_HEADER <= file.length; ) {
    const length = file.readUInt32LE(at + 8)
    const begin = at + RECORD_HEADER
    if (length < SLL2_HEADER || begin + length > file.length) return
    const record = file.subarray(begin, begin + length)
    if (record.includes(end)) return
    const time = file.readUInt32LE(at) + file.readUInt32LE(at + 4) / 1e6
    yield { time, ethertype: record.readUInt16BE(0), packet: record.subarray(SLL2_HEADER) }
    at = begin + length
  }
}

/** @param packet from its network header */
export function kindOf(ethertype: number, packet: Buffer): PacketKind {
  if (ethertype === ETHERTYPE.arp) return 'neighbour'
  const transport = transportOf(ethertype, packet)
  if (transport === undefined) return 'other'
  const { protocol, payload } = transport
  if (protocol === PROTOCOL.udp && payload.length >= 8)
    return payload.readUInt16BE(0) === ABI_MP_PORT || payload.readUInt16BE(2) === ABI_MP_PORT ? 'mp' : 'other'
  if (protocol === PROTOCOL.icmp6 && payload.length > 0)
    return isNeighbourDiscovery(payload.readUInt8(0)) ? 'neighbour' : 'other'
  return 'other'
}

export type Transport = {
  readonly protocol: number
  readonly payload: Buffer
  /** of the payload on the wire, of which the capture may have less */
  readonly length: number
}

/** undefined: cut off, or no IP packet */
export function transportOf(ethertype: number, packet: Buffer): Transport | undefined {
  if (ethertype === ETHERTYPE.ipv4) return transport4(packet)
  return ethertype === ETHERTYPE.ipv6 ? transport6(packet) : undefined
}

function transport4(packet: Buffer): Transport | undefined {
  if (packet.length < 20) return undefined
  const header = (packet.readUInt8(0) & 0xf) * 4
  return { protocol: packet.readUInt8(9), payload: packet.subarray(header), length: packet.readUInt16BE(2) - header }
}

function transport6(packet: Buffer): Transport | undefined {
  if (packet.length < IPV6_HEADER) return undefined
  const [next, length] = [packet.readUInt8(6), packet.readUInt16BE(4)]
  // Multicast listener reports stand behind a hop-by-hop header (RFC 3810 section 5), of 8 bytes.
  if (next === PROTOCOL.hopByHop && packet.length >= IPV6_HEADER + 8)
    return { protocol: packet.readUInt8(IPV6_HEADER), payload: packet.subarray(IPV6_HEADER + 8), length: length - 8 }
  return { protocol: next, payload: packet.subarray(IPV6_HEADER), length }
}

/** RFC 4861 section 4 (133 to 137), RFC 2710 and RFC 3810 (130 to 132, 143). */
function isNeighbourDiscovery(type: number): boolean {
  return (type >= 130 && type <= 137) || type === 143
}
