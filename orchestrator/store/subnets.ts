/** Subnets: who owns which prefix of an enterprise. Adding or removing one changes what the owner's grant lets it announce. */
import { and, asc, count, eq, sql } from 'drizzle-orm'
import { OrchestratorError } from '../error.ts'
import type { Database } from './database.ts'
import type { Grants } from './grants.ts'
import { findNode } from './nodes.ts'
import { enterprises, nodes, subnets } from './schema.ts'
import type { Work } from './store.ts'

/** As many as a grant can carry (schema/grant.ts). */
const MAX_SUBNETS = 1024

export async function listSubnets(
  db: Database,
  filter: { enterprise?: string | undefined; node?: string | undefined },
) {
  return await db
    .select({
      enterprise: enterprises.name,
      prefix: subnets.prefix,
      node: nodes.name,
      enabled: subnets.enabled,
      /** Names of those that may hear of it; null: all. */
      gateways: sql<string[] | null>`case when subnets.gateways is null then null
        else (select coalesce(json_agg(g.name order by g.name), '[]'::json) from nodes g where g.id = any(subnets.gateways)) end`,
      reachable: sql<boolean>`${subnets.enabled} and ${enterprises.vpnEnabled}`,
    })
    .from(subnets)
    .innerJoin(nodes, eq(nodes.id, subnets.node))
    .innerJoin(enterprises, eq(enterprises.id, subnets.enterprise))
    .where(
      and(
        filter.enterprise === undefined ? undefined : eq(enterprises.name, filter.enterprise),
        filter.node === undefined ? undefined : eq(nodes.name, filter.node),
      ),
    )
    .orderBy(asc(enterprises.name), asc(subnets.prefix))
}

/** @throws OrchestratorError `overlap` naming both owners */
export async function addSubnet(work: Work, input: { node: string; prefix: string }, signer: Grants): Promise<void> {
  const node = await findNode(work.db, input.node)
  const enterprise = await ownerEnterprise(work, node)
  const [clash] = await work.db
    .select({ prefix: subnets.prefix, owner: nodes.name })
    .from(subnets)
    .innerJoin(nodes, eq(nodes.id, subnets.node))
    .where(and(eq(subnets.enterprise, enterprise.id), sql`${subnets.prefix} && ${input.prefix}::cidr`))
    .orderBy(asc(subnets.prefix))
    .limit(1)
  if (clash) {
    throw new OrchestratorError(
      'overlap',
      `${input.prefix} of ${node.name} overlaps ${clash.prefix} of ${clash.owner} in enterprise ${enterprise.name}; remove one of them first`,
    )
  }
  const [owned] = await work.db.select({ n: count() }).from(subnets).where(eq(subnets.node, node.id))
  if (owned && owned.n >= MAX_SUBNETS) {
    throw new OrchestratorError(
      'refused',
      `node ${node.name} has ${MAX_SUBNETS} subnets, as many as a grant can carry; join some`,
    )
  }
  await work.db
    .insert(subnets)
    .values({ enterprise: enterprise.id, node: node.id, prefix: input.prefix, created: work.now })
  await work.record({
    action: 'subnet.add',
    object: `subnet:${input.prefix}`,
    enterprise: enterprise.name,
    message: `${input.prefix} of ${enterprise.name} belongs to ${node.name}`,
  })
  await signer.issue(work, [node.id])
}

export async function removeSubnet(work: Work, input: { node: string; prefix: string }, signer: Grants): Promise<void> {
  const node = await findNode(work.db, input.node)
  const enterprise = await ownerEnterprise(work, node)
  const removed = await work.db
    .delete(subnets)
    .where(and(eq(subnets.node, node.id), eq(subnets.prefix, input.prefix)))
    .returning({ prefix: subnets.prefix })
  if (removed.length === 0) {
    throw new OrchestratorError(
      'not-found',
      `node ${node.name} has no subnet ${input.prefix}; 'branchline node show ${node.name}' lists them`,
    )
  }
  await work.record({
    action: 'subnet.remove',
    object: `subnet:${input.prefix}`,
    enterprise: enterprise.name,
    message: `${input.prefix} of ${enterprise.name} no longer belongs to ${node.name}`,
  })
  await signer.issue(work, [node.id])
}

async function ownerEnterprise(work: Work, node: typeof nodes.$inferSelect): Promise<{ id: string; name: string }> {
  if (node.enterprise === null || node.role === 'gateway') {
    throw new OrchestratorError('refused', `${node.role} ${node.name} cannot own subnets: they belong to edges`)
  }
  const [row] = await work.db
    .select({ id: enterprises.id, name: enterprises.name })
    .from(enterprises)
    .where(eq(enterprises.id, node.enterprise))
  if (!row) throw new Error(`enterprise ${node.enterprise} of node ${node.name} is gone`)
  return row
}
