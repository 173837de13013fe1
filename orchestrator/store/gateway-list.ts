/** Gateways as an admin sees them: where they are, whom they serve, and whether flows are to leave them. */
import { asc, eq } from 'drizzle-orm'
import type { Location } from '../../schema/common.ts'
import type { Database } from './database.ts'
import { locationOf } from './locations.ts'
import { enterprises, gatewayAssignments, gatewayEndpoints, nodes } from './schema.ts'

export interface GatewayRow {
  id: string
  name: string
  status: 'created' | 'active' | 'revoked'
  /** Its owner, which it serves alone; null: the operator's. */
  enterprise: string | null
  endpoints: { address: string; port: number }[]
  location: Location | null
  drained: boolean
  /** Empty: it serves every enterprise that has no assignment. */
  assignments: { enterprise: string; metric: number }[]
}

export async function listGateways(db: Database): Promise<GatewayRow[]> {
  const rows = await db
    .select({
      id: nodes.id,
      name: nodes.name,
      status: nodes.status,
      enterprise: enterprises.name,
      latitude: nodes.latitude,
      longitude: nodes.longitude,
      drained: nodes.drained,
    })
    .from(nodes)
    .leftJoin(enterprises, eq(enterprises.id, nodes.enterprise))
    .where(eq(nodes.role, 'gateway'))
    .orderBy(asc(nodes.name))
  const endpoints = Map.groupBy(
    await db.select().from(gatewayEndpoints).orderBy(asc(gatewayEndpoints.position)),
    row => row.node,
  )
  const assignments = Map.groupBy(
    await db
      .select({ gateway: gatewayAssignments.gateway, enterprise: enterprises.name, metric: gatewayAssignments.metric })
      .from(gatewayAssignments)
      .innerJoin(enterprises, eq(enterprises.id, gatewayAssignments.enterprise))
      .orderBy(asc(enterprises.name)),
    row => row.gateway,
  )
  return rows.map(({ latitude, longitude, ...row }) => ({
    ...row,
    location: locationOf({ latitude, longitude }),
    endpoints: (endpoints.get(row.id) ?? []).map(({ address, port }) => ({ address, port })),
    assignments: (assignments.get(row.id) ?? []).map(({ enterprise, metric }) => ({ enterprise, metric })),
  }))
}
