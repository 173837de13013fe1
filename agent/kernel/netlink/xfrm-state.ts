/** XFRM_MSG_*SA: struct xfrm_usersa_info and XFRMA_* (include/uapi/linux/xfrm.h). */
import { formatAddress } from '../../../schema/address.ts'
import { viewOf } from '../../../schema/codec.ts'
import type { SecurityAssociation, SecurityAssociationState } from '../port.ts'
import { AF_INET6, toBytes } from './address.ts'
import { type Message, parseAttributes, readU32, Writer } from './codec.ts'

export const XFRM_MSG_NEWSA = 0x10
export const XFRM_MSG_DELSA = 0x11
export const XFRM_MSG_GETSA = 0x12

export const XFRM_MODE_TUNNEL = 1
export const XFRMA_IF_ID = 31
export const IPPROTO_ESP = 50

// Offsets in struct xfrm_usersa_info; addresses are unions of 16 bytes, the selector (bytes 0 to 55) stays empty.
const USERSA_INFO = {
  size: 224,
  destination: 56,
  spi: 72,
  protocol: 76,
  source: 80,
  limits: 96,
  bytes: 160,
  packets: 168,
  replayErrors: 196,
  integrityErrors: 200,
  reqid: 208,
  family: 212,
  mode: 214,
  flags: 216,
}
const USERSA_ID = { size: 24, spi: 16, family: 20, protocol: 22 }

const XFRMA_ALG_AEAD = 18
const XFRMA_REPLAY_ESN_VAL = 23
const XFRMA_SA_DIR = 33
const XFRM_SA_DIR_IN = 1
const XFRM_SA_DIR_OUT = 2
const XFRM_STATE_AF_UNSPEC = 32
const XFRM_STATE_ESN = 128
/** XFRM_INF: no limit. */
export const NO_LIMIT = 0xffffffffffffffffn

const AEAD = 'rfc4106(gcm(aes))'
const AEAD_NAME = 64
const ICV_BITS = 128

export function addAssociation(association: SecurityAssociation): Uint8Array {
  const source = toBytes(association.source)
  const destination = toBytes(association.destination)
  const writer = new Writer()
  const info = writer.struct(USERSA_INFO.size)
  putBytes(info, USERSA_INFO.destination, destination.bytes)
  info.setUint32(USERSA_INFO.spi, association.spi)
  info.setUint8(USERSA_INFO.protocol, IPPROTO_ESP)
  putBytes(info, USERSA_INFO.source, source.bytes)
  // Byte and packet limits; the four times behind them mean "none" as 0. Rekeying is the agent's business.
  for (let index = 0; index < 4; index++) info.setBigUint64(USERSA_INFO.limits + index * 8, NO_LIMIT, true)
  info.setUint32(USERSA_INFO.reqid, association.ifId, true)
  info.setUint16(USERSA_INFO.family, destination.family, true)
  info.setUint8(USERSA_INFO.mode, XFRM_MODE_TUNNEL)
  // AF_UNSPEC: IPv4 and IPv6 go through one SA.
  info.setUint8(USERSA_INFO.flags, XFRM_STATE_AF_UNSPEC | XFRM_STATE_ESN)
  return writer
    .bytes(XFRMA_ALG_AEAD, aead(association.key))
    .bytes(XFRMA_REPLAY_ESN_VAL, replay(association))
    .u32(XFRMA_IF_ID, association.ifId)
    .u8(XFRMA_SA_DIR, association.direction === 'in' ? XFRM_SA_DIR_IN : XFRM_SA_DIR_OUT)
    .finish()
}

/** The kernel finds an ESP state by destination and SPI alone. */
export function deleteAssociation(association: { destination: string; spi: number }): Uint8Array {
  const destination = toBytes(association.destination)
  const writer = new Writer()
  const id = writer.struct(USERSA_ID.size)
  putBytes(id, 0, destination.bytes)
  id.setUint32(USERSA_ID.spi, association.spi)
  id.setUint16(USERSA_ID.family, destination.family, true)
  id.setUint8(USERSA_ID.protocol, IPPROTO_ESP)
  return writer.finish()
}

export function parseAssociation({ payload }: Message): SecurityAssociationState | undefined {
  const info = viewOf(payload)
  if (info.getUint8(USERSA_INFO.protocol) !== IPPROTO_ESP) return undefined
  const family = info.getUint16(USERSA_INFO.family, true)
  const attributes = parseAttributes(payload, USERSA_INFO.size)
  const direction = attributes.get(XFRMA_SA_DIR)?.[0]
  return {
    direction: direction === undefined ? undefined : direction === XFRM_SA_DIR_IN ? 'in' : 'out',
    source: takeAddress(payload, USERSA_INFO.source, family),
    destination: takeAddress(payload, USERSA_INFO.destination, family),
    spi: info.getUint32(USERSA_INFO.spi),
    ifId: readU32(attributes.get(XFRMA_IF_ID)) ?? 0,
    packets: Number(info.getBigUint64(USERSA_INFO.packets, true)),
    bytes: Number(info.getBigUint64(USERSA_INFO.bytes, true)),
    replayErrors: info.getUint32(USERSA_INFO.replayErrors, true),
    integrityErrors: info.getUint32(USERSA_INFO.integrityErrors, true),
  }
}

/** struct xfrm_algo_aead: name, key length and ICV length in bits, key with its salt. */
function aead(key: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(AEAD_NAME + 8 + key.length)
  bytes.set(new TextEncoder().encode(AEAD))
  const view = viewOf(bytes)
  view.setUint32(AEAD_NAME, key.length * 8, true)
  view.setUint32(AEAD_NAME + 4, ICV_BITS, true)
  bytes.set(key, AEAD_NAME + 8)
  return bytes
}

/** struct xfrm_replay_state_esn: an output SA has no window, and the kernel (since 6.10) says so when it is given one. */
function replay({ direction, replayWindow }: SecurityAssociation): Uint8Array {
  const window = direction === 'in' ? replayWindow : 0
  const words = Math.ceil(window / 32)
  const bytes = new Uint8Array(24 + words * 4)
  const view = viewOf(bytes)
  view.setUint32(0, words, true)
  view.setUint32(20, window, true)
  return bytes
}

export function putBytes(view: DataView, offset: number, bytes: Uint8Array): void {
  new Uint8Array(view.buffer, view.byteOffset + offset, bytes.length).set(bytes)
}

export function takeAddress(bytes: Uint8Array, offset: number, family: number): string {
  return formatAddress(bytes.subarray(offset, offset + (family === AF_INET6 ? 16 : 4)))
}
