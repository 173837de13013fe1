/** Counters whose sum is the revision of a node's state: it grows whenever one of them does, and nobody counts a thousand nodes one by one. */
import { eq, sql } from 'drizzle-orm'
import { enterprises, generations, nodes } from './schema.ts'
import type { Work } from './store.ts'

/** In a statement over `nodes` with `enterprises` joined to the left. Plain names: drizzle would leave the tables off in places. */
export const revisionOf = sql<number>`nodes.revision + (select trust from generations)
  + case nodes.role when 'gateway' then 0 else enterprises.revision + (select gateways from generations) end`

/** The state of this node changed. */
export async function bumpNode(work: Work, node: string): Promise<void> {
  await work.db
    .update(nodes)
    .set({ revision: sql`${nodes.revision} + 1` })
    .where(eq(nodes.id, node))
  await work.changed({ scope: 'node', node })
}

/** The state of every edge of the enterprise changed. */
export async function bumpEnterprise(work: Work, enterprise: string): Promise<void> {
  await work.db
    .update(enterprises)
    .set({ revision: sql`${enterprises.revision} + 1` })
    .where(eq(enterprises.id, enterprise))
  await work.changed({ scope: 'enterprise', enterprise })
}

/** The list of gateways changed: every edge. */
export async function bumpEdges(work: Work): Promise<void> {
  await work.db.update(generations).set({ gateways: sql`${generations.gateways} + 1` })
  await work.changed({ scope: 'all' })
}

/** Anchors or revocations changed: every node. */
export async function bumpAll(work: Work): Promise<void> {
  await work.db.update(generations).set({ trust: sql`${generations.trust} + 1` })
  await work.changed({ scope: 'all' })
}
