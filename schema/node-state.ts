/**
 * What the orchestrator publishes to a node. JSON over tRPC (bytes as base64), kept by the node in its state file so that it starts and works
 * without the orchestrator. An edge gets its grant, gateways and toggle; a gateway gets identity and trust anchors, nothing of tenants.
 */
import { z } from 'zod'
import { addressSchema, nameSchema, roleSchema, securitySchema, subnetSchema, uuidSchema } from './common.ts'

const base64Schema = z.base64()

/** CBOR of a `Signed` envelope (schema/grant.ts), base64. */
export const signedTextSchema = base64Schema

export const trustSchema = z.object({
  anchors: z.array(base64Schema).min(1),
  revocations: signedTextSchema.nullable(),
})

export const gatewaySchema = z.object({
  node: uuidSchema,
  name: nameSchema,
  /** Noise static public key. */
  staticKey: base64Schema,
  endpoints: z.array(z.object({ address: addressSchema, port: z.int().min(1).max(65535) })).min(1),
  /** Known without measuring; smaller is preferred (orchestrator/compile/gateway-metric.ts). */
  metric: z.int().nonnegative(),
  /** As the crow flies, when both locations are known: already part of the metric. */
  distanceKm: z.int().nonnegative().nullable().default(null),
  /** Flows are to leave it: used only for what no other gateway serves. */
  drained: z.boolean().default(false),
})
export type GatewayEntry = z.infer<typeof gatewaySchema>

/** A prefix that the node may announce, to the gateways named (node ids) or, without any list, to all. */
export const grantedSubnetSchema = subnetSchema.extend({ gateways: z.array(uuidSchema).optional() })
export type GrantedSubnet = z.infer<typeof grantedSubnetSchema>

export const nodeStateSchema = z.object({
  /** Grows with each change of this node's state. */
  revision: z.int().nonnegative(),
  node: uuidSchema,
  name: nameSchema,
  role: roleSchema,
  grant: signedTextSchema,
  trust: trustSchema,
  /** Edges only; empty and null for gateways. */
  gateways: z.array(gatewaySchema),
  /** Newest policy of the enterprise (schema/policy.ts), to be told to gateways; null: it never had one. */
  policy: signedTextSchema.nullable().default(null),
  vpn: z
    .object({
      enterprise: uuidSchema,
      enterpriseName: nameSchema,
      enabled: z.boolean(),
      security: securitySchema,
      /** Granted prefixes with their reachable flag (false for all while the VPN is off). */
      subnets: z.array(grantedSubnetSchema),
    })
    .nullable(),
})
export type NodeState = z.infer<typeof nodeStateSchema>

/** Node to orchestrator: things an operator should see. */
export const nodeEventSchema = z.object({
  /** Unix ms on the node's clock. */
  time: z.int(),
  severity: z.enum(['info', 'warning', 'error']),
  /** Kebab-case, stable: `prefix-refused`, `edge-lost`, `handshake-refused` ... */
  code: z.string().regex(/^[a-z0-9-]{1,64}$/),
  message: z.string().max(2000),
  detail: z.record(z.string(), z.unknown()).optional(),
})
export type NodeEvent = z.infer<typeof nodeEventSchema>

/** Node to orchestrator, every 30 s and on change. */
export const nodeReportSchema = z.object({
  revision: z.int().nonnegative(),
  version: z.string(),
  kernel: z.string(),
  esp: z.boolean(),
  peers: z.array(
    z.object({
      node: uuidSchema,
      name: z.string(),
      state: z.string(),
      /** Of an edge: does it send flows over this gateway, as far as it has a choice? */
      inUse: z.boolean().optional(),
    }),
  ),
})
export type NodeReport = z.infer<typeof nodeReportSchema>
