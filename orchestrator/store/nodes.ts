/** Nodes: created by an admin, brought to life by activation, ended by revocation. */
import { randomUUID } from 'node:crypto'
import { and, asc, count, eq, isNull, sql } from 'drizzle-orm'
import type { Location } from '../../schema/common.ts'
import { OrchestratorError } from '../error.ts'
import { issueKey } from './activation.ts'
import type { Database } from './database.ts'
import { findEnterprise } from './enterprises.ts'
import { setEndpoints } from './gateways.ts'
import type { Grants } from './grants.ts'
import { locationOf } from './locations.ts'
import { bumpEdges, revisionOf } from './revision.ts'
import { activationKeys, certificates, enterprises, gatewayEndpoints, grants, nodes, subnets } from './schema.ts'
import type { Work } from './store.ts'
import { addSubnet } from './subnets.ts'
import { freeVirtualPool } from './virtual-pool.ts'

export type NodeRow = typeof nodes.$inferSelect

export interface NodeInput {
  name: string
  id?: string | undefined
  role: 'edge' | 'gateway'
  enterprise?: string | undefined
  subnets: readonly string[]
  endpoints: readonly { address: string; port: number }[]
  location?: Location | undefined
}

/** @throws OrchestratorError `not-found` */
export async function findNode(db: Database, name: string): Promise<NodeRow> {
  const [row] = await db.select().from(nodes).where(eq(nodes.name, name))
  if (!row) throw new OrchestratorError('not-found', `there is no node ${name}; 'branchline node list' shows them`)
  return row
}

const summary = {
  id: nodes.id,
  name: nodes.name,
  role: nodes.role,
  status: nodes.status,
  enterprise: enterprises.name,
  revision: revisionOf,
  grantSerial: nodes.grantSerial,
  grantExpires: grants.expires,
  created: nodes.created,
  activated: nodes.activated,
}

export async function listNodes(
  db: Database,
  filter: { enterprise?: string | undefined; role?: NodeRow['role'] | undefined },
) {
  return await db
    .select(summary)
    .from(nodes)
    .leftJoin(enterprises, eq(enterprises.id, nodes.enterprise))
    .leftJoin(grants, and(eq(grants.node, nodes.id), eq(grants.serial, nodes.grantSerial)))
    .where(
      and(
        filter.enterprise === undefined ? undefined : eq(enterprises.name, filter.enterprise),
        filter.role === undefined ? undefined : eq(nodes.role, filter.role),
      ),
    )
    .orderBy(asc(nodes.name))
}

export async function showNode(db: Database, name: string) {
  const { id } = await findNode(db, name)
  const [row] = await db
    .select({ ...summary, staticKey: nodes.staticKey, latitude: nodes.latitude, longitude: nodes.longitude })
    .from(nodes)
    .leftJoin(enterprises, eq(enterprises.id, nodes.enterprise))
    .leftJoin(grants, and(eq(grants.node, nodes.id), eq(grants.serial, nodes.grantSerial)))
    .where(eq(nodes.id, id))
  if (!row) throw new OrchestratorError('not-found', `node ${name} was deleted at this moment`)
  const owned = await db
    .select({ prefix: subnets.prefix, enabled: subnets.enabled })
    .from(subnets)
    .where(eq(subnets.node, id))
    .orderBy(asc(subnets.prefix))
  const endpoints = await db
    .select({ address: gatewayEndpoints.address, port: gatewayEndpoints.port })
    .from(gatewayEndpoints)
    .where(eq(gatewayEndpoints.node, id))
    .orderBy(asc(gatewayEndpoints.position))
  const [open] = await db
    .select({ n: count() })
    .from(activationKeys)
    .where(and(eq(activationKeys.node, id), isNull(activationKeys.used), sql`${activationKeys.expires} > now()`))
  const { latitude, longitude, ...rest } = row
  return {
    ...rest,
    location: locationOf({ latitude, longitude }),
    staticKey: row.staticKey ? Buffer.from(row.staticKey).toString('base64') : null,
    subnets: owned,
    endpoints,
    openKeys: open?.n ?? 0,
  }
}

