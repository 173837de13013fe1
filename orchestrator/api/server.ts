/**
 * tRPC over WebSocket over TLS 1.3. Clients show a certificate of our CA, all but those that come to activate; who shows a wrong one is told why in the
 * close frame.
 */
import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import type { CreateWSSContextFnOptions } from '@trpc/server/adapters/ws'
import { applyWSSHandler } from '@trpc/server/adapters/ws'
import { type WebSocket, WebSocketServer } from 'ws'
import type { ServerIdentity } from '../pki/data-directory.ts'
import { CLOSE, closeReason, type NodeConnection } from '../publish/connections.ts'
import { identify } from './identity.ts'
import { appRouter } from './router.ts'
import type { Context, Identity, Services } from './trpc.ts'

export interface ApiServer {
  address: string
  port: number
  /** New connections get this certificate. */
  setIdentity(identity: ServerIdentity): void
  close(): Promise<void>
}

const LIMITS = {
  /** A larger message ends its connection. */
  messageBytes: 1 << 20,
  /** Connections without a certificate, at one time. */
  strangers: 100,
  strangerMs: 15_000,
}

/** @throws the listen error, e.g. EADDRINUSE */
export async function serve(
  services: Services,
  options: { host: string; port: number; identity: ServerIdentity },
): Promise<ApiServer> {
  const tls = (identity: ServerIdentity) => ({
    cert: identity.certificate,
    key: identity.key,
    ca: services.authority.certificate,
    minVersion: 'TLSv1.3' as const,
  })
  const server = createServer(
    { ...tls(options.identity), requestCert: true, rejectUnauthorized: false },
    (_request, response) => {
      response
        .writeHead(426, { 'content-type': 'text/plain', upgrade: 'websocket' })
        .end('branchline speaks tRPC over WebSocket\n')
    },
  )
  const sockets = new WebSocketServer({ noServer: true, perMessageDeflate: false, maxPayload: LIMITS.messageBytes })
  const peers = new WeakMap<WebSocket, { identity: Identity; connection: NodeConnection | undefined }>()
  let strangers = 0

  server.on('upgrade', (request, raw, head) => {
    // Cut while the database is asked.
    raw.on('error', () => {})
    identify(request, services.store).then(
      identity =>
        sockets.handleUpgrade(request, raw, head, socket => {
          socket.on('error', error => services.log.debug({ err: error }, 'connection failed'))
          const address = request.socket.remoteAddress ?? '?'
          if (identity.role === 'stranger') {
            if (strangers >= LIMITS.strangers) return socket.close(1013, 'too many activations at once; try again')
            strangers++
            const timer = setTimeout(
              () => socket.close(CLOSE.unauthenticated, 'activation takes too long'),
              LIMITS.strangerMs,
            )
            socket.once('close', () => {
              clearTimeout(timer)
              strangers--
            })
          }
          const connection = identity.role === 'node' ? services.connections.add(identity, socket, address) : undefined
          peers.set(socket, { identity, connection })
          sockets.emit('connection', socket, request)
        }),
      error => {
        const text = error instanceof Error ? error.message : String(error)
        services.log.info({ from: request.socket.remoteAddress, reason: text }, 'connection refused')
        sockets.handleUpgrade(request, raw, head, socket => {
          socket.on('error', () => {})
          socket.close(CLOSE.unauthenticated, closeReason(text))
        })
      },
    )
  })

  applyWSSHandler({
    wss: sockets,
    router: appRouter,
    keepAlive: { enabled: true, pingMs: 10_000, pongWaitMs: 5_000 },
    createContext: ({ res }: CreateWSSContextFnOptions): Context => {
      const peer = peers.get(res)
      return {
        identity: peer?.identity ?? { role: 'stranger' },
        connection: peer?.connection,
        services,
        buffered: () => res.bufferedAmount,
      }
    },
    onError: ({ error, path, ctx }) => {
      const level = error.code === 'INTERNAL_SERVER_ERROR' ? 'error' : 'debug'
      services.log[level]({ err: error, path, who: ctx?.identity.role }, 'call failed')
    },
  })

  const at = await listen(server, options.host, options.port)
  return {
    ...at,
    setIdentity: identity => server.setSecureContext(tls(identity)),
    close: () => shutDown(server, sockets),
  }
}

function listen(server: Server, host: string, port: number): Promise<{ address: string; port: number }> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen({ host, port, backlog: 1024 }, () => {
      server.off('error', reject)
      // With a host the address is never a pipe's name.
      const { address, port: chosen } = server.address() as AddressInfo
      resolve({ address, port: chosen })
    })
  })
}

/** 1012: restart. Clients come back by themselves. */
async function shutDown(server: Server, sockets: WebSocketServer): Promise<void> {
  for (const socket of sockets.clients) socket.close(1012, 'the orchestrator stops')
  const closed = new Promise<void>(resolve => server.close(() => resolve()))
  const patience = setTimeout(() => {
    for (const socket of sockets.clients) socket.terminate()
    server.closeAllConnections()
  }, 1000)
  sockets.close()
  server.closeIdleConnections()
  await closed
  clearTimeout(patience)
}
