/** Procedures for admins: intent in, rows out. */
import { z } from 'zod'
import {
  addressSchema,
  locationSchema,
  nameSchema,
  prefixSchema,
  securitySchema,
  uuidSchema,
} from '../../schema/common.ts'
import { issueKey } from '../store/activation.ts'
import { createEnterprise, deleteEnterprise, findEnterprise, listEnterprises, setVpn } from '../store/enterprises.ts'
import { listEvents } from '../store/events.ts'
import { listGateways } from '../store/gateway-list.ts'
import { assignGateway, drainGateway, removeGateway, setEndpoints, setSubnetGateways } from '../store/gateways.ts'
import { setLocation } from '../store/locations.ts'
import { createNode, deleteNode, listNodes, revokeNode, showNode } from '../store/nodes.ts'
import { addSubnet, listSubnets, removeSubnet } from '../store/subnets.ts'
import { chainRouter, policyRouter, ruleRouter, zoneRouter } from './policy.ts'
import { adminProcedure, router } from './trpc.ts'

const byName = z.object({ name: nameSchema })
const endpointSchema = z.object({ address: addressSchema, port: z.int().min(1).max(65535) })
const keyLifetimeSchema = z
  .int()
  .min(60)
  .max(30 * 86_400)
  .optional()
const ownership = z.object({ node: nameSchema, prefix: prefixSchema })

const enterprise = router({
  list: adminProcedure.query(({ ctx }) => listEnterprises(ctx.services.store.db)),
  show: adminProcedure.input(byName).query(({ ctx, input }) =>
    ctx.services.store.snapshot(async db => ({
      ...(await findEnterprise(db, input.name)),
      nodes: await listNodes(db, { enterprise: input.name }),
      subnets: await listSubnets(db, { enterprise: input.name }),
    })),
  ),
  create: adminProcedure
    .input(byName.extend({ id: uuidSchema.optional(), security: securitySchema.default('esp') }))
    .mutation(({ ctx, input }) => ctx.services.store.work(ctx.actor, work => createEnterprise(work, input))),
  delete: adminProcedure
    .input(byName)
    .mutation(({ ctx, input }) => ctx.services.store.work(ctx.actor, work => deleteEnterprise(work, input.name))),
})

const node = router({
  list: adminProcedure
    .input(z.object({ enterprise: nameSchema.optional(), role: z.enum(['edge', 'gateway']).optional() }).prefault({}))
    .query(({ ctx, input }) => listNodes(ctx.services.store.db, input)),
  show: adminProcedure
    .input(byName)
    .query(({ ctx, input }) => ctx.services.store.snapshot(db => showNode(db, input.name))),
  create: adminProcedure
    .input(
      byName.extend({
        id: uuidSchema.optional(),
        role: z.enum(['edge', 'gateway'], 'must be edge or gateway').default('edge'),
        enterprise: nameSchema.optional(),
        subnets: z.array(prefixSchema).max(1024).default([]),
        endpoints: z.array(endpointSchema).max(16).default([]),
        location: locationSchema.optional(),
        keyLifetimeS: keyLifetimeSchema,
      }),
    )
    .mutation(({ ctx: { services, actor }, input }) =>
      services.store.work(actor, work =>
        createNode(work, input, keyOptions(services, input.keyLifetimeS), services.grants),
      ),
    ),
  /** A new activation key: for a node that was never activated, was revoked, or gets a new machine. */
  key: adminProcedure
    .input(byName.extend({ keyLifetimeS: keyLifetimeSchema }))
    .mutation(({ ctx: { services, actor }, input }) =>
      services.store.work(actor, work => issueKey(work, input.name, keyOptions(services, input.keyLifetimeS))),
    ),
  /** Null: not known any more. */
  location: adminProcedure
    .input(byName.extend({ location: locationSchema.nullable() }))
    .mutation(({ ctx, input }) =>
      ctx.services.store.work(ctx.actor, work => setLocation(work, input.name, input.location)),
    ),
  revoke: adminProcedure
    .input(byName)
    .mutation(({ ctx: { services, actor }, input }) =>
      services.store.work(actor, work => revokeNode(work, input.name, services.grants)),
    ),
  delete: adminProcedure
    .input(byName)
    .mutation(({ ctx: { services, actor }, input }) =>
      services.store.work(actor, work => deleteNode(work, input.name, services.grants)),
    ),
})

function keyOptions(
  services: { authority: { fingerprint: Uint8Array }; keyLifetimeS: number },
  lifetimeS: number | undefined,
) {
  return { caFingerprint: services.authority.fingerprint, lifetimeS: lifetimeS ?? services.keyLifetimeS }
}

