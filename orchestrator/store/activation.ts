/** Activation: a one-time key turns a machine with fresh keys of its own into a node. */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import { and, eq, gt, isNull } from 'drizzle-orm'
import { type ActivationRequest, formatActivationKey } from '../../schema/activation-key.ts'
import { OrchestratorError } from '../error.ts'
import type { Authority, IssuedCertificate } from '../pki/authority.ts'
import type { Grants } from './grants.ts'
import { findNode } from './nodes.ts'
import { bumpEdges } from './revision.ts'
import { activationKeys, certificates, nodes } from './schema.ts'
import type { Work } from './store.ts'

const hashOf = (secret: Uint8Array) => createHash('sha256').update(secret).digest()

/** Also for a node that was active or revoked: the key lets a new machine take its place. Earlier unused keys of the node are void. */
export async function issueKey(
  work: Work,
  name: string,
  options: { caFingerprint: Uint8Array; lifetimeS: number },
): Promise<{ activationKey: string; activationExpires: Date }> {
  const node = await findNode(work.db, name)
  const id = randomBytes(8).toString('hex')
  const secret = randomBytes(20)
  const expires = new Date(work.now.getTime() + options.lifetimeS * 1000)
  await work.db.delete(activationKeys).where(and(eq(activationKeys.node, node.id), isNull(activationKeys.used)))
  await work.db
    .insert(activationKeys)
    .values({ id, node: node.id, secretHash: hashOf(secret), created: work.now, expires })
  await work.record({
    action: 'node.key',
    object: `node:${name}`,
    message: `activation key ${id} made for ${name}, good until ${expires.toISOString()}`,
  })
  return {
    activationKey: formatActivationKey({ id, secret, caFingerprint: options.caFingerprint }),
    activationExpires: expires,
  }
}

/**
 * @returns the node's id and certificate; its state is compiled by the caller, in the same work
 * @throws OrchestratorError `denied`, with the same words for a wrong secret and an unknown key
 */
export async function activateNode(
  work: Work,
  request: ActivationRequest,
  authority: Authority,
  signer: Grants,
): Promise<{ node: string; certificate: IssuedCertificate }> {
  const [key] = await work.db.select().from(activationKeys).where(eq(activationKeys.id, request.keyId))
  const offered = hashOf(Buffer.from(request.secret, 'base64'))
  if (!key || !timingSafeEqual(key.secretHash, offered)) {
    throw new OrchestratorError(
      'denied',
      'this activation key is not valid here; ask the operator for a new one (branchline node key)',
    )
  }
  if (key.used) {
    throw new OrchestratorError(
      'denied',
      `this activation key was used at ${key.used.toISOString()}; ask the operator for a new one`,
    )
  }
  if (key.expires <= work.now) {
    throw new OrchestratorError(
      'denied',
      `this activation key expired at ${key.expires.toISOString()}; ask the operator for a new one`,
    )
  }
  const taken = await work.db
    .update(activationKeys)
    .set({ used: work.now })
    .where(and(eq(activationKeys.id, key.id), isNull(activationKeys.used), gt(activationKeys.expires, work.now)))
    .returning({ node: activationKeys.node })
  if (taken.length !== 1) throw new OrchestratorError('denied', 'this activation key was used at this very moment')
  const [node] = await work.db.select().from(nodes).where(eq(nodes.id, key.node))
  if (!node) throw new Error(`node ${key.node} of activation key ${key.id} is gone`)
  const staticKey = new Uint8Array(Buffer.from(request.staticKey, 'base64'))
  if (node.status === 'active') {
    // Another machine takes over: the one before must not go on beside it.
    await work.changed({ scope: 'shut-out', node: node.id, reason: `node ${node.name} was activated again elsewhere` })
    await signer.revoke(work, node)
  }
  await work.db.delete(certificates).where(eq(certificates.node, node.id))
  await work.db.update(nodes).set({ staticKey, status: 'active', activated: work.now }).where(eq(nodes.id, node.id))
  await signer.issue(work, [node.id])
  if (node.role === 'gateway') await bumpEdges(work)
  await work.record({
    action: 'node.activate',
    object: `node:${node.name}`,
    message: `${node.role} ${node.name} activated`,
  })
  return { node: node.id, certificate: await certify(work, node.id, request.tlsKey, authority) }
}

/** A certificate for the node's TLS key, known to the database from now on. */
export async function certify(
  work: Work,
  node: string,
  tlsKey: string,
  authority: Authority,
): Promise<IssuedCertificate> {
  const certificate = await authority.issueNode(node, Buffer.from(tlsKey, 'base64'), work.now).catch(cause => {
    throw new OrchestratorError('refused', 'tlsKey: must be a P-256 public key (SubjectPublicKeyInfo, DER, base64)', {
      cause,
    })
  })
  await work.db
    .insert(certificates)
    .values({ fingerprint: certificate.fingerprint, node, issued: work.now, expires: certificate.expires })
  return certificate
}
