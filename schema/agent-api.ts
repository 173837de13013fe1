/**
 * What a running agent tells on its Unix socket (tRPC, agent/api.ts); the `branchline` command shows it. Numbers are packets, bytes, ms or Unix ms as named.
 */
import { z } from 'zod'

export const pathStatusSchema = z.object({
  path: z.int(),
  link: z.string(),
  local: z.string(),
  remote: z.string(),
  mtu: z.int(),
  rttMs: z.number().nullable(),
  idleMs: z.number().nullable(),
  txPackets: z.int(),
  rxPackets: z.int(),
  txBytes: z.int(),
  rxBytes: z.int(),
})

export const peerStatusSchema = z.object({
  node: z.string(),
  name: z.string(),
  role: z.string(),
  enterprise: z.string().nullable(),
  /** connecting: no session; up: packets flow; stale: route session lost, packets still flow; lost: silent. */
  state: z.enum(['connecting', 'up', 'stale', 'lost', 'refused']),
  reason: z.string().nullable(),
  virtualAddress: z.string().nullable(),
  esp: z.boolean(),
  sessions: z.int(),
  ageMs: z.number().nullable(),
  rekeys: z.int(),
  /** Of a gateway, at an edge: cost in ms of round trip, and what becomes of it in the choice of gateways. */
  metric: z.number().nullable(),
  use: z.string().nullable(),
  paths: z.array(pathStatusSchema),
})

export type PeerStatus = z.infer<typeof peerStatusSchema>

/** How late the event loop runs: the worse of this minute and the one before, and the longest since the start. */
export const loopStatusSchema = z.object({
  p50Ms: z.number(),
  p99Ms: z.number(),
  maxMs: z.number(),
  longestMs: z.number(),
})
export type LoopStatus = z.infer<typeof loopStatusSchema>

export const statusSchema = z.object({
  name: z.string(),
  node: z.string(),
  role: z.string(),
  version: z.string(),
  kernel: z.string(),
  esp: z.boolean(),
  espReason: z.string().nullable(),
  adoption: z.enum(['created', 'adopted', 'rebuilt']),
  pid: z.int(),
  uptimeMs: z.number(),
  memoryBytes: z.int(),
  loop: loopStatusSchema,
  orchestrator: z.object({ url: z.string(), connected: z.boolean(), revision: z.int() }).nullable(),
  grant: z.object({ serial: z.int(), expires: z.int(), prefixes: z.array(z.string()) }),
  vpn: z.object({ enterprise: z.string(), enabled: z.boolean(), security: z.string() }).nullable(),
  peers: z.array(peerStatusSchema),
  /** XFRM states of this node. */
  associations: z.int(),
})
export type Status = z.infer<typeof statusSchema>

export const routeRowSchema = z.object({
  enterprise: z.string(),
  prefix: z.string(),
  reachable: z.boolean(),
  security: z.string(),
  owner: z.string(),
  /** `local lan0`, `peer gw1`, `upstream up0, out of chains`, `unreachable` */
  via: z.string(),
  /** connected, static, configured, learned, stale, offered */
  source: z.string(),
})
export type RouteRow = z.infer<typeof routeRowSchema>

const conditionSchema = z.enum(['good', 'suspect', 'degraded', 'left', 'down'])

/** Null: unknown. Loss, reordering and delay are of the last ten seconds, rates of the last. */
export const pathReportSchema = z.object({
  peer: z.string(),
  path: z.int(),
  link: z.string(),
  condition: conditionSchema,
  reason: z.string(),
  /** In this condition. */
  forMs: z.number(),
  /** Used again after so long, if nothing more is wrong with it. */
  returnsInMs: z.number().nullable(),
  rttMs: z.number().nullable(),
  jitterMs: z.number().nullable(),
  /** Shares of what this node sent, and of what the peer sent. */
  lossOut: z.number().nullable(),
  lossIn: z.number().nullable(),
  reordered: z.number().nullable(),
  /** Of received packets, above the quickest. */
  delayP95Ms: z.number().nullable(),
  mbpsOut: z.number(),
  mbpsIn: z.number(),
  /** That send by it; `realtime+`: copies only. */
  classes: z.array(z.string()),
})
export type PathReport = z.infer<typeof pathReportSchema>

export const pathChangeSchema = z.object({
  time: z.number(),
  peer: z.string(),
  path: z.int(),
  link: z.string(),
  from: conditionSchema,
  to: conditionSchema,
  reason: z.string(),
})
export type PathChangeRow = z.infer<typeof pathChangeSchema>

export const pathsInputSchema = z.object({ peer: z.string().optional() })

export const dropsSchema = z.object({
  drops: z.record(z.string(), z.int()),
  counters: z.record(z.string(), z.int()),
  /** Newest sampled drops first. */
  samples: z.array(
    z.object({
      time: z.int(),
      reason: z.string(),
      device: z.string(),
      from: z.string(),
      to: z.string(),
      length: z.int(),
    }),
  ),
})
export type Drops = z.infer<typeof dropsSchema>

export const serviceInstanceSchema = z.object({
  name: z.string(),
  function: z.string(),
  /** Null: everybody's. */
  enterprise: z.string().nullable(),
  /** `warm`: ready, but idle until the others have no bandwidth left; `draining`: takes no new connections, and ends without any. */
  state: z.enum(['starting', 'ready', 'warm', 'draining', 'dead', 'stopping']),
  forMs: z.number(),
  reason: z.string().nullable(),
  where: z.string().nullable(),
  /** Addresses towards the Internet. */
  nat: z.array(z.string()),
  adapters: z.int(),
  connections: z.int(),
  mbps: z.number(),
  capacityMbps: z.number(),
})
export type ServiceInstanceRow = z.infer<typeof serviceInstanceSchema>

/** The instances of one function that one enterprise has. */
export const servicePoolSchema = z.object({
  function: z.string(),
  enterprise: z.string(),
  balance: z.string(),
  /** Instances that should take connections, and that should stand by. */
  wanted: z.int(),
  warm: z.int(),
  ready: z.int(),
  starting: z.int(),
  draining: z.int(),
  dead: z.int(),
  connections: z.int(),
  mbps: z.number(),
  /** Why the last launch failed, and when the next one is. */
  problem: z.string().nullable(),
  retryMs: z.number().nullable(),
})
export type ServicePoolRow = z.infer<typeof servicePoolSchema>

export const servicesReportSchema = z.object({
  chains: z.array(
    z.object({
      enterprise: z.string(),
      name: z.string(),
      /** Service path id. */
      path: z.int(),
      /** `nat`, `dpi:open`; in order. */
      functions: z.array(z.string()),
      secure: z.boolean(),
      /** No rule names it any more; connections of before may go through it. */
      retired: z.boolean(),
    }),
  ),
  pools: z.array(servicePoolSchema),
  instances: z.array(serviceInstanceSchema),
})
export type ServicesReport = z.infer<typeof servicesReportSchema>

/** Procedures of the agent's socket: `status`, `routes`, `drops`, `paths`, `pathHistory`, `services`, `metrics` (queries), `rekey` (mutation, all peers or one), `events` (query, newest first). */
export const rekeyInputSchema = z.object({ peer: z.string().optional() })
