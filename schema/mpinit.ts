/**
 * MP_INIT (DESIGN §3): the handshake packets and what the two Noise IK messages carry inside. All numbers are big-endian; docs/wire.md draws it.
 *
 *   INIT     u8 version_type, 3 zero bytes, u32 sender sid, Noise message 1, mac1 16, mac2 16
 *   RESPONSE u8 version_type, 3 zero bytes, u32 sender sid (0: refused), u32 receiver sid, Noise message 2, mac1 16
 *   COOKIE   u8 version_type, 3 zero bytes, u32 receiver sid, nonce 24, sealed cookie 16 + 16
 *   RESET    u8 version_type, 3 zero bytes, u32 the unknown session id
 *   INIT_KEM      u8 version_type, 3 zero bytes, u32 sender sid, sealed encapsulation key 1184 + 16
 *   RESPONSE_KEM  u8 version_type, 3 zero bytes, u32 receiver sid, sealed ciphertext 1088 + 16, tag 16
 *
 * INIT_KEM follows an INIT whose capabilities name ML-KEM; the gateway answers both together, by RESPONSE and RESPONSE_KEM (agent/mp/noise.ts).
 *
 * A Noise payload is u16 length, that many bytes of CBOR, zero bytes of padding. An INIT has at least `MIN_INIT` bytes and its answer is never
 * longer than itself. mac1 is HMAC-SHA256, cut to 16 bytes, over everything before it, its key SHA-256("branchline mac1 v1\0" and the
 * receiver's static public key). mac2 is the same over everything before it with the cookie as key, or zero. A cookie is sealed by
 * AES-256-GCM with a zero nonce, mac1 of the INIT as associated data and the key SHA-256("branchline cookie v1\0", the responder's
 * static public key, the packet's nonce).
 */
import { z } from 'zod'
import { addressSchema, bytesSchema, nameSchema, subnetSchema } from './common.ts'
import { signedSchema } from './grant.ts'

export const NOISE_SUITE = 'Noise_IK_25519_AESGCM_SHA256'
export const NOISE_PROLOGUE = 'branchline mp_init v1'

/** bpf/wire.h: MP_VERSION and the handshake members of enum mp_type. */
export const MP_VERSION = 1
export const HANDSHAKE = { init: 8, response: 9, cookie: 10, reset: 11, initKem: 12, responseKem: 13 } as const

/** UDP payload of the usual INIT: with IPv6 and UDP headers it crosses a path of 1280 bytes (RFC 8200 §5) in one piece. */
export const MIN_INIT = 1200
/** Only a grant of many prefixes makes an INIT longer than `MIN_INIT`; IP fragments it then. */
export const MAX_INIT = 32_768
export const COOKIE_NONCE_LENGTH = 24
export const SEALED_COOKIE_LENGTH = 32

const pathIdSchema = z.int().min(0).max(15)
const spiSchema = z.int().min(256).max(0xffffffff)

export const capabilitySchema = z
  .object({
    /** The kernel encrypts: SAs are made. */
    esp: z.boolean(),
    /** In an INIT: an INIT_KEM with a key of this name follows. In a RESPONSE: a RESPONSE_KEM follows. Others' names count as none. */
    kem: z.string().max(32).optional(),
    /** Room for later: unknown members are kept by old nodes and ignored. */
  })
  .loose()

/**
 * Does a node exchange keys by ML-KEM beside X25519? `preferred`: with every peer that does. `required`: with no other peer. Nobody on the way can
 * turn `preferred` off: what both ends are able to stands in payloads that are authenticated.
 */
export const hybridSchema = z.enum(['off', 'preferred', 'required'])
export type Hybrid = z.infer<typeof hybridSchema>

const mbpsSchema = z.number().positive().max(1e6)

export const linkOfferSchema = z.object({
  /** Path id in this session, chosen by the edge. */
  path: pathIdSchema,
  name: nameSchema,
  family: z.union([z.literal(4), z.literal(6)]),
  /** WAN MTU, outer headers included. */
  mtu: z.int().min(576).max(65535),
  /** Inbound SPI of the edge for this path; 0 without ESP. */
  spi: z.union([spiSchema, z.literal(0)]),
  /** What the edge was told that the link carries, Mb/s, from it and to it; absent: unknown, or an older edge. */
  upMbps: mbpsSchema.optional(),
  downMbps: mbpsSchema.optional(),
  /** Use it only when no other path lives. */
  backup: z.boolean().optional(),
  /** Send nothing there that could go elsewhere or not at all. */
  metered: z.boolean().optional(),
})

