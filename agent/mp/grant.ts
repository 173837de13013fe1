/** Signed grants and revocations (schema/grant.ts): made by the orchestrator, checked offline by everyone who meets the node. */
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
  type TrustBundle,
} from '../../schema/grant.ts'
import type { RefusalCode } from '../../schema/mpinit.ts'
import type { Decoded } from './cbor.ts'
import { openBody, type SigningKey, signBody } from './signed.ts'
import { spanText } from './span.ts'

/** Throws a ZodError on a body that nobody would accept. */
export function signGrant(body: GrantBody, key: SigningKey): Signed {
  return signBody(GRANT_CONTEXT, grantBodySchema.parse(body), key)
}

export function signRevocations(body: RevocationsBody, key: SigningKey): Signed {
  return signBody(REVOCATIONS_CONTEXT, revocationsBodySchema.parse(body), key)
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

function refusal(code: RefusalCode, message: string): GrantRefusal {
  return { ok: false, code, message }
}

const checkedRevocations = new WeakMap<TrustBundle, Decoded<RevocationsBody>>()

function revocationsOf(trust: TrustBundle): Decoded<RevocationsBody> | undefined {
  if (trust.revocations === undefined) return undefined
  let checked = checkedRevocations.get(trust)
  if (checked === undefined) {
    checked = openBody(REVOCATIONS_CONTEXT, trust.revocations, trust.anchors, revocationsBodySchema)
    checkedRevocations.set(trust, checked)
  }
  return checked
}
