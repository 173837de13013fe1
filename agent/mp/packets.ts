/**
 * The six handshake packets as bytes (layouts in schema/mpinit.ts; the first byte is the MP header's, bpf/wire.h). Parsing checks everything
 * that needs no key and never throws; formatting leaves no byte unset.
 */
import {
  COOKIE_NONCE_LENGTH,
  HANDSHAKE,
  MAX_INIT,
  MIN_INIT,
  MP_VERSION,
  SEALED_COOKIE_LENGTH,
} from '../../schema/mpinit.ts'
import { KEM_CIPHERTEXT_LENGTH, KEM_KEY_LENGTH } from './kem.ts'
import { equal, MAC_LENGTH, mac } from './mac.ts'
import { E1_OVERHEAD, EKEM1_OVERHEAD, MESSAGE_1_OVERHEAD, MESSAGE_2_OVERHEAD } from './noise.ts'

const INIT_HEADER = 8
const KEM_HEADER = 8
const RESPONSE_HEADER = 12
const COOKIE_LENGTH = 8 + COOKIE_NONCE_LENGTH + SEALED_COOKIE_LENGTH
const RESET_LENGTH = 8
const NO_MAC = Buffer.alloc(MAC_LENGTH)

/** Bytes of an INIT and of a RESPONSE beside their payloads. */
export const INIT_OVERHEAD = INIT_HEADER + MESSAGE_1_OVERHEAD + 2 * MAC_LENGTH
export const RESPONSE_OVERHEAD = RESPONSE_HEADER + MESSAGE_2_OVERHEAD + MAC_LENGTH

/** Bytes of an INIT_KEM and of a RESPONSE_KEM: the answer is the shorter one. */
export const INIT_KEM_LENGTH = KEM_HEADER + KEM_KEY_LENGTH + E1_OVERHEAD
export const RESPONSE_KEM_LENGTH = KEM_HEADER + KEM_CIPHERTEXT_LENGTH + EKEM1_OVERHEAD

/** One or two datagrams that belong together, in the order to send them in. */
export type Datagrams = readonly [Buffer, ...Buffer[]]

export interface InitPacket {
  type: 'init'
  senderSid: number
  noise: Uint8Array
  mac1: Uint8Array
  mac2: Uint8Array
}

export interface ResponsePacket {
  type: 'response'
  /** 0 in a refusal: there is no session. */
  senderSid: number
  receiverSid: number
  noise: Uint8Array
  mac1: Uint8Array
}

export interface CookiePacket {
  type: 'cookie'
  receiverSid: number
  nonce: Uint8Array
  sealed: Uint8Array
}

/** Unauthenticated: may only make the receiver try a handshake. */
export interface ResetPacket {
  type: 'reset'
  unknownSid: number
}

/** Neither has a mac1: they count only beside an INIT or a RESPONSE that was taken, and their seals are as cheap to check. */
export interface InitKemPacket {
  type: 'init-kem'
  senderSid: number
  sealed: Uint8Array
}

export interface ResponseKemPacket {
  type: 'response-kem'
  receiverSid: number
  sealed: Uint8Array
}

export type HandshakePacket =
  | InitPacket
  | ResponsePacket
  | CookiePacket
  | ResetPacket
  | InitKemPacket
  | ResponseKemPacket
export type ParseFailure = 'too-short' | 'too-long' | 'bad-version' | 'bad-type' | 'bad-reserved' | 'bad-session'
export type ParseResult<P> = { ok: true; packet: P } | { ok: false; reason: ParseFailure }

/** @param bytes a whole UDP payload; the parts of the result are views of it */
export function parsePacket(bytes: Uint8Array): ParseResult<HandshakePacket> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  const [first, ...reserved] = bytes.subarray(0, 4)
  if (first === undefined) return { ok: false, reason: 'too-short' }
  if (first >> 4 !== MP_VERSION) return { ok: false, reason: 'bad-version' }
  const type = first & 0x0f
  const limits = LENGTHS[type]
  if (limits === undefined) return { ok: false, reason: 'bad-type' }
  if (bytes.length < limits.least) return { ok: false, reason: 'too-short' }
  if (bytes.length > limits.most) return { ok: false, reason: 'too-long' }
  if (reserved.some(byte => byte !== 0)) return { ok: false, reason: 'bad-reserved' }
  const packet = cut(type, bytes, view)
  return packet === undefined ? { ok: false, reason: 'bad-session' } : { ok: true, packet }
}

const LENGTHS: Readonly<Record<number, { least: number; most: number }>> = {
  [HANDSHAKE.init]: { least: MIN_INIT, most: MAX_INIT },
  [HANDSHAKE.response]: { least: RESPONSE_OVERHEAD, most: MAX_INIT },
  [HANDSHAKE.cookie]: { least: COOKIE_LENGTH, most: COOKIE_LENGTH },
  [HANDSHAKE.reset]: { least: RESET_LENGTH, most: RESET_LENGTH },
  [HANDSHAKE.initKem]: { least: INIT_KEM_LENGTH, most: INIT_KEM_LENGTH },
  [HANDSHAKE.responseKem]: { least: RESPONSE_KEM_LENGTH, most: RESPONSE_KEM_LENGTH },
}

