/** Enterprises and the toggle of their VPN. */
import { randomUUID } from 'node:crypto'
import { and, asc, count, eq, ne, sql } from 'drizzle-orm'
import type { Security } from '../../schema/common.ts'
import { OrchestratorError } from '../error.ts'
import type { Database } from './database.ts'
import { bumpEnterprise, bumpNode } from './revision.ts'
import { enterprises, nodes, subnets } from './schema.ts'
import type { Work } from './store.ts'

export type Enterprise = typeof enterprises.$inferSelect

export async function listEnterprises(db: Database) {
  // Plain names: in a select from one table drizzle leaves the table off its columns, and `id` would be the node's.
  return await db
    .select({
      id: enterprises.id,
      name: enterprises.name,
      security: enterprises.security,
      vpnEnabled: enterprises.vpnEnabled,
      created: enterprises.created,
      nodes: sql<number>`(select count(*)::int from nodes n where n.enterprise_id = enterprises.id)`,
      subnets: sql<number>`(select count(*)::int from subnets s where s.enterprise_id = enterprises.id)`,
    })
    .from(enterprises)
    .orderBy(asc(enterprises.name))
}

/** @throws OrchestratorError `not-found` */
export async function findEnterprise(db: Database, name: string): Promise<Enterprise> {
  const [row] = await db.select().from(enterprises).where(eq(enterprises.name, name))
  if (!row)
    throw new OrchestratorError('not-found', `there is no enterprise ${name}; 'branchline enterprise list' shows them`)
  return row
}

export async function createEnterprise(
  work: Work,
  input: { name: string; security: Security; id?: string | undefined },
): Promise<Enterprise> {
  const [row] = await work.db
    .insert(enterprises)
    .values({ id: input.id ?? randomUUID(), name: input.name, security: input.security, created: work.now })
    .returning()
  if (!row) throw new Error('an inserted row did not come back')
  await work.record({
    action: 'enterprise.create',
    object: `enterprise:${row.name}`,
    enterprise: row.name,
    message: `enterprise ${row.name} created, subnets carried by ${row.security}`,
  })
  return row
}

/** Only an empty enterprise: its nodes hold grants that name it. */
export async function deleteEnterprise(work: Work, name: string): Promise<void> {
  const enterprise = await findEnterprise(work.db, name)
  const [left] = await work.db.select({ n: count() }).from(nodes).where(eq(nodes.enterprise, enterprise.id))
  if (left && left.n > 0) {
    throw new OrchestratorError(
      'refused',
      `enterprise ${name} still has ${left.n} nodes; delete them first with 'branchline node delete'`,
    )
  }
  await work.db.delete(enterprises).where(eq(enterprises.id, enterprise.id))
  await work.record({
    action: 'enterprise.delete',
    object: `enterprise:${name}`,
    enterprise: name,
    message: `enterprise ${name} deleted`,
  })
}

export interface VpnChange {
  /** False when everything was as asked already. */
  changed: boolean
}

/** The toggle. Grants stay as they are: nothing is signed here. */
export async function setVpn(
  work: Work,
  input: { enterprise: string; enabled: boolean; subnet?: string | undefined },
): Promise<VpnChange> {
  const enterprise = await findEnterprise(work.db, input.enterprise)
  const word = input.enabled ? 'on' : 'off'
  if (input.subnet !== undefined) return await setSubnet(work, enterprise, input.subnet, input.enabled)
  const switched = await work.db
    .update(enterprises)
    .set({ vpnEnabled: input.enabled, vpnChanged: work.now })
    .where(and(eq(enterprises.id, enterprise.id), ne(enterprises.vpnEnabled, input.enabled)))
    .returning({ id: enterprises.id })
  if (switched.length === 0) return { changed: false }
  await work.record({
    action: `vpn.${word}`,
    object: `enterprise:${enterprise.name}`,
    enterprise: enterprise.name,
    message: `VPN of ${enterprise.name} switched ${word}`,
  })
  await bumpEnterprise(work, enterprise.id)
  return { changed: true }
}

async function setSubnet(work: Work, enterprise: Enterprise, prefix: string, enabled: boolean): Promise<VpnChange> {
  const own = and(eq(subnets.enterprise, enterprise.id), eq(subnets.prefix, prefix))
  const [found] = await work.db.select().from(subnets).where(own)
  if (!found) {
    const hint = `'branchline subnet list --enterprise ${enterprise.name}' shows them`
    throw new OrchestratorError('not-found', `enterprise ${enterprise.name} has no subnet ${prefix}; ${hint}`)
  }
  if (found.enabled === enabled) return { changed: false }
  await work.db.update(subnets).set({ enabled }).where(own)
  const word = enabled ? 'on' : 'off'
  await work.record({
    action: `vpn.${word}`,
    object: `subnet:${prefix}`,
    enterprise: enterprise.name,
    message: `VPN of ${enterprise.name} switched ${word} for ${prefix}`,
  })
  await bumpNode(work, found.node)
  return { changed: true }
}