export const initPayloadSchema = z
  .object({
    grant: signedSchema,
    /** µs since 1970, strictly increasing per static key: an old initiation cannot be played again. */
    timestamp: z.int().positive(),
    /** Remote sid of the session that this one replaces (rekey): traffic moves only when the initiator says so. */
    replaces: z.int().nonnegative().nullable(),
    /** As many as fit into `MIN_INIT`: the route session's announcement has them all. */
    subnets: z.array(subnetSchema).max(1024),
    links: z.array(linkOfferSchema).min(1).max(16),
    /** Path id of the link that this very packet was sent on: the responder learns that path's outer address from it. */
    via: pathIdSchema,
    capabilities: capabilitySchema,
    policyVersion: z.int().min(1).max(0xffffffff),
    /** Virtual address that the edge had with this gateway before: given again when free. */
    virtualAddress: addressSchema.nullable(),
  })
  .refine(({ links }) => new Set(links.map(({ path }) => path)).size === links.length, 'links share a path id')
  .refine(({ links, via }) => links.some(({ path }) => path === via), {
    path: ['via'],
    error: 'is not the path of a link',
  })
export type InitPayload = z.infer<typeof initPayloadSchema>
export type LinkOffer = z.infer<typeof linkOfferSchema>

/** Why a responder refused an authentic initiation; the initiator shows the text. */
export const refusalCodeSchema = z.enum([
  'grant-invalid',
  'grant-expired',
  'grant-not-yet-valid',
  'grant-revoked',
  'grant-key-mismatch',
  'role-not-allowed',
  'duplicate-node',
  'timestamp-replayed',
  'clock-ahead',
  'full',
  'hybrid-required',
])
export type RefusalCode = z.infer<typeof refusalCodeSchema>

export const responsePayloadSchema = z.discriminatedUnion('ok', [
  z.object({
    ok: z.literal(true),
    grant: signedSchema,
    /** The initiator's virtual address, and the responder's. */
    virtualAddress: addressSchema,
    peerAddress: addressSchema,
    /** Per accepted path: the responder's inbound SPI (0 without ESP). */
    paths: z.array(
      z.object({ path: pathIdSchema, spi: z.union([spiSchema, z.literal(0)]), mtu: z.int().min(576).max(65535) }),
    ),
    capabilities: capabilitySchema,
    /** Whether the responder still had the session named in `replaces`; if not, the initiator's route session is gone too. */
    replaced: z.boolean(),
    /** Seconds after which the initiator renews the session. */
    rekeyAfter: z.int().positive(),
    /** What the responder saw as the initiator's outer address: shown to people behind NAT. */
    seen: z.object({ address: addressSchema, port: z.int() }),
  }),
  z.object({
    ok: z.literal(false),
    code: refusalCodeSchema,
    message: z.string().max(500),
    /** The responder's clock, Unix ms: tells the initiator whose clock is off. */
    time: z.int(),
    /** With `timestamp-replayed`: timestamps above this one are taken. A node whose clock was set back goes on from there. */
    after: z.int().optional(),
  }),
])
export type ResponsePayload = z.infer<typeof responsePayloadSchema>

/** Keys that both ends derive from one handshake, in the initiator's view: `tx` is initiator to responder. */
export interface SessionSecrets {
  /** SipHash keys, 16 bytes. */
  tagTx: Uint8Array
  tagRx: Uint8Array
  /** AES-256-GCM keys of the route session's records (Noise Split), 32 bytes. */
  recordTx: Uint8Array
  recordRx: Uint8Array
  /** 32 bytes of AES-256-GCM key and 4 of salt, per path and direction (RFC 4106). */
  esp(path: number, direction: 'tx' | 'rx'): Uint8Array
  /** Noise handshake hash: names the session in logs and binds the route session to it. */
  hash: Uint8Array
}

export const staticKeySchema = bytesSchema(32)
