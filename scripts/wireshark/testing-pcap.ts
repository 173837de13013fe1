/** Captures made by hand for the dissector's test: IP packets in, a pcap file out. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ABI_MP_PORT, type MpHdr, mpHdrCodec } from '../../schema/abi.gen.ts'
import { parseAddress } from '../../schema/address.ts'
import { siphash24 } from '../../schema/siphash.ts'

const PROTOCOL_UDP = 17

/** An IPv4 (checksum right, DF) or IPv6 packet. @param source and destination of one family */
export function ip(source: string, destination: string, protocol: number, payload: Uint8Array): Buffer {
  const [from, to] = [parseAddress(source), parseAddress(destination)]
  if (!from || !to || from.family !== to.family) throw new TypeError(`no packet from ${source} to ${destination}`)
  if (from.family === 6) {
    const header = Buffer.alloc(8)
    header[0] = 0x60
    header.writeUInt16BE(payload.length, 4)
    header.set([protocol, 64], 6)
    return Buffer.concat([header, from.bytes, to.bytes, payload])
  }
  const header = Buffer.alloc(20)
  header[0] = 0x45
  header.writeUInt16BE(20 + payload.length, 2)
  header.writeUInt16BE(0x4000, 6)
  header.set([64, protocol], 8)
  header.set(from.bytes, 12)
  header.set(to.bytes, 16)
  let sum = 0
  for (let at = 0; at < 20; at += 2) sum += header.readUInt16BE(at)
  header.writeUInt16BE(~((sum & 0xffff) + (sum >> 16)) & 0xffff, 10)
  return Buffer.concat([header, payload])
}

/** UDP with checksum 0, as the programs send it over both families. */
export function udp(source: string, destination: string, payload: Uint8Array, port = ABI_MP_PORT): Buffer {
  const header = Buffer.alloc(8)
  header.writeUInt16BE(port, 0)
  header.writeUInt16BE(port, 2)
  header.writeUInt16BE(8 + payload.length, 4)
  return ip(source, destination, PROTOCOL_UDP, Buffer.concat([header, payload]))
}

/** A tagged MP packet. @param key SipHash, 16 bytes. @param payload at least 16 bytes */
export function mp(key: Uint8Array, header: Omit<MpHdr, 'tag'>, payload: Uint8Array): Buffer {
  const bytes = mpHdrCodec.encode({ ...header, tag: 0n })
  const tag = siphash24(key, bytes.subarray(0, 32), payload.subarray(0, 16))
  return Buffer.concat([mpHdrCodec.encode({ ...header, tag }), payload])
}

/** A capture file that goes with the value. Format: pcap(5); link type 101, raw IP. */
export class PcapFile implements Disposable {
  readonly path: string
  readonly #folder = mkdtempSync(join(tmpdir(), 'branchline-pcap-'))

  constructor(packets: readonly Uint8Array[]) {
    const header = Buffer.alloc(24)
    header.writeUInt32LE(0xa1b2c3d4, 0)
    header.writeUInt16LE(2, 4)
    header.writeUInt16LE(4, 6)
    header.writeUInt32LE(65_535, 16)
    header.writeUInt32LE(101, 20)
    const records = packets.flatMap((packet, second) => {
      const record = Buffer.alloc(16)
      record.writeUInt32LE(1_700_000_000 + second, 0)
      record.writeUInt32LE(packet.length, 8)
      record.writeUInt32LE(packet.length, 12)
      return [record, packet]
    })
    this.path = join(this.#folder, 'packets.pcap')
    writeFileSync(this.path, Buffer.concat([header, ...records]))
  }

  [Symbol.dispose](): void {
    rmSync(this.#folder, { recursive: true, force: true })
  }
}
