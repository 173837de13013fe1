/** Packets that benchmarks run programs on. */

/** Ethernet, IPv4, UDP and zeros: `length` bytes with the Ethernet header, at least 42. Checksums are 0. */
export function testPacket(length: number): Uint8Array {
  const packet = Buffer.alloc(length)
  packet.writeUInt16BE(0x0800, 12)
  const ip = packet.subarray(14)
  ip[0] = 0x45
  ip.writeUInt16BE(length - 14, 2)
  ip[8] = 64
  ip[9] = 17
  ip.set([10, 1, 0, 5, 10, 2, 0, 7], 12)
  const udp = ip.subarray(20)
  udp.writeUInt16BE(40_000, 0)
  udp.writeUInt16BE(40_001, 2)
  udp.writeUInt16BE(length - 34, 4)
  return packet
}
