/** What every procedure stands on: who asks, the services, and how errors are told. */

import { initTRPC, TRPCError } from '@trpc/server'
import type { Logger } from 'pino'
import type { Registry } from 'prom-client'
import { ZodError } from 'zod'
import type { LoopDelay } from '../../agent/loop/delay.ts'
import { type ErrorCode, OrchestratorError } from '../error.ts'
import type { Authority } from '../pki/authority.ts'
import type { Connections, NodeConnection } from '../publish/connections.ts'
import type { Publisher } from '../publish/publisher.ts'
import type { Grants } from '../store/grants.ts'
import type { Policies } from '../store/policies.ts'
import type { Store } from '../store/store.ts'

/** From the TLS client certificate. */
export type Identity =
  | { role: 'admin'; name: string }
  | { role: 'node'; id: string; name: string; enterprise: string | null; fingerprint: string }
  /** No certificate: may activate, nothing else. */
  | { role: 'stranger' }

export interface Services {
  store: Store
  authority: Authority
  grants: Grants
  policies: Policies
  publisher: Publisher
  connections: Connections
  /** Default life of an activation key, seconds. */
  keyLifetimeS: number
  log: Logger
  loop: LoopDelay
  metrics: Registry
}

export interface Context {
  identity: Identity
  services: Services
  /** Only for nodes. */
  connection: NodeConnection | undefined
  /** Bytes that wait to be sent on this connection. */
  buffered: () => number
}

const CODES: Readonly<Record<ErrorCode, TRPCError['code']>> = {
  'not-found': 'NOT_FOUND',
  exists: 'CONFLICT',
  overlap: 'CONFLICT',
  refused: 'PRECONDITION_FAILED',
  denied: 'FORBIDDEN',
  setup: 'INTERNAL_SERVER_ERROR',
}

const t = initTRPC.context<Context>().create({
  errorFormatter: ({ shape, error }) => {
    const { cause } = error
    // Stack traces and SQL stay in the log.
    const data = { code: shape.data.code, reason: cause instanceof OrchestratorError ? cause.code : null }
    if (cause instanceof ZodError) return { ...shape, message: fieldErrors(cause), data }
    const known = error.code !== 'INTERNAL_SERVER_ERROR' || cause instanceof OrchestratorError
    return { ...shape, message: known ? shape.message : 'the orchestrator failed; its log has the details', data }
  },
})

/** `subnets.0: must be a prefix ...; name: must be ...` */
function fieldErrors(error: ZodError): string {
  return error.issues
    .map(issue => (issue.path.length > 0 ? `${issue.path.join('.')}: ${issue.message}` : issue.message))
    .join('; ')
}

const told = t.procedure.use(async ({ next }) => {
  const result = await next()
  if (!result.ok && result.error.cause instanceof OrchestratorError) {
    const { cause } = result.error
    throw new TRPCError({ code: CODES[cause.code], message: cause.message, cause })
  }
  return result
})

export const router = t.router
export const publicProcedure = told

export const adminProcedure = told.use(({ ctx, next }) => {
  if (ctx.identity.role !== 'admin')
    throw new TRPCError({ code: 'FORBIDDEN', message: 'only an admin certificate may do this' })
  return next({ ctx: { ...ctx, actor: `admin:${ctx.identity.name}` } })
})

export const nodeProcedure = told.use(({ ctx, next }) => {
  const { identity, connection } = ctx
  if (identity.role !== 'node' || !connection) {
    throw new TRPCError({ code: 'FORBIDDEN', message: 'only a node certificate may do this' })
  }
  return next({ ctx: { ...ctx, identity, connection, actor: `node:${identity.name}` } })
})
