/** Activation: this machine makes its keys, shows the one-time key, and becomes a node. */
import { generateKeyPairSync, timingSafeEqual, X509Certificate } from 'node:crypto'
import { mkdirSync } from 'node:fs'
import { connect, type PeerCertificate } from 'node:tls'
import { createTRPCClient, createWSClient, wsLink } from '@trpc/client'
import type { AppRouter } from '../../orchestrator/api/router.ts'
import { parseActivationKey } from '../../schema/activation-key.ts'
import { type NodeState, nodeStateSchema } from '../../schema/node-state.ts'
import { exportPrivate, generateKeyPair } from '../mp/dh.ts'
import { IntentError } from './error.ts'
import { writeIdentity, writeState } from './identity-file.ts'
import { connectReason, orchestratorUrl, SERVER_NAME, socketClass } from './socket.ts'

const DEADLINE_MS = 20_000

export interface ActivateOptions {
  /** wss://host:port or host:port. */
  url: string
  /** `BL1-...`, as the operator got it. */
  key: string
  /** State directory of the agent; made when missing. */
  directory: string
}

/**
 * Writes `identity` and `state` (mode 0600) into the directory. Private keys never leave this machine.
 * @throws IntentError: `key`, `unreachable` or `refused`
 */
export async function activate(
  options: ActivateOptions,
): Promise<{ node: string; name: string; role: string; state: NodeState }> {
  const key = parseActivationKey(options.key)
  if (!key) throw new IntentError('key', 'this is no activation key; copy the whole text that begins with BL1-')
  const url = orchestratorUrl(options.url)
  if (!url)
    throw new IntentError('unreachable', `${options.url} is no orchestrator address; give host:port or wss://host:port`)
  const ca = await fetchAuthority(url, key.caFingerprint)
  const tls = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const staticKey = generateKeyPair()
  const answer = await call(url, ca, {
    keyId: key.id,
    secret: Buffer.from(key.secret).toString('base64'),
    staticKey: Buffer.from(staticKey.publicKey.raw).toString('base64'),
    tlsKey: tls.publicKey.export({ type: 'spki', format: 'der' }).toString('base64'),
  })
  const state = nodeStateSchema.parse(answer.state)
  mkdirSync(options.directory, { recursive: true, mode: 0o700 })
  await writeState(options.directory, state)
  await writeIdentity(options.directory, {
    node: state.node,
    name: state.name,
    role: state.role,
    url,
    staticKey: Buffer.from(exportPrivate(staticKey)).toString('base64'),
    tlsKey: String(tls.privateKey.export({ type: 'pkcs8', format: 'pem' })),
    certificate: answer.certificate,
    ca,
  })
  return { node: state.node, name: state.name, role: state.role, state }
}

/**
 * The CA certificate that the server sends along, if it is the one that the key names. Nothing secret is sent on this connection; the next
 * one is verified against this CA in the ordinary way.
 */
async function fetchAuthority(url: string, fingerprint: Uint8Array): Promise<string> {
  const { hostname, port } = new URL(url)
  const chain = await new Promise<PeerCertificate>((resolve, reject) => {
    const socket = connect({
      host: hostname.replace(/^\[|\]$/g, ''),
      port: Number(port),
      servername: SERVER_NAME,
      minVersion: 'TLSv1.3',
      rejectUnauthorized: false,
      timeout: DEADLINE_MS,
    })
    socket.once('secureConnect', () => {
      resolve(socket.getPeerCertificate(true))
      socket.destroy()
    })
    socket.once('timeout', () => socket.destroy(new Error('no answer')))
    socket.once('error', reject)
  }).catch(cause => {
    throw new IntentError('unreachable', `cannot reach the orchestrator at ${url}: ${connectReason(cause)}`, { cause })
  })
  for (const certificate of chainOf(chain)) {
    const parsed = new X509Certificate(certificate.raw)
    if (timingSafeEqual(Buffer.from(parsed.fingerprint256.replaceAll(':', ''), 'hex'), fingerprint))
      return parsed.toString()
  }
  throw new IntentError(
    'refused',
    `${url} is not the orchestrator that made this key (its CA is another one); check the address, or ask for a new key`,
  )
}

/** The last certificate of Node's linked list is its own issuer. */
function chainOf(leaf: PeerCertificate): PeerCertificate[] {
  const chain: PeerCertificate[] = []
  for (let at: PeerCertificate | undefined = leaf; at?.raw && !chain.includes(at); ) {
    chain.push(at)
    at = 'issuerCertificate' in at ? (at.issuerCertificate as PeerCertificate | undefined) : undefined
  }
  return chain
}

async function call(
  url: string,
  ca: string,
  request: Parameters<ReturnType<typeof clientOf>['trpc']['agent']['activate']['mutate']>[0],
) {
  const client = clientOf(url, ca)
  try {
    return await Promise.race([
      client.trpc.agent.activate.mutate(request, { signal: AbortSignal.timeout(DEADLINE_MS) }),
      client.failed,
    ])
  } catch (cause) {
    if (cause instanceof IntentError) throw cause
    throw new IntentError('refused', `not activated: ${cause instanceof Error ? cause.message : String(cause)}`, {
      cause,
    })
  } finally {
    await client.close()
  }
}

function clientOf(url: string, ca: string) {
  const failure = Promise.withResolvers<never>()
  failure.promise.catch(() => {})
  const fail = (code: 'unreachable' | 'refused', text: string) => failure.reject(new IntentError(code, text))
  const socket = createWSClient({
    url,
    WebSocket: socketClass({
      tls: () => ({ ca }),
      onError: error => fail('unreachable', `cannot reach the orchestrator at ${url}: ${connectReason(error)}`),
      onClose: (_code, reason) => fail('refused', `the orchestrator at ${url} hung up: ${reason || 'no reason given'}`),
    }),
    retryDelayMs: () => DEADLINE_MS,
  })
  return {
    trpc: createTRPCClient<AppRouter>({ links: [wsLink({ client: socket })] }),
    failed: failure.promise,
    close: () => socket.close(),
  }
}
