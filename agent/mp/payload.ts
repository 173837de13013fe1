/** The inside of a Noise message: u16 length, CBOR, zero padding (schema/mpinit.ts). */
import type { z } from 'zod'
import { type Decoded, decodeCbor, encodeCbor } from './cbor.ts'

const LENGTH_FIELD = 2

/** @param least bytes of the result are at least this many */
export function encodePayload(value: unknown, least: number): Buffer {
  const cbor = encodeCbor(value)
  if (cbor.length > 0xffff) throw new RangeError(`a handshake payload of ${cbor.length} bytes`)
  const payload = Buffer.alloc(Math.max(least, LENGTH_FIELD + cbor.length))
  payload.writeUInt16BE(cbor.length)
  payload.set(cbor, LENGTH_FIELD)
  return payload
}

/** Bytes that `encodePayload` needs for the value when it does not pad. */
export function payloadLength(value: unknown): number {
  return LENGTH_FIELD + encodeCbor(value).length
}

export function decodePayload<T>(payload: Uint8Array, schema: z.ZodType<T>): Decoded<T> {
  if (payload.length < LENGTH_FIELD) return { ok: false, problem: 'payload too short' }
  const end = LENGTH_FIELD + new DataView(payload.buffer, payload.byteOffset).getUint16(0)
  if (end > payload.length) return { ok: false, problem: 'payload too short' }
  return decodeCbor(payload.subarray(LENGTH_FIELD, end), schema)
}
