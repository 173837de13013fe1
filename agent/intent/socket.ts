/** WebSocket over mTLS to the orchestrator, in the shape that tRPC's client wants. */
import type { ConnectionOptions } from 'node:tls'
import { type ClientOptions, WebSocket } from 'ws'

/** In every orchestrator's certificate, so that any address, tunnel or proxy may lead to it. */
export const SERVER_NAME = 'orchestrator'

export interface TlsMaterial {
  /** PEM. */
  ca: string
  certificate?: string | undefined
  key?: string | undefined
}

export interface SocketHooks {
  /** PEM at the moment of connecting: a renewed certificate is taken up by the next connection. */
  tls: () => TlsMaterial
  onClose?: (code: number, reason: string) => void
  onError?: (error: Error) => void
}

const HANDSHAKE_MS = 10_000
/** A state with 1,024 subnets and 64 gateways has about 200 kB. */
const MAX_MESSAGE = 16 << 20

/** A WebSocket class that dials with these certificates. */
export function socketClass(hooks: SocketHooks): typeof globalThis.WebSocket {
  class OrchestratorSocket extends WebSocket {
    constructor(url: string | URL) {
      const { ca, certificate, key } = hooks.tls()
      const options: ClientOptions & ConnectionOptions = {
        ca,
        ...(certificate !== undefined && key !== undefined ? { cert: certificate, key } : {}),
        servername: SERVER_NAME,
        minVersion: 'TLSv1.3',
        perMessageDeflate: false,
        handshakeTimeout: HANDSHAKE_MS,
        maxPayload: MAX_MESSAGE,
      }
      super(url, options)
      this.on('close', (code, reason) => hooks.onClose?.(code, reason.toString()))
      this.on('error', error => hooks.onError?.(error))
    }
  }
  // The same interface by construction (ws follows the WHATWG one); the types of ws and of the platform were written apart.
  return OrchestratorSocket as unknown as typeof globalThis.WebSocket
}

/** @returns a wss:// URL, also for a bare host:port; undefined when it is neither */
export function orchestratorUrl(text: string): string | undefined {
  const full = text.includes('://') ? text : `wss://${text}`
  if (!URL.canParse(full)) return undefined
  const url = new URL(full)
  return url.protocol === 'wss:' && url.hostname !== '' ? `wss://${url.hostname}:${url.port || '2428'}` : undefined
}

/** The innermost reason in the words of people, without "Error:" and class names. */
export function connectReason(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return connectReason(error.errors[0])
  if (!(error instanceof Error)) return String(error)
  const code = 'code' in error ? String(error.code) : ''
  const known: Readonly<Record<string, string>> = {
    ECONNREFUSED: 'nobody listens there',
    ETIMEDOUT: 'no answer',
    EHOSTUNREACH: 'no route to that host',
    ENETUNREACH: 'no route to that network',
    ENOTFOUND: 'that name is not known',
    ECONNRESET: 'it hung up',
    UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'its certificate is from another CA',
    SELF_SIGNED_CERT_IN_CHAIN: 'its certificate is from another CA',
    CERT_HAS_EXPIRED: 'its certificate has expired, or this clock is wrong',
    CERT_NOT_YET_VALID: 'its certificate is not valid yet, or this clock is wrong',
  }
  return known[code] ?? error.message
}
