/** Where edges find gateways, and which gateways serve which enterprise. */
import { and, eq } from 'drizzle-orm'
import { OrchestratorError } from '../error.ts'
import { findEnterprise } from './enterprises.ts'
import { findNode } from './nodes.ts'
import { bumpEdges, bumpEnterprise } from './revision.ts'
import { gatewayAssignments, gatewayEndpoints } from './schema.ts'
import type { Work } from './store.ts'

export interface Endpoint {
  address: string
  port: number
}

async function findGateway(work: Work, name: string) {
  const node = await findNode(work.db, name)
  if (node.role !== 'gateway') throw new OrchestratorError('refused', `node ${name} is an ${node.role}, not a gateway`)
  return node
}

/** Replaces the endpoints, in order of preference. */
export async function setEndpoints(work: Work, name: string, endpoints: readonly Endpoint[]): Promise<void> {
  const node = await findGateway(work, name)
  await work.db.delete(gatewayEndpoints).where(eq(gatewayEndpoints.node, node.id))
  if (endpoints.length > 0) {
    await work.db
      .insert(gatewayEndpoints)
      .values(endpoints.map((endpoint, position) => ({ ...endpoint, node: node.id, position })))
  }
  const text = endpoints.map(({ address, port }) =>
    address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`,
  )
  await work.record({
    action: 'gateway.endpoints',
    object: `node:${name}`,
    message:
      endpoints.length > 0 ? `gateway ${name} is reached at ${text.join(', ')}` : `gateway ${name} has no endpoint`,
  })
  if (node.status === 'active') await bumpEdges(work)
}

/** @param metric smaller is preferred; null takes the assignment away */
export async function assignGateway(
  work: Work,
  input: { enterprise: string; gateway: string; metric: number | null },
): Promise<void> {
  const enterprise = await findEnterprise(work.db, input.enterprise)
  const gateway = await findGateway(work, input.gateway)
  if (gateway.enterprise !== null && gateway.enterprise !== enterprise.id) {
    throw new OrchestratorError('refused', `gateway ${input.gateway} belongs to another enterprise`)
  }
  const row = { enterprise: enterprise.id, gateway: gateway.id }
  if (input.metric === null) {
    await work.db
      .delete(gatewayAssignments)
      .where(and(eq(gatewayAssignments.enterprise, row.enterprise), eq(gatewayAssignments.gateway, row.gateway)))
  } else {
    await work.db
      .insert(gatewayAssignments)
      .values({ ...row, metric: input.metric })
      .onConflictDoUpdate({
        target: [gatewayAssignments.enterprise, gatewayAssignments.gateway],
        set: { metric: input.metric },
      })
  }
  await work.record({
    action: 'gateway.assign',
    object: `node:${input.gateway}`,
    enterprise: enterprise.name,
    message:
      input.metric === null
        ? `gateway ${input.gateway} is no longer assigned to ${enterprise.name}`
        : `gateway ${input.gateway} serves ${enterprise.name} with metric ${input.metric}`,
  })
  await bumpEnterprise(work, enterprise.id)
}
