/** Procedures for nodes. A node dials, activates once, then follows its state and reports. */
import { setTimeout as delay } from 'node:timers/promises'
import { tracked } from '@trpc/server'
import { z } from 'zod'
import { activationRequestSchema } from '../../schema/activation-key.ts'
import { nodeEventSchema, nodeReportSchema } from '../../schema/node-state.ts'
import { compileNodeState } from '../compile/node-state.ts'
import { activateNode, certify } from '../store/activation.ts'
import { loadIntents } from '../store/node-intent.ts'
import { nodeProcedure, publicProcedure, router } from './trpc.ts'

/** A slow node gets no new state while so much waits on its connection: the newest is sent when it has caught up. */
const MAX_BUFFERED = 1 << 20

export const agentRouter = router({
  /** The only call without a client certificate. */
  activate: publicProcedure.input(activationRequestSchema).mutation(({ ctx: { services }, input }) =>
    services.store.work(`key:${input.keyId}`, async work => {
      const { node, certificate } = await activateNode(work, input, services.authority, services.grants)
      const [intent] = await loadIntents(work.db, [node])
      if (!intent) throw new Error(`node ${node} has no state after its activation`)
      return { certificate: certificate.pem, state: compileNodeState(intent) }
    }),
  ),

  /** The node's newest state, then every newer one. The id of each is its revision: after a cut the node resumes with the last it has. */
  state: nodeProcedure
    .input(z.object({ lastEventId: z.string().regex(/^\d+$/).nullish() }).nullish())
    .subscription(async function* ({ ctx: { services, identity, buffered }, input, signal }) {
      const ready = async () => {
        while (buffered() > MAX_BUFFERED && !signal?.aborted) await delay(50)
      }
      const known = input?.lastEventId == null ? undefined : Number(input.lastEventId)
      const until = signal ?? new AbortController().signal
      for await (const state of services.publisher.states(identity, known, ready, until)) {
        yield tracked(String(state.revision), state)
      }
    }),

  report: nodeProcedure.input(nodeReportSchema).mutation(({ ctx, input }) => {
    ctx.connection.report = input
  }),

  /** Things an operator should see go to the audit log, in the order in which they happened. */
  event: nodeProcedure
    .input(z.array(nodeEventSchema).min(1).max(100))
    .mutation(async ({ ctx: { services, actor, identity }, input }) => {
      await services.store.append(
        actor,
        input.map(event => ({
          severity: event.severity,
          action: `node.event.${event.code}`,
          object: `node:${identity.name}`,
          message: event.message,
          detail: { ...event.detail, nodeTime: event.time },
        })),
      )
    }),

  /** A new certificate, for the same or a new TLS key; the one in use stays good until it expires. */
  renewCertificate: nodeProcedure
    .input(z.object({ tlsKey: z.base64() }))
    .mutation(({ ctx: { services, actor, identity }, input }) =>
      services.store.work(actor, async work => {
        const certificate = await certify(work, identity.id, input.tlsKey, services.authority)
        await work.record({
          action: 'node.certificate',
          object: `node:${identity.name}`,
          message: `certificate of ${identity.name} renewed until ${certificate.expires.toISOString()}`,
        })
        return { certificate: certificate.pem }
      }),
    ),
})
