/** What each side of a route session says in clear before its first record (schema/route-messages.ts). */
import type { ByteQueue } from './record.ts'

export const SALT_LENGTH = 16
const MAGIC = Buffer.from([...Buffer.from('BLRS'), 1, 0, 0, 0])
const DIAL_LENGTH = MAGIC.length + 4 + SALT_LENGTH
const LISTEN_LENGTH = MAGIC.length + SALT_LENGTH

export interface Preface {
  /** Of the listener's session; 0 in the listener's own preface. */
  sid: number
  salt: Uint8Array
}

/** @param sid as the listener numbers it. @param salt 16 random bytes */
export function dialPreface(sid: number, salt: Uint8Array): Buffer {
  const number = Buffer.alloc(4)
  number.writeUInt32BE(sid)
  return Buffer.concat([MAGIC, number, salt])
}

export function listenPreface(salt: Uint8Array): Buffer {
  return Buffer.concat([MAGIC, salt])
}

/** @returns undefined: not all bytes are here; 'bad': the peer speaks something else, which shows at its first wrong byte */
export function takePreface(bytes: ByteQueue, from: 'dialler' | 'listener'): Preface | 'bad' | undefined {
  const start = bytes.peek(Math.min(bytes.length, MAGIC.length))
  if (start === undefined || !MAGIC.subarray(0, start.length).equals(start)) return 'bad'
  const length = from === 'dialler' ? DIAL_LENGTH : LISTEN_LENGTH
  const preface = bytes.take(length)
  if (preface === undefined) return undefined
  const salt = Uint8Array.from(preface.subarray(length - SALT_LENGTH))
  const view = new DataView(preface.buffer, preface.byteOffset)
  return { sid: from === 'dialler' ? view.getUint32(MAGIC.length) : 0, salt }
}