export interface Created {
  id: string
  name: string
  /** Shown this once: only its hash is kept. */
  activationKey: string
  activationExpires: Date
}

export async function createNode(
  work: Work,
  input: NodeInput,
  key: { caFingerprint: Uint8Array; lifetimeS: number },
  signer: Grants,
): Promise<Created> {
  if (input.role === 'edge' && input.enterprise === undefined) {
    throw new OrchestratorError('refused', `edge ${input.name} needs an enterprise`)
  }
  if (input.role === 'edge' && input.endpoints.length > 0) {
    throw new OrchestratorError('refused', `edge ${input.name} cannot have endpoints: edges dial, gateways are dialled`)
  }
  if (input.role === 'gateway' && input.subnets.length > 0) {
    throw new OrchestratorError('refused', `gateway ${input.name} cannot have subnets: they belong to edges`)
  }
  const enterprise = input.enterprise === undefined ? null : await findEnterprise(work.db, input.enterprise)
  const id = input.id ?? randomUUID()
  const virtualPool = input.role === 'gateway' ? await freeVirtualPool(work) : null
  await work.db.insert(nodes).values({
    id,
    name: input.name,
    role: input.role,
    enterprise: enterprise?.id ?? null,
    virtualPool,
    latitude: input.location?.latitude ?? null,
    longitude: input.location?.longitude ?? null,
    created: work.now,
  })
  await work.record({
    action: 'node.create',
    object: `node:${input.name}`,
    enterprise: enterprise?.name,
    message: `${input.role} ${input.name} created${enterprise ? ` in ${enterprise.name}` : ''}`,
    detail: { id },
  })
  for (const prefix of input.subnets) await addSubnet(work, { node: input.name, prefix }, signer)
  if (input.endpoints.length > 0) await setEndpoints(work, input.name, input.endpoints)
  return { id, name: input.name, ...(await issueKey(work, input.name, key)) }
}

/** The node is out: its grants are refused everywhere, its certificates and keys no longer open a connection. Its subnets stay its own. */
export async function revokeNode(work: Work, name: string, signer: Grants): Promise<{ revokedSerial: number }> {
  const node = await findNode(work.db, name)
  if (node.status === 'revoked') throw new OrchestratorError('refused', `node ${name} is revoked already`)
  await work.db.update(nodes).set({ status: 'revoked' }).where(eq(nodes.id, node.id))
  await shutOut(work, node, `node ${name} was revoked; an operator can let it back with 'branchline node key ${name}'`)
  await work.record({
    action: 'node.revoke',
    object: `node:${name}`,
    severity: 'warning',
    message: `node ${name} revoked, grants up to serial ${node.grantSerial} are refused`,
    detail: { upTo: node.grantSerial },
  })
  if (node.role === 'gateway') await bumpEdges(work)
  await signer.revoke(work, node)
  return { revokedSerial: node.grantSerial }
}

export async function deleteNode(work: Work, name: string, signer: Grants): Promise<void> {
  const node = await findNode(work.db, name)
  await shutOut(work, node, `node ${name} was deleted`)
  if (node.role === 'gateway') await bumpEdges(work)
  // A revoked node's grants are in the list already.
  if (node.status === 'active') await signer.revoke(work, node)
  await work.db.delete(nodes).where(eq(nodes.id, node.id))
  await work.record({
    action: 'node.delete',
    object: `node:${name}`,
    message: `node ${name} deleted`,
    detail: { id: node.id },
  })
}

async function shutOut(work: Work, node: NodeRow, reason: string): Promise<void> {
  await work.db.delete(certificates).where(eq(certificates.node, node.id))
  await work.db.delete(activationKeys).where(eq(activationKeys.node, node.id))
  await work.changed({ scope: 'shut-out', node: node.id, reason })
}