/** Undefined when a session id that must name a session is 0. */
function cut(type: number, bytes: Uint8Array, view: DataView): HandshakePacket | undefined {
  const end = bytes.length
  const sid = view.getUint32(4)
  switch (type) {
    case HANDSHAKE.init:
      if (sid === 0) return undefined
      return {
        type: 'init',
        senderSid: sid,
        noise: bytes.subarray(INIT_HEADER, end - 2 * MAC_LENGTH),
        mac1: bytes.subarray(end - 2 * MAC_LENGTH, end - MAC_LENGTH),
        mac2: bytes.subarray(end - MAC_LENGTH),
      }
    case HANDSHAKE.response: {
      const receiverSid = view.getUint32(8)
      if (receiverSid === 0) return undefined
      const noise = bytes.subarray(RESPONSE_HEADER, end - MAC_LENGTH)
      return { type: 'response', senderSid: sid, receiverSid, noise, mac1: bytes.subarray(end - MAC_LENGTH) }
    }
    case HANDSHAKE.cookie:
      if (sid === 0) return undefined
      return {
        type: 'cookie',
        receiverSid: sid,
        nonce: bytes.subarray(8, 8 + COOKIE_NONCE_LENGTH),
        sealed: bytes.subarray(8 + COOKIE_NONCE_LENGTH),
      }
    case HANDSHAKE.initKem:
      return sid === 0 ? undefined : { type: 'init-kem', senderSid: sid, sealed: bytes.subarray(KEM_HEADER) }
    case HANDSHAKE.responseKem:
      return sid === 0 ? undefined : { type: 'response-kem', receiverSid: sid, sealed: bytes.subarray(KEM_HEADER) }
    default:
      return { type: 'reset', unknownSid: sid }
  }
}

/**
 * @param key mac1 key of the responder (mac.ts)
 * @param cookie 16 bytes, where the responder gave one that is still good
 */
export function formatInit(senderSid: number, noise: Uint8Array, key: Uint8Array, cookie?: Uint8Array): Buffer {
  const body = Buffer.concat([header(HANDSHAKE.init, senderSid), noise])
  const checked = Buffer.concat([body, mac(key, body)])
  return Buffer.concat([checked, cookie === undefined ? NO_MAC : mac(cookie, checked)])
}

/** @param key mac1 key of the initiator */
export function formatResponse(senderSid: number, receiverSid: number, noise: Uint8Array, key: Uint8Array): Buffer {
  const body = Buffer.concat([header(HANDSHAKE.response, senderSid, receiverSid), noise])
  return Buffer.concat([body, mac(key, body)])
}

export function formatCookie(receiverSid: number, nonce: Uint8Array, sealed: Uint8Array): Buffer {
  return Buffer.concat([header(HANDSHAKE.cookie, receiverSid), nonce, sealed])
}

/** @param senderSid of the INIT that it belongs to */
export function formatInitKem(senderSid: number, sealed: Uint8Array): Buffer {
  return Buffer.concat([header(HANDSHAKE.initKem, senderSid), sealed])
}

export function formatResponseKem(receiverSid: number, sealed: Uint8Array): Buffer {
  return Buffer.concat([header(HANDSHAKE.responseKem, receiverSid), sealed])
}

export function formatReset(unknownSid: number): Buffer {
  return header(HANDSHAKE.reset, unknownSid)
}

/** @param bytes an INIT or RESPONSE that was parsed */
export function checkMac1(bytes: Uint8Array, packet: InitPacket | ResponsePacket, key: Uint8Array): boolean {
  const end = bytes.length - (packet.type === 'init' ? 2 : 1) * MAC_LENGTH
  return equal(mac(key, bytes.subarray(0, end)), packet.mac1)
}

/** False without a cookie: mac2 is all zero then, which no cookie gives but by a chance of 2^-128. */
export function checkMac2(bytes: Uint8Array, packet: InitPacket, cookie: Uint8Array): boolean {
  return equal(mac(cookie, bytes.subarray(0, bytes.length - MAC_LENGTH)), packet.mac2)
}

export function hasMac2(packet: InitPacket): boolean {
  return !equal(packet.mac2, NO_MAC)
}

function header(type: number, ...sids: readonly number[]): Buffer {
  const bytes = Buffer.alloc(4 + 4 * sids.length)
  bytes[0] = (MP_VERSION << 4) | type
  sids.forEach((sid, i) => {
    bytes.writeUInt32BE(sid, 4 + 4 * i)
  })
  return bytes
}
