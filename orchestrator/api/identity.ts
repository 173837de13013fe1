/** TLS client certificate -> who it is. */
import type { IncomingMessage } from 'node:http'
import { TLSSocket } from 'node:tls'
import { and, eq, gt } from 'drizzle-orm'
import { OrchestratorError } from '../error.ts'
import { certificates, nodes } from '../store/schema.ts'
import type { Store } from '../store/store.ts'
import type { Identity } from './trpc.ts'

/** @throws OrchestratorError `denied` for a certificate that is there and does not count */
export async function identify(request: IncomingMessage, store: Store): Promise<Identity> {
  const { socket } = request
  if (!(socket instanceof TLSSocket)) throw new OrchestratorError('denied', 'only TLS connections are served')
  const certificate = socket.getPeerX509Certificate()
  if (!certificate) return { role: 'stranger' }
  if (!socket.authorized) {
    throw new OrchestratorError('denied', `certificate not accepted: ${String(socket.authorizationError)}`)
  }
  const subject = new Map(
    certificate.subject.split('\n').map(line => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
  )
  const name = subject.get('CN') ?? ''
  if (subject.get('OU') === 'admin') return { role: 'admin', name }
  if (subject.get('OU') !== 'node') throw new OrchestratorError('denied', 'this certificate is of no use to a client')
  const fingerprint = certificate.fingerprint256.replaceAll(':', '').toLowerCase()
  const [row] = await store.db
    .select({ id: nodes.id, name: nodes.name, enterprise: nodes.enterprise })
    .from(certificates)
    .innerJoin(nodes, eq(nodes.id, certificates.node))
    .where(
      and(eq(certificates.fingerprint, fingerprint), eq(nodes.status, 'active'), gt(certificates.expires, store.now)),
    )
  if (!row)
    throw new OrchestratorError(
      'denied',
      'this node was revoked, deleted or activated elsewhere; activate it with a new key',
    )
  return { role: 'node', ...row, fingerprint }
}
