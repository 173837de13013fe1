/** Signed grants and revocations (schema/grant.ts): made by the orchestrator, checked offline by everyone who meets the node. */
import { createPublicKey, hash, type KeyObject, sign, verify } from 'node:crypto'
import type { z } from 'zod'
import { formatPrefix, type Prefix, parsePrefix, prefixContains } from '../../schema/address.ts'
import {
  CLOCK_TOLERANCE,
  GRANT_CONTEXT,
  type GrantBody,
  grantBodySchema,
  REVOCATIONS_CONTEXT,
  type RevocationsBody,
  revocationsBodySchema,
  type Signed,
  signedSchema,
  type TrustBundle,
} from '../../schema/grant.ts'
import type { RefusalCode } from '../../schema/mpinit.ts'
import { type Decoded, decodeCbor, encodeCbor } from './cbor.ts'
import { spanText } from './span.ts'

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

/** Throws a ZodError on a body that nobody would accept. */
export function signGrant(body: GrantBody, key: SigningKey): Signed {
  return signBody(GRANT_CONTEXT, grantBodySchema.parse(body), key)
}

export function signRevocations(body: RevocationsBody, key: SigningKey): Signed {
  return signBody(REVOCATIONS_CONTEXT, revocationsBodySchema.parse(body), key)
}

/** The wire form of an envelope: what node state carries as base64. */
export function encodeSigned(signed: Signed): Uint8Array {
  return encodeCbor(signed)
}

export function decodeSigned(bytes: Uint8Array): Decoded<Signed> {
  return decodeCbor(bytes, signedSchema)
}

export type GrantRefusal = { ok: false; code: RefusalCode; message: string }
export type GrantResult = { ok: true; grant: GrantBody } | GrantRefusal

export interface GrantCheck {
  /** Unix seconds. */
  now: number
  /** Seconds by which the two clocks may differ. */
  tolerance?: number
}

/** Messages say what to do and are fit for people; an unverified grant's fields are never quoted. */
export function verifyGrant(
  signed: Signed,
  trust: TrustBundle,
  { now, tolerance = CLOCK_TOLERANCE }: GrantCheck,
): GrantResult {
  const opened = openBody(GRANT_CONTEXT, signed, trust.anchors, grantBodySchema)
  if (!opened.ok) return refusal('grant-invalid', `the grant ${opened.problem}`)
  const grant = opened.value
  const revocations = revocationsOf(trust)
  if (revocations !== undefined && !revocations.ok) {
    return refusal('grant-invalid', `no grant counts while the list of revocations ${revocations.problem}`)
  }
  const revoked = revocations?.value.revoked.find(entry => entry.node === grant.node)
  if (revoked !== undefined && grant.serial <= revoked.upTo) {
    return refusal(
      'grant-revoked',
      `grant ${grant.serial} of ${grant.nodeName} was revoked; get a new one from the orchestrator`,
    )
  }
  if (now + tolerance < grant.notBefore) {
    const wait = spanText(grant.notBefore - now)
    return refusal('grant-not-yet-valid', `grant of ${grant.nodeName} becomes valid in ${wait}; is this clock right?`)
  }
  if (now - tolerance >= grant.expires) {
    const past = spanText(now - grant.expires)
    return refusal(
      'grant-expired',
      `grant of ${grant.nodeName} expired ${past} ago; is this clock right? Else renew the grant`,
    )
  }
  return { ok: true, grant }
}

/** Was a grant of this node revoked? Also when the list cannot be read: no grant counts then. */
export function isRevoked(trust: TrustBundle, node: string): boolean {
  const revocations = revocationsOf(trust)
  return revocations !== undefined && (!revocations.ok || revocations.value.revoked.some(entry => entry.node === node))
}

export type RevocationsResult = { ok: true; revocations: RevocationsBody } | { ok: false; message: string }

/** @param known the list held so far: an older one does not replace it, the same one is accepted again */
export function verifyRevocations(
  signed: Signed,
  anchors: readonly Uint8Array[],
  known?: RevocationsBody,
): RevocationsResult {
  const opened = openBody(REVOCATIONS_CONTEXT, signed, anchors, revocationsBodySchema)
  if (!opened.ok) return { ok: false, message: `the list of revocations ${opened.problem}` }
  if (known !== undefined && opened.value.serial < known.serial) {
    return {
      ok: false,
      message: `revocations ${opened.value.serial} are older than the ${known.serial} that this node has`,
    }
  }
  return { ok: true, revocations: opened.value }
}

/** May the node announce this prefix? Equal to a granted one or inside it. */
export function prefixAllowed(grant: GrantBody, prefix: string): boolean {
  const { texts, parsed } = grantedPrefixes(grant)
  if (texts.has(prefix)) return true
  const inner = parsePrefix(prefix)
  return inner !== undefined && parsed.some(outer => prefixContains(outer, inner))
}

interface GrantedPrefixes {
  texts: ReadonlySet<string>
  parsed: readonly Prefix[]
}

/** Taken apart once a grant: an edge announces hundreds of prefixes under one of hundreds. */
const granted = new WeakMap<GrantBody, GrantedPrefixes>()

function grantedPrefixes(grant: GrantBody): GrantedPrefixes {
  const known = granted.get(grant)
  if (known) return known
  const parsed = grant.prefixes.map(parsePrefix).filter(prefix => prefix !== undefined)
  const made = { texts: new Set(parsed.map(formatPrefix)), parsed }
  granted.set(grant, made)
  return made
}

function signBody(context: string, value: unknown, key: SigningKey): Signed {
  const body = encodeCbor(value)
  const signature = Uint8Array.from(sign(null, Buffer.concat([Buffer.from(context), body]), key.privateKey))
  return { body, keyId: keyId(key.publicKey), signature }
}

function openBody<T>(
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

function refusal(code: RefusalCode, message: string): GrantRefusal {
  return { ok: false, code, message }
}

/** Trust bundles and anchors are replaced, never changed, so what was computed from one stays true as long as it lives. */
const anchorKeys = new WeakMap<Uint8Array, KeyObject>()
const anchorIds = new WeakMap<Uint8Array, Uint8Array>()
const checkedRevocations = new WeakMap<TrustBundle, Decoded<RevocationsBody>>()

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

function revocationsOf(trust: TrustBundle): Decoded<RevocationsBody> | undefined {
  if (trust.revocations === undefined) return undefined
  let checked = checkedRevocations.get(trust)
  if (checked === undefined) {
    checked = openBody(REVOCATIONS_CONTEXT, trust.revocations, trust.anchors, revocationsBodySchema)
    checkedRevocations.set(trust, checked)
  }
  return checked
}
