/** Procedures for admins: what an enterprise wants done to its connections. */
import { z } from 'zod'
import { nameSchema } from '../../schema/common.ts'
import {
  ANY_PORT,
  chainSchema,
  directionSchema,
  isAny,
  MAX_MATCHES,
  MAX_ZONE_PREFIXES,
  matchedPrefixSchema,
  matchSchema,
  PROTOCOLS_WITH_PORTS,
  portsSchema,
} from '../../schema/policy.ts'
import {
  addRule,
  addToZone,
  createChain,
  deleteChain,
  moveRule,
  type PolicyChange,
  removeFromZone,
  removeRule,
  switchInternet,
} from '../compile/policy.ts'
import { showPolicy } from '../store/policies.ts'
import { adminProcedure, router, type Services } from './trpc.ts'

const ofEnterprise = z.object({ enterprise: nameSchema })
const named = ofEnterprise.extend({ name: nameSchema })

/** What every change does: one work, one version. */
function change({ services, actor }: { services: Services; actor: string }, enterprise: string, edit: PolicyChange) {
  return services.store.work(actor, work => services.policies.change(work, enterprise, edit))
}

const show = adminProcedure
  .input(ofEnterprise)
  .query(({ ctx, input }) => ctx.services.store.snapshot(db => showPolicy(db, input.enterprise)))

export const policyRouter = router({
  show,
  internet: adminProcedure
    .input(ofEnterprise.extend({ enabled: z.boolean() }))
    .mutation(({ ctx, input }) => change(ctx, input.enterprise, switchInternet(input.enabled))),
})

export const zoneRouter = router({
  add: adminProcedure
    .input(named.extend({ prefixes: z.array(matchedPrefixSchema).min(1).max(MAX_ZONE_PREFIXES) }))
    .mutation(({ ctx, input }) => change(ctx, input.enterprise, addToZone(input.name, input.prefixes))),
  /** Without prefixes the whole zone. */
  remove: adminProcedure
    .input(named.extend({ prefixes: z.array(matchedPrefixSchema).max(MAX_ZONE_PREFIXES).default([]) }))
    .mutation(({ ctx, input }) => change(ctx, input.enterprise, removeFromZone(input.name, input.prefixes))),
})

export const chainRouter = router({
  create: adminProcedure
    .input(chainSchema.extend({ enterprise: nameSchema, replace: z.boolean().default(false) }))
    .mutation(({ ctx, input: { enterprise, replace, name, hops } }) =>
      change(ctx, enterprise, createChain({ name, hops }, replace)),
    ),
  delete: adminProcedure
    .input(named)
    .mutation(({ ctx, input }) => change(ctx, input.enterprise, deleteChain(input.name))),
})

const ruleInputSchema = named
  .extend({
    source: z.array(matchSchema).max(MAX_MATCHES).default([]),
    destination: z.array(matchSchema).max(MAX_MATCHES).default([]),
    proto: z.int().min(0).max(255).default(0),
    sourcePorts: portsSchema.default(ANY_PORT),
    destinationPorts: portsSchema.default(ANY_PORT),
    application: z.int().min(0).max(65_535).default(0),
    direction: directionSchema.default('out'),
    chain: nameSchema.nullable(),
    shadow: z.boolean().default(false),
    existing: z.enum(['keep', 'move'], 'must be keep or move').default('keep'),
    before: nameSchema.optional(),
  })
  .refine(
    rule => PROTOCOLS_WITH_PORTS.includes(rule.proto) || (isAny(rule.sourcePorts) && isAny(rule.destinationPorts)),
    'ports need a protocol that has them: tcp, udp, sctp, dccp or udplite',
  )

export const ruleRouter = router({
  add: adminProcedure
    .input(ruleInputSchema)
    .mutation(({ ctx, input: { enterprise, before, ...rule } }) => change(ctx, enterprise, addRule(rule, before))),
  remove: adminProcedure
    .input(named)
    .mutation(({ ctx, input }) => change(ctx, input.enterprise, removeRule(input.name))),
  /** In front of the rule `before`, or behind all. */
  move: adminProcedure
    .input(named.extend({ before: nameSchema.optional() }))
    .mutation(({ ctx, input }) => change(ctx, input.enterprise, moveRule(input.name, input.before))),
})
