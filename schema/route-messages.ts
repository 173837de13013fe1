/**
 * Messages of the route session (DESIGN §3): CBOR records over TCP between virtual addresses, after MP_INIT. The edge dials.
 * A session starts with `hello` from both ends, then the edge's full `announce`, then the gateway's routes, each side ending its
 * first burst with `end-of-rib` (RFC 4724's idea): what the other side still holds from before and did not hear again is dropped then.
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
  /** The initiator installed session `sid` (as the receiver numbers it): send on it from now on, and on its keys after `switched`. */
  z.object({ type: z.literal('switch'), sid: z.int() }),
  z.object({ type: z.literal('switched'), sid: z.int() }),
  /** A renewed grant takes effect without a new handshake. */
  z.object({ type: z.literal('grant'), grant: signedSchema }),
  z.object({ type: z.literal('policy-request'), version: z.int() }),
  z.object({ type: z.literal('policy'), version: z.int(), classes: z.array(z.object({ qos: z.int(), name: z.string() })) }),
  z.object({ type: z.literal('ping'), id: z.int() }),
  z.object({ type: z.literal('pong'), id: z.int() }),
  z.object({ type: z.literal('bye'), reason: z.string() }),
])
export type RouteMessage = z.infer<typeof routeMessageSchema>

/** TCP port on the gateway's virtual address. */
export const ROUTE_PORT = 2427
/** One record's CBOR may not be longer. */
export const MAX_RECORD = 1 << 20
