/** MP packets by hand (bpf/wire.h), tagged by the TypeScript SipHash, which the published vectors prove. */
import { type MpHdr, mpHdrCodec, mpTriggerCodec, mpType } from '../../schema/abi.gen.ts'
import { siphash24 } from '../../schema/siphash.ts'
import { type Bytes, bareUdp, concat, ethernet, type IpFields, ip } from './build.ts'
import { OTHER_SID, REMOTE_SID, WAN } from './world.ts'

/** Keys as bytes; the maps hold them as two little-endian words. */
export const NODE_KEY = Uint8Array.from({ length: 16 }, (_, index) => index)
export const PEER_KEY = Uint8Array.from({ length: 16 }, (_, index) => 0xf0 - index)

export interface MpFields extends Partial<Omit<MpHdr, 'tag' | 'versionType'>> {
  type?: number
  version?: number
  key?: Bytes
}

/** Header and payload, the tag right for `key`. */
export function mp(fields: MpFields, payload: Bytes): Bytes {
  const { type = mpType.MP_DATA, version = 1, key = PEER_KEY, ...header } = fields
  const all: MpHdr = {
    versionType: (version << 4) | type,
    path: 0,
    qos: 0,
    fec: 0,
    session: 0,
    number: 1n,
    timestampUs: 0,
    policyVersion: 0,
    sequence: 0,
    servicePath: 0,
    ...header,
    tag: 0n,
  }
  const covered = mpHdrCodec.encode(all).subarray(0, 32)
  const tag = siphash24(key, covered, payload.subarray(0, 16))
  return concat(mpHdrCodec.encode({ ...all, tag }), payload)
}

/** Payload of the datagram that becomes a probe. */
export function trigger(path: number, round = 0, size = 0): Bytes {
  return mpTriggerCodec.encode({ path, round, size, reserved: new Uint8Array(12) })
}

export interface OuterFields extends IpFields {
  sport?: number
  dport?: number
}

/** A frame as the WAN carries it. */
export function outer(fields: OuterFields, message: Bytes): Bytes {
  const { sport = 2426, dport = 2426, ...rest } = fields
  return ethernet(ip(rest, bareUdp(sport, dport, message)))
}

/** What the sending program wrote: the parts of a frame that went out in MP. */
export function dissect(frame: Bytes): { header: MpHdr; ip: Bytes; udp: Bytes; payload: Bytes } {
  const ipLength = (frame[14] ?? 0) >> 4 === 6 ? 40 : 20
  const at = 14 + ipLength
  return {
    ip: frame.subarray(14, at),
    udp: frame.subarray(at, at + 8),
    header: mpHdrCodec.decode(frame.subarray(at + 8, at + 48)),
    payload: frame.subarray(at + 48),
  }
}

/** Without the Ethernet header, which is the neighbour's to write: redirect_neigh throws this one away. */
export const ipOf = (frame: Bytes) => frame.subarray(14)

/** The code points of the classes 1 to 3 (RFC 4594, 5865, 8622); all others are 0. */
const CODE_POINTS = [[], [46, 44, 40, 48, 56], [34, 36, 38, 26, 28, 30, 18, 20, 22, 16, 24, 32], [8, 10, 12, 14, 1]]

export const classOfTos = (tos: number) =>
  Math.max(
    0,
    CODE_POINTS.findIndex(points => points.includes(tos >> 2)),
  )

/** The IP packet that must leave with `inner` on a path of the rig, its class that of `tos`: all but the timestamp, which is taken from the one that did leave. */
export function carried(
  left: Bytes,
  handle: number,
  inner: Bytes,
  change: Pick<MpFields, 'type' | 'number' | 'qos' | 'policyVersion' | 'sequence'> & { tos?: number } = {},
): Bytes {
  const { local, remote } = WAN[handle & 1 ? 6 : 4]
  const { tos = 0, qos = 0, ...fields } = change
  const { type = mpType.MP_DATA } = fields
  const header = {
    session: (handle & ~15) === OTHER_SID ? 0x800 : REMOTE_SID,
    path: handle & 1,
    policyVersion: 4,
    timestampUs: dissect(left).header.timestampUs,
    key: NODE_KEY,
    qos: type === mpType.MP_DATA ? (classOfTos(tos) << 6) | qos : qos,
    ...fields,
  }
  return ipOf(outer({ src: local, dst: remote, tos }, mp(header, inner)))
}
