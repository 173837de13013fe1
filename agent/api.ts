/**
 * The agent's local API: a tRPC router over HTTP on a Unix socket that only its owner can open. `schema/agent-api.ts` has the shapes; the agent
 * answers from a plain `AgentView`, so that this file knows nothing of tunnels.
 */
import { chmodSync, mkdirSync, rmSync, statSync } from 'node:fs'
import { createServer, request, type Server } from 'node:http'
import { connect } from 'node:net'
import { dirname } from 'node:path'
import { createTRPCClient, httpLink, type TRPCClient } from '@trpc/client'
import { initTRPC } from '@trpc/server'
import { createHTTPHandler } from '@trpc/server/adapters/standalone'
import { z } from 'zod'
import {
  type Drops,
  type PathChangeRow,
  type PathReport,
  pathsInputSchema,
  type RouteRow,
  rekeyInputSchema,
  type ServicesReport,
  type Status,
} from '../schema/agent-api.ts'
import type { NodeEvent } from '../schema/node-state.ts'

/** What the running agent can tell and do. A rejection reaches the caller as its message. */
export interface AgentView {
  status(): Status | Promise<Status>
  routes(): RouteRow[] | Promise<RouteRow[]>
  drops(): Drops | Promise<Drops>
  /** Of all peers, or of one by name. */
  paths(input: z.infer<typeof pathsInputSchema>): PathReport[] | Promise<PathReport[]>
  /** Newest first. */
  pathHistory(): PathChangeRow[] | Promise<PathChangeRow[]>
  /** Of a gateway; nothing on others. */
  services(): ServicesReport | Promise<ServicesReport>
  /** New handshakes with one peer (by name or node id) or with all; resolves once they are under way, with the peers' names. */
  rekey(input: z.infer<typeof rekeyInputSchema>): { peers: string[] } | Promise<{ peers: string[] }>
  /** Prometheus text. */
  metrics(): string | Promise<string>
  /** Newest first. */
  events(): NodeEvent[] | Promise<NodeEvent[]>
}

const t = initTRPC.context<{ view: AgentView }>().create()

export const agentRouter = t.router({
  status: t.procedure.query(({ ctx }) => ctx.view.status()),
  routes: t.procedure.query(({ ctx }) => ctx.view.routes()),
  drops: t.procedure.query(({ ctx }) => ctx.view.drops()),
  paths: t.procedure.input(pathsInputSchema.prefault({})).query(({ ctx, input }) => ctx.view.paths(input)),
  pathHistory: t.procedure.query(({ ctx }) => ctx.view.pathHistory()),
  services: t.procedure.query(({ ctx }) => ctx.view.services()),
  metrics: t.procedure.query(({ ctx }) => ctx.view.metrics()),
  rekey: t.procedure.input(rekeyInputSchema).mutation(({ ctx, input }) => ctx.view.rekey(input)),
  events: t.procedure
    .input(z.object({ limit: z.int().min(1).max(10_000).default(100) }).prefault({}))
    .query(async ({ ctx, input }) => (await ctx.view.events()).slice(0, input.limit)),
})
export type AgentRouter = typeof agentRouter
export type AgentClient = TRPCClient<AgentRouter>

export interface AgentServer {
  close(): Promise<void>
}

/**
 * Serves `view` on a Unix socket of mode 0600; a socket left by a dead agent is replaced.
 * @throws Error in one line when another agent answers there or the path cannot be had
 */
export async function listen(socketPath: string, view: AgentView): Promise<AgentServer> {
  mkdirSync(dirname(socketPath), { recursive: true, mode: 0o755 })
  await clearStaleSocket(socketPath)
  const server = createServer(createHTTPHandler({ router: agentRouter, createContext: () => ({ view }) }))
  await new Promise<void>((resolve, reject) => {
    server.once('error', cause => reject(new Error(`cannot listen on ${socketPath}: ${cause.message}`, { cause })))
    // Without it the socket would be open to all between bind and chmod.
    const umask = process.umask(0o177)
    server.listen(socketPath, resolve)
    process.umask(umask)
  })
  chmodSync(socketPath, 0o600)
  return { close: () => closeServer(server) }
}

function closeServer(server: Server): Promise<void> {
  return new Promise(resolve => {
    server.close(() => resolve())
    server.closeAllConnections()
  })
}

/** Connecting is the only way to tell a live socket from one whose agent was killed. */
async function clearStaleSocket(path: string): Promise<void> {
  const found = statSync(path, { throwIfNoEntry: false })
  if (!found) return
  if (!found.isSocket()) throw new Error(`${path} exists and is not a socket; remove it or choose another socket path`)
  const alive = await new Promise<boolean>(resolve => {
    const probe = connect(path)
    probe.once('connect', () => {
      probe.destroy()
      resolve(true)
    })
    probe.once('error', () => resolve(false))
  })
  if (alive) throw new Error(`another agent listens on ${path}; stop it or choose another socket path`)
  rmSync(path, { force: true })
}

/**
 * Client of a running agent. Calls reject with TRPCClientError; its `cause` carries `code` ENOENT or ECONNREFUSED when no agent runs.
 * @param timeoutMs per call
 */
export function agentClient(socketPath: string, timeoutMs = 5000): AgentClient {
  return createTRPCClient<AgentRouter>({
    links: [httpLink({ url: 'http://agent', fetch: (url, init) => fetchFromSocket(socketPath, timeoutMs, url, init) })],
  })
}

type Fetch = NonNullable<Parameters<typeof httpLink<AgentRouter>>[0]['fetch']>

/** `fetch` has no Unix sockets; node:http has. Only what tRPC's httpLink asks for: method, headers and a text body. */
function fetchFromSocket(
  socketPath: string,
  timeoutMs: number,
  url: Parameters<Fetch>[0],
  init: Parameters<Fetch>[1],
): Promise<Response> {
  const target = new URL(String(url))
  return new Promise((resolve, reject) => {
    const call = request(
      {
        socketPath,
        path: target.pathname + target.search,
        method: init?.method ?? 'GET',
        headers: Object.fromEntries(new Headers(init?.headers)),
        timeout: timeoutMs,
        // A kept connection may lead to an agent that was replaced since.
        agent: false,
      },
      answer => {
        const parts: Buffer[] = []
        answer.on('data', (part: Buffer) => parts.push(part))
        answer.on('error', reject)
        answer.on('end', () =>
          resolve(
            new Response(Buffer.concat(parts), {
              status: answer.statusCode ?? 500,
              headers: { 'content-type': 'application/json' },
            }),
          ),
        )
      },
    )
    call.on('timeout', () =>
      call.destroy(new Error(`no answer from the agent on ${socketPath} within ${timeoutMs} ms`)),
    )
    call.on('error', reject)
    if (typeof init?.body === 'string') call.write(init.body)
    call.end()
  })
}
