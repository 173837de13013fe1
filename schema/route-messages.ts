/**
 * Messages of the route session (DESIGN §3): CBOR records over TCP between virtual addresses, after MP_INIT. The edge dials.
 * A session starts with `hello` from both ends, then the edge's full `announce`, then the gateway's routes, each side ending its
 * first burst with `end-of-rib` (RFC 4724's idea): what the other side still holds from before and did not hear again is dropped then.
 *
 * On the connection, numbers big-endian:
 *
 *   edge     "BLRS", u8 version 1, 3 zero bytes, u32 session id (the gateway's number), 16 random bytes
 *   gateway  "BLRS", u8 version 1, 3 zero bytes, 16 random bytes
 *   both     records: u32 length of what follows, then AES-256-GCM of (u8 flags, data) with the length as associated data and the record's
 *            number under its key, from 0, as nonce. Flag 1: the message goes on in the next record. Data is at most `MAX_RECORD` bytes.
 *
 * A direction's key is HKDF-SHA256 (RFC 5869) of the session's record key, salted with the edge's and the gateway's random bytes, for
 * "branchline v1 record <epoch>": the random bytes of both make every connection's keys new, so a recorded one cannot be played again. The epoch
 * is 0 and grows by one with each change of keys. The record that ends a `switch` is the last one of the edge under the old keys; the one
 * that ends `switched`, the gateway's. A record that does not open ends the connection.
 */
import { z } from 'zod'
import { addressSchema, prefixSchema, securitySchema, subnetSchema, uuidSchema } from './common.ts'
import { signedSchema } from './grant.ts'

/** A subnet of another edge, as the gateway tells it. */
export const routeSchema = z.object({
  prefix: prefixSchema,
  reachable: z.boolean(),
  security: securitySchema,
  /** Node that owns the subnet, and its name for people. */
  owner: uuidSchema,
  ownerName: z.string(),
})
export type RouteEntry = z.infer<typeof routeSchema>

export const routeMessageSchema = z.discriminatedUnion('type', [
  z.object({ type: z.literal('hello'), node: uuidSchema, virtualAddress: addressSchema, version: z.literal(1) }),
  /** Edge to gateway. `full`: the list replaces everything announced before; else it adds or changes. */
  z.object({ type: z.literal('announce'), full: z.boolean(), subnets: z.array(subnetSchema) }),
  z.object({ type: z.literal('withdraw'), prefixes: z.array(prefixSchema) }),
  /** Gateway to edge. */
  z.object({ type: z.literal('routes'), full: z.boolean(), routes: z.array(routeSchema) }),
  z.object({ type: z.literal('unroutes'), prefixes: z.array(prefixSchema) }),
  z.object({ type: z.literal('end-of-rib') }),
  /** A prefix of `announce` was not taken. */
  z.object({
    type: z.literal('refused'),
    prefix: prefixSchema,
    code: z.enum(['outside-grant', 'overlap', 'full']),
    message: z.string(),
  }),
  /** Edge to gateway: session `sid` (the gateway's number) is installed: send on it from now on. The next record has its keys. */
  z.object({ type: z.literal('switch'), sid: z.int() }),
  /** The gateway's answer, with the same number. */
  z.object({ type: z.literal('switched'), sid: z.int() }),
  /** A renewed grant takes effect without a new handshake. */
  z.object({ type: z.literal('grant'), grant: signedSchema }),
  /** Edge to gateway: the largest outer packets that paths of the session in use carry, in both directions; 0: the path is of no use. */
  z.object({
    type: z.literal('path-mtu'),
    paths: z.array(z.object({ path: z.int().min(0).max(15), mtu: z.int().min(0).max(65535) })).max(16),
  }),
  /** Gateway to edge: headers name a version that this gateway has not been told. */
  z.object({ type: z.literal('policy-request'), version: z.int() }),
  /** Edge to gateway: the version that its headers name; the signed policy behind it (schema/policy.ts), null while the enterprise never had one. */
  z.object({
    type: z.literal('policy'),
    version: z.int().min(1).max(0xffffffff),
    classes: z.array(z.object({ qos: z.int(), name: z.string() })),
    document: signedSchema.nullable().default(null),
  }),
  z.object({ type: z.literal('ping'), id: z.int() }),
  z.object({ type: z.literal('pong'), id: z.int() }),
  z.object({ type: z.literal('bye'), reason: z.string() }),
])
export type RouteMessage = z.infer<typeof routeMessageSchema>

/** TCP port on the gateway's virtual address. */
export const ROUTE_PORT = 2427
/** Bytes of data in one record; a longer message takes several. */
export const MAX_RECORD = 1 << 16
/** Bytes of CBOR of one message: what a node takes apart in one go, while everything else waits. */
export const MAX_MESSAGE = 1 << 17
/** Prefixes that a sender puts into one message; longer lists take several. Fits into one record, owners' names and all. */
export const PREFIXES_PER_MESSAGE = 300
