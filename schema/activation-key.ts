/**
 * One-time activation keys, as a person carries them from the orchestrator to a new node:
 *
 *   BL1-<key id>-<secret>-<fingerprint>      base32 (RFC 4648, no padding) of 8, 20 and 32 bytes
 *
 * The fingerprint is SHA-256 of the DER of the orchestrator's CA certificate: with it the node knows the orchestrator before it sends the secret.
 */
import { z } from 'zod'

export interface ActivationKey {
  /** Lower-case hex: names the key in the orchestrator, no secret. */
  id: string
  /** 20 bytes. */
  secret: Uint8Array
  /** 32 bytes. */
  caFingerprint: Uint8Array
}

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'
const SIZES = { id: 8, secret: 20, fingerprint: 32 }

export function formatActivationKey(key: ActivationKey): string {
  return ['BL1', base32(Buffer.from(key.id, 'hex')), base32(key.secret), base32(key.caFingerprint)].join('-')
}

/** @returns undefined when the text is no activation key: cut off, mistyped, of another version */
export function parseActivationKey(text: string): ActivationKey | undefined {
  const [version, id, secret, fingerprint, ...rest] = text.trim().toUpperCase().split('-')
  if (version !== 'BL1' || rest.length > 0) return undefined
  const idBytes = unbase32(id ?? '', SIZES.id)
  const secretBytes = unbase32(secret ?? '', SIZES.secret)
  const fingerprintBytes = unbase32(fingerprint ?? '', SIZES.fingerprint)
  if (!idBytes || !secretBytes || !fingerprintBytes) return undefined
  return { id: Buffer.from(idBytes).toString('hex'), secret: secretBytes, caFingerprint: fingerprintBytes }
}

function base32(bytes: Uint8Array): string {
  let bits = 0
  let held = 0
  let text = ''
  for (const byte of bytes) {
    held = (held << 8) | byte
    bits += 8
    for (; bits >= 5; bits -= 5) text += ALPHABET[(held >>> (bits - 5)) & 31]
    held &= (1 << bits) - 1
  }
  return bits > 0 ? text + ALPHABET[(held << (5 - bits)) & 31] : text
}

/** Exactly `length` bytes, unused bits zero: every key has one spelling. */
function unbase32(text: string, length: number): Uint8Array | undefined {
  const bytes = new Uint8Array(length)
  let bits = 0
  let held = 0
  let at = 0
  for (const letter of text) {
    const value = ALPHABET.indexOf(letter)
    if (value < 0) return undefined
    held = (held << 5) | value
    bits += 5
    if (bits < 8) continue
    bits -= 8
    if (at === length) return undefined
    bytes[at++] = held >>> bits
    held &= (1 << bits) - 1
  }
  return at === length && held === 0 && text.length === Math.ceil((length * 8) / 5) ? bytes : undefined
}

/** What a node shows with its key to become a node: only public halves of its keys. Base64. */
export const activationRequestSchema = z.object({
  keyId: z.string().regex(/^[0-9a-f]{16}$/, 'must be the id of an activation key'),
  secret: z.base64(),
  /** Noise static public key (X25519, raw 32 bytes). */
  staticKey: z.base64().refine(text => Buffer.from(text, 'base64').length === 32, 'must be 32 bytes in base64'),
  /** SubjectPublicKeyInfo (DER) of the TLS key, ECDSA P-256. */
  tlsKey: z.base64(),
})
export type ActivationRequest = z.infer<typeof activationRequestSchema>
