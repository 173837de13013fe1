/**
 * CBOR (RFC 8949) as Branchline's messages use it: maps with text keys, arrays, text, byte strings, numbers, booleans, null. cbor-x also reads
 * tags that make regular expressions, typed arrays and compiled record readers, and trusts lengths; what arrives from a network is held to
 * the small subset first, so its cost is bounded by its size.
 */
import { Decoder, Encoder } from 'cbor-x'
import type { z } from 'zod'

const OPTIONS = {
  useRecords: false,
  mapsAsObjects: true,
  tagUint8Array: false,
  copyBuffers: true,
  variableMapSize: true,
}
const encoder = new Encoder(OPTIONS)
const decoder = new Decoder(OPTIONS)

const MAX_DEPTH = 8

/** Byte strings are written for Uint8Arrays; members that are undefined must be left out by the caller. */
export function encodeCbor(value: unknown): Uint8Array {
  return new Uint8Array(encoder.encode(value)) // a copy: the encoder's own buffer is a piece of a large one
}

export type Decoded<T> = { ok: true; value: T } | { ok: false; problem: string }

/** Never throws. `problem` names the member that was wrong. Byte strings in the result are copies. */
export function decodeCbor<T>(bytes: Uint8Array, schema: z.ZodType<T>): Decoded<T> {
  if (itemEnd(bytes, 0, 0) !== bytes.length) return { ok: false, problem: 'not one CBOR item of the allowed kinds' }
  let value: unknown
  try {
    // Not a Buffer: byte strings come out as what goes in.
    value = decoder.decode(new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length))
  } catch (error) {
    return { ok: false, problem: error instanceof Error ? error.message : String(error) }
  }
  const parsed = schema.safeParse(value)
  if (parsed.success) return { ok: true, value: parsed.data }
  const [issue] = parsed.error.issues
  return {
    ok: false,
    problem: issue === undefined ? 'invalid' : `${issue.path.join('.') || 'message'}: ${issue.message}`,
  }
}

/** @returns where the item at `at` ends, or -1 when it is cut short, nested too deep or not in the subset (RFC 8949 §3) */
function itemEnd(bytes: Uint8Array, at: number, depth: number): number {
  const head = bytes[at]
  if (head === undefined || depth > MAX_DEPTH) return -1
  const info = head & 0x1f
  if (info > 27) return -1 // reserved, or of indefinite length
  const argumentLength = info < 24 ? 0 : 1 << (info - 24)
  let end = at + 1 + argumentLength
  if (end > bytes.length) return -1
  let argument = info < 24 ? info : 0
  for (let i = at + 1; i < end; i++) argument = argument * 256 + (bytes[i] ?? 0)

  switch (head >> 5) {
    case 0: // unsigned
    case 1: // negative
      return end
    case 2: // bytes
    case 3: // text
      return end + argument <= bytes.length ? end + argument : -1
    case 4: // array
      for (let i = 0; i < argument && end >= 0; i++) end = itemEnd(bytes, end, depth + 1)
      return end
    case 5: // map
      for (let i = 0; i < argument && end >= 0; i++) {
        if ((bytes[end] ?? 0) >> 5 !== 3) return -1
        end = itemEnd(bytes, end, depth + 1)
        if (end >= 0) end = itemEnd(bytes, end, depth + 1)
      }
      return end
    case 7: // false, true, null, floats
      return (info >= 20 && info <= 22) || info >= 25 ? end : -1
    default: // tags
      return -1
  }
}
