/** Reads the intent of many nodes at once: a handful of statements, however many nodes. */
import { and, asc, desc, eq, inArray, isNotNull, isNull, sql } from 'drizzle-orm'
import type { GatewayIntent } from '../compile/gateway-metric.ts'
import type { NodeIntent } from '../compile/node-state.ts'
import type { Database } from './database.ts'
import { locationOf } from './locations.ts'
import { revisionOf } from './revision.ts'
import {
  enterprises,
  gatewayAssignments,
  gatewayEndpoints,
  grants,
  nodes,
  policies,
  revocationLists,
  signingKeys,
  subnets,
} from './schema.ts'

/** Metric of a gateway that serves an enterprise without being assigned to it. */
export const DEFAULT_METRIC = 100

/** @returns one intent per node that is active; the others are left out */
export async function loadIntents(db: Database, ids: readonly string[]): Promise<NodeIntent[]> {
  if (ids.length === 0) return []
  const rows = await db
    .select({
      id: nodes.id,
      name: nodes.name,
      role: nodes.role,
      revision: revisionOf,
      latitude: nodes.latitude,
      longitude: nodes.longitude,
      grant: grants.envelope,
      enterprise: nodes.enterprise,
      enterpriseName: enterprises.name,
      security: enterprises.security,
      vpnEnabled: enterprises.vpnEnabled,
    })
    .from(nodes)
    .innerJoin(grants, and(eq(grants.node, nodes.id), eq(grants.serial, nodes.grantSerial)))
    .leftJoin(enterprises, eq(enterprises.id, nodes.enterprise))
    .where(and(isIn(nodes.id, ids), eq(nodes.status, 'active')))
  const owned = Map.groupBy(
    await db
      .select({ node: subnets.node, prefix: subnets.prefix, enabled: subnets.enabled, gateways: subnets.gateways })
      .from(subnets)
      .where(isIn(subnets.node, ids))
      .orderBy(asc(subnets.prefix)),
    row => row.node,
  )
  const trust = await loadTrust(db)
  const tenants = rows.flatMap(row => (row.enterprise && row.role !== 'gateway' ? [row.enterprise] : []))
  const gateways = await loadGateways(db, [...new Set(tenants)])
  const signed = new Map(
    (
      await db
        .select({ enterprise: policies.enterprise, envelope: policies.envelope })
        .from(policies)
        .where(inArray(policies.enterprise, [...new Set(tenants)]))
    ).map(row => [row.enterprise, row.envelope]),
  )
  return rows.map(row => ({
    node: { id: row.id, name: row.name, role: row.role, revision: row.revision, location: locationOf(row) },
    grant: row.grant,
    enterprise:
      row.enterprise !== null && row.enterpriseName !== null && row.security !== null && row.vpnEnabled !== null
        ? { id: row.enterprise, name: row.enterpriseName, security: row.security, vpnEnabled: row.vpnEnabled }
        : null,
    subnets: owned.get(row.id) ?? [],
    gateways: gateways.get(row.enterprise ?? '') ?? [],
    policy: signed.get(row.enterprise ?? '') ?? null,
    trust,
  }))
}

export async function loadTrust(db: Database): Promise<NodeIntent['trust']> {
  const anchors = await db
    .select({ key: signingKeys.publicKey })
    .from(signingKeys)
    .where(isNull(signingKeys.retired))
    .orderBy(asc(signingKeys.created), asc(signingKeys.id))
  const [list] = await db
    .select({ envelope: revocationLists.envelope })
    .from(revocationLists)
    .orderBy(desc(revocationLists.serial))
    .limit(1)
  return { anchors: anchors.map(row => Buffer.from(row.key).toString('base64')), revocations: list?.envelope ?? null }
}

/** Gateways of each enterprise: those assigned to it, or else all. */
async function loadGateways(db: Database, tenants: readonly string[]): Promise<Map<string, GatewayIntent[]>> {
  const result = new Map<string, GatewayIntent[]>()
  if (tenants.length === 0) return result
  const rows = await db
    .select({
      id: nodes.id,
      name: nodes.name,
      staticKey: nodes.staticKey,
      enterprise: nodes.enterprise,
      latitude: nodes.latitude,
      longitude: nodes.longitude,
      drained: nodes.drained,
      address: gatewayEndpoints.address,
      port: gatewayEndpoints.port,
    })
    .from(nodes)
    .innerJoin(gatewayEndpoints, eq(gatewayEndpoints.node, nodes.id))
    .where(and(eq(nodes.role, 'gateway'), eq(nodes.status, 'active'), isNotNull(nodes.staticKey)))
    .orderBy(asc(nodes.name), asc(gatewayEndpoints.position))
  const assigned = Map.groupBy(
    await db
      .select()
      .from(gatewayAssignments)
      .where(inArray(gatewayAssignments.enterprise, [...tenants])),
    row => row.enterprise,
  )
  const known = [...Map.groupBy(rows, row => row.id).values()].flatMap(endpoints => {
    const [first] = endpoints
    if (!first?.staticKey) return []
    const entry = {
      node: first.id,
      name: first.name,
      staticKey: Buffer.from(first.staticKey).toString('base64'),
      endpoints: endpoints.map(({ address, port }) => ({ address, port })),
      drained: first.drained,
      location: locationOf(first),
    }
    return [{ owner: first.enterprise, entry }]
  })
  for (const tenant of tenants) {
    const metrics = new Map(assigned.get(tenant)?.map(row => [row.gateway, row.metric]))
    const usable = known
      // A gateway that belongs to an enterprise serves that one alone.
      .filter(
        ({ owner, entry }) => (owner === null || owner === tenant) && (metrics.size === 0 || metrics.has(entry.node)),
      )
      .map(({ entry }) => ({ ...entry, adminMetric: metrics.get(entry.node) ?? DEFAULT_METRIC }))
    result.set(tenant, usable)
  }
  return result
}

/** One array parameter instead of thousands of placeholders. */
function isIn(column: typeof nodes.id | typeof subnets.node, ids: readonly string[]) {
  return sql`${column} = any(${sql.param([...ids])}::uuid[])`
}
