/** Where edges find gateways, which gateways serve which enterprise or subnet, and how one is taken out of service. */
import { and, eq } from 'drizzle-orm'
import { OrchestratorError } from '../error.ts'
import { findEnterprise } from './enterprises.ts'
import type { Grants } from './grants.ts'
import { deleteNode, findNode } from './nodes.ts'
import { bumpEdges, bumpEnterprise, bumpNode } from './revision.ts'
import { gatewayAssignments, gatewayEndpoints, nodes, subnets } from './schema.ts'
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

/** Edges move their flows off a drained gateway, each connection whole, and keep their tunnels with it. @returns false when it was so already */
export async function drainGateway(
  work: Work,
  input: { name: string; drained: boolean },
): Promise<{ changed: boolean }> {
  const node = await findGateway(work, input.name)
  if (node.drained === input.drained) return { changed: false }
  await work.db.update(nodes).set({ drained: input.drained }).where(eq(nodes.id, node.id))
  await work.record({
    action: input.drained ? 'gateway.drain' : 'gateway.undrain',
    object: `node:${input.name}`,
    message: input.drained
      ? `flows leave gateway ${input.name} for others`
      : `gateway ${input.name} carries flows again`,
  })
  await bumpEdges(work)
  return { changed: true }
}

/** Forgets the gateway. @param input.now also while flows use it: packets under way are lost */
export async function removeGateway(work: Work, input: { name: string; now: boolean }, signer: Grants): Promise<void> {
  const node = await findGateway(work, input.name)
  if (node.status === 'active' && !node.drained && !input.now) {
    throw new OrchestratorError(
      'refused',
      `gateway ${input.name} is not drained: 'branchline gateway drain ${input.name}' first, or --now to lose what is under way`,
    )
  }
  await deleteNode(work, input.name, signer)
}

/** Lets only these gateways hear of a subnet; null: all. Where none of them is connected the subnet cannot be reached. */
export async function setSubnetGateways(
  work: Work,
  input: { node: string; prefix: string; gateways: readonly string[] | null },
): Promise<void> {
  const owner = await findNode(work.db, input.node)
  const named = await Promise.all((input.gateways ?? []).map(name => findGateway(work, name)))
  const foreign = named.find(gateway => gateway.enterprise !== null && gateway.enterprise !== owner.enterprise)
  if (foreign) throw new OrchestratorError('refused', `gateway ${foreign.name} belongs to another enterprise`)
  const changed = await work.db
    .update(subnets)
    .set({ gateways: input.gateways === null ? null : [...new Set(named.map(gateway => gateway.id))] })
    .where(and(eq(subnets.node, owner.id), eq(subnets.prefix, input.prefix)))
    .returning({ prefix: subnets.prefix })
  if (changed.length === 0) {
    throw new OrchestratorError(
      'not-found',
      `node ${input.node} has no subnet ${input.prefix}; 'branchline node show ${input.node}' lists them`,
    )
  }
  await work.record({
    action: 'subnet.gateways',
    object: `subnet:${input.prefix}`,
    message:
      input.gateways === null
        ? `${input.prefix} of ${input.node} is announced to all gateways`
        : `${input.prefix} of ${input.node} is announced to ${input.gateways.join(', ')} alone`,
  })
  await bumpNode(work, owner.id)
}
