/**
 * Grants (DESIGN §2 rule 2): what the orchestrator lets one node be and announce, checked offline by everyone who meets the node.
 *
 * Wire form: CBOR map {body: bytes, keyId: bytes(8), signature: bytes(64)}; body is the CBOR of `GrantBody`; the Ed25519 signature covers
 * "branchline grant v1\0" followed by body. The same envelope with another context carries the trust bundle's revocations.
 */
import { z } from 'zod'
import { bytesSchema, nameSchema, prefixSchema, roleSchema, securitySchema, timeSchema, uuidSchema } from './common.ts'

export const grantBodySchema = z.object({
  version: z.literal(1),
  /** Logical id: selects the VRF. Gateways of the operator itself carry null. */
  enterprise: uuidSchema.nullable(),
  enterpriseName: nameSchema.nullable(),
  node: uuidSchema,
  nodeName: nameSchema,
  role: roleSchema,
  /** Noise static public key (X25519). */
  staticKey: bytesSchema(32),
  /** What the node may announce, or anything inside it. A gateway: the virtual addresses that it may lend. */
  prefixes: z.array(prefixSchema).max(1024),
  /** How the enterprise's subnets must be carried. */
  security: securitySchema,
  /** Grows with each grant of the node; revocation names the last refused one. */
  serial: z.int().positive(),
  notBefore: timeSchema,
  expires: timeSchema,
})
export type GrantBody = z.infer<typeof grantBodySchema>

export const signedSchema = z.object({
  body: z.custom<Uint8Array>(value => value instanceof Uint8Array, 'must be a byte string'),
  keyId: bytesSchema(8),
  signature: bytesSchema(64),
})
export type Signed = z.infer<typeof signedSchema>

export const GRANT_CONTEXT = 'branchline grant v1\0'
export const REVOCATIONS_CONTEXT = 'branchline revocations v1\0'

export const revocationsBodySchema = z.object({
  version: z.literal(1),
  /** Grows; a node keeps the highest that it has seen. */
  serial: z.int().nonnegative(),
  issued: timeSchema,
  /** A grant of `node` with a serial up to `upTo` is refused. */
  revoked: z.array(z.object({ node: uuidSchema, upTo: z.int().positive() })),
})
export type RevocationsBody = z.infer<typeof revocationsBodySchema>

/** What a gateway gets from the orchestrator beside its own grant, and an edge too: nothing about tenants. */
export interface TrustBundle {
  /** Ed25519 public keys (raw 32 bytes) whose grants count; more than one while the orchestrator changes its key. */
  anchors: Uint8Array[]
  /** Signed `RevocationsBody`. */
  revocations: Signed | undefined
}

/** Seconds by which two clocks may differ before a grant is called not yet valid or expired. */
export const CLOCK_TOLERANCE = 300
