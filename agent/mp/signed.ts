/** Envelopes that the orchestrator signs (schema/grant.ts), made and opened. What is in them, and what it is worth, is said elsewhere. */
import { createPublicKey, hash, type KeyObject, sign, verify } from 'node:crypto'
import type { z } from 'zod'
import { type Signed, signedSchema } from '../../schema/grant.ts'
import { type Decoded, decodeCbor, encodeCbor } from './cbor.ts'

export interface SigningKey {
  /** Ed25519. */
  privateKey: KeyObject
  /** Raw, 32 bytes: the trust anchor. */
  publicKey: Uint8Array
}

export function signingKey(privateKey: KeyObject): SigningKey {
  const { x } = createPublicKey(privateKey).export({ format: 'jwk' })
  if (privateKey.asymmetricKeyType !== 'ed25519' || x === undefined)
    throw new TypeError('grants are signed with an Ed25519 key')
  return { privateKey, publicKey: Uint8Array.from(Buffer.from(x, 'base64url')) }
}

/** Names a signer: the first 8 bytes of the SHA-256 of its raw public key. */
export function keyId(publicKey: Uint8Array): Uint8Array {
  return Uint8Array.from(hash('sha256', publicKey, 'buffer').subarray(0, 8))
}

/** The wire form of an envelope: what node state carries as base64. */
export function encodeSigned(signed: Signed): Uint8Array {
  return encodeCbor(signed)
}

export function decodeSigned(bytes: Uint8Array): Decoded<Signed> {
  return decodeCbor(bytes, signedSchema)
}

/** @param context keeps what is signed for one purpose from being taken for another */
export function signBody(context: string, value: unknown, key: SigningKey): Signed {
  const body = encodeCbor(value)
  const signature = Uint8Array.from(sign(null, Buffer.concat([Buffer.from(context), body]), key.privateKey))
  return { body, keyId: keyId(key.publicKey), signature }
}

/** @returns the body as a signer of `anchors` wrote it; `problem` says what is wrong, to stand behind what the envelope is */
export function openBody<T>(
  context: string,
  signed: Signed,
  anchors: readonly Uint8Array[],
  schema: z.ZodType<T>,
): Decoded<T> {
  const anchor = anchors.find(candidate => Buffer.from(keyIdOf(candidate)).equals(signed.keyId))
  if (anchor === undefined) {
    const signer = Buffer.from(signed.keyId).toString('hex')
    return {
      ok: false,
      problem: `is signed by ${signer}, which this node does not trust; is it from another orchestrator?`,
    }
  }
  if (!signatureHolds(Buffer.concat([Buffer.from(context), signed.body]), anchor, signed.signature)) {
    return { ok: false, problem: 'does not match its signature: it was changed or damaged; get it again' }
  }
  const decoded = decodeCbor(signed.body, schema)
  return decoded.ok
    ? decoded
    : { ok: false, problem: `is signed but not understood (${decoded.problem}); is this node older?` }
}

/** Ed25519 is the dearest step of a handshake, and every renewal shows the same grant: signatures that held are remembered. */
const SIGNATURES_REMEMBERED = 16_384
const knownSignatures = new Set<string>()

function signatureHolds(message: Uint8Array, anchor: Uint8Array, signature: Uint8Array): boolean {
  // Anchor and signature have fixed lengths, so the digest stands for the three and nothing else.
  const digest = hash('sha256', Buffer.concat([anchor, signature, message]), 'base64')
  if (knownSignatures.has(digest)) return true
  if (!verify(null, message, anchorKey(anchor), signature)) return false
  knownSignatures.add(digest)
  if (knownSignatures.size > SIGNATURES_REMEMBERED) {
    const [oldest] = knownSignatures
    if (oldest !== undefined) knownSignatures.delete(oldest)
  }
  return true
}

/** Trust bundles and anchors are replaced, never changed, so what was computed from one stays true as long as it lives. */
const anchorKeys = new WeakMap<Uint8Array, KeyObject>()
const anchorIds = new WeakMap<Uint8Array, Uint8Array>()

function anchorKey(raw: Uint8Array): KeyObject {
  let key = anchorKeys.get(raw)
  if (key === undefined) {
    const x = Buffer.from(raw).toString('base64url')
    key = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' })
    anchorKeys.set(raw, key)
  }
  return key
}

function keyIdOf(raw: Uint8Array): Uint8Array {
  let id = anchorIds.get(raw)
  if (id === undefined) {
    id = keyId(raw)
    anchorIds.set(raw, id)
  }
  return id
}