const subnet = router({
  list: adminProcedure
    .input(z.object({ enterprise: nameSchema.optional(), node: nameSchema.optional() }).prefault({}))
    .query(({ ctx, input }) => listSubnets(ctx.services.store.db, input)),
  add: adminProcedure
    .input(ownership)
    .mutation(({ ctx: { services, actor }, input }) =>
      services.store.work(actor, work => addSubnet(work, input, services.grants)),
    ),
  remove: adminProcedure
    .input(ownership)
    .mutation(({ ctx: { services, actor }, input }) =>
      services.store.work(actor, work => removeSubnet(work, input, services.grants)),
    ),
  /** Null: all gateways may hear of it. */
  gateways: adminProcedure
    .input(ownership.extend({ gateways: z.array(nameSchema).min(1).max(256).nullable() }))
    .mutation(({ ctx, input }) => ctx.services.store.work(ctx.actor, work => setSubnetGateways(work, input))),
})

const gateway = router({
  /** `edges`, `inUseBy`: of what is connected to this replica, as last reported; null while the gateway is not. */
  list: adminProcedure.query(async ({ ctx: { services } }) => {
    const rows = await services.store.snapshot(listGateways)
    const reports = services.connections.list()
    return rows.map(row => {
      const own = reports.find(({ node: id }) => id === row.id)?.report
      const users = reports.filter(({ report }) => report?.peers.some(peer => peer.node === row.id && peer.inUse))
      return { ...row, edges: own?.peers.filter(peer => peer.state === 'up').length ?? null, inUseBy: users.length }
    })
  }),
  endpoints: adminProcedure
    .input(byName.extend({ endpoints: z.array(endpointSchema).max(16) }))
    .mutation(({ ctx, input }) =>
      ctx.services.store.work(ctx.actor, work => setEndpoints(work, input.name, input.endpoints)),
    ),
  /** An enterprise with assignments uses these gateways alone; null takes one away. */
  assign: adminProcedure
    .input(z.object({ enterprise: nameSchema, gateway: nameSchema, metric: z.int().min(0).max(65535).nullable() }))
    .mutation(({ ctx, input }) => ctx.services.store.work(ctx.actor, work => assignGateway(work, input))),
  drain: adminProcedure
    .input(byName.extend({ drained: z.boolean() }))
    .mutation(({ ctx, input }) => ctx.services.store.work(ctx.actor, work => drainGateway(work, input))),
  remove: adminProcedure
    .input(byName.extend({ now: z.boolean().default(false) }))
    .mutation(({ ctx: { services, actor }, input }) =>
      services.store.work(actor, work => removeGateway(work, input, services.grants)),
    ),
})

const vpn = router({
  show: adminProcedure.input(z.object({ enterprise: nameSchema })).query(({ ctx, input }) =>
    ctx.services.store.snapshot(async db => {
      const { name, security, vpnEnabled, vpnChanged } = await findEnterprise(db, input.enterprise)
      return {
        enterprise: name,
        security,
        enabled: vpnEnabled,
        changed: vpnChanged,
        subnets: await listSubnets(db, input),
      }
    }),
  ),
  set: adminProcedure
    .input(z.object({ enterprise: nameSchema, enabled: z.boolean(), subnet: prefixSchema.optional() }))
    .mutation(({ ctx, input }) => ctx.services.store.work(ctx.actor, work => setVpn(work, input))),
})

const events = router({
  list: adminProcedure
    .input(
      z
        .object({
          action: z.string().max(100).optional(),
          actor: z.string().max(100).optional(),
          object: z.string().max(100).optional(),
          enterprise: nameSchema.optional(),
          since: z.iso.datetime({ offset: true }).optional(),
          before: z.int().positive().optional(),
          limit: z.int().min(1).max(1000).default(50),
        })
        .prefault({}),
    )
    .query(({ ctx, input }) =>
      listEvents(ctx.services.store.db, {
        ...input,
        since: input.since === undefined ? undefined : new Date(input.since),
      }),
    ),
})

/** Nodes connected to this replica, with what they last reported. */
const status = adminProcedure.query(({ ctx: { services } }) => ({
  database: services.store.description,
  memoryBytes: process.memoryUsage.rss(),
  loop: services.loop.status(),
  uptimeS: Math.floor(process.uptime()),
  connected: services.connections.list().map(({ node: id, name, address, since, report }) => ({
    node: id,
    name,
    address,
    since,
    report: report ?? null,
  })),
}))

/** Prometheus text. */
const metrics = adminProcedure.query(({ ctx: { services } }) => services.metrics.metrics())

/** For command completion. */
const names = adminProcedure.query(async ({ ctx: { services } }) => ({
  enterprises: (await listEnterprises(services.store.db)).map(row => row.name),
  nodes: (await listNodes(services.store.db, {})).map(row => row.name),
}))

export const adminRouter = router({
  enterprise,
  node,
  subnet,
  gateway,
  vpn,
  policy: policyRouter,
  zone: zoneRouter,
  chain: chainRouter,
  rule: ruleRouter,
  events,
  status,
  metrics,
  names,
})
