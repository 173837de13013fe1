/** Executes operations through the kernel port, and reads back what a former agent left. */
import { KernelError } from '../kernel/error.ts'
import type { Dataplane, Fib, KernelPort, Maps } from '../kernel/port.ts'
import { Slices } from '../loop/slices.ts'
import { observeChains } from './observe-chains.ts'
import type { Operation } from './plan.ts'
import { isRouteTarget, type Resource } from './resource.ts'
import { type Table, tables } from './tables.ts'

export interface Failure {
  operation: Operation
  error: Error
}

/** Nothing was refused: what routes may still lead to stays until they have been changed, or its number would be another tenant's next. */
export class HeldBack extends Error {
  override readonly name = 'HeldBack'
}

/** Entries of one kind that are written together, and netlink requests that are under way at the same time. */
const BATCH = 256
/** Routes that are written together: the FIB writes what many of them share once. */
const ROUTE_BATCH = 8192

/**
 * Runs the stages in order; one failed operation does not keep the others of its stage, nor later stages, from running. Others of the event loop have
 * their turn between batches.
 */
export async function apply(
  stages: readonly (readonly Operation[])[],
  port: KernelPort,
  dataplane: Dataplane,
  done: (operation: Operation) => void,
): Promise<Failure[]> {
  const slices = new Slices()
  const failures: Failure[] = []
  const failed = (operation: Operation, error: unknown) =>
    failures.push({ operation, error: error instanceof Error ? error : new Error(String(error)) })
  const routesFailed = () => failures.some(({ operation }) => operation.resource.kind === 'fib')
  for (const stage of stages) {
    if (removesTargets(stage) && routesFailed()) {
      for (const operation of stage) failed(operation, new HeldBack('a route that could not be changed may lead to it'))
      continue
    }
    for (const { table, operations } of batches(stage)) {
      if (table) applyEntries(table, operations, dataplane.maps, done, failed)
      else if (operations[0]?.resource.kind === 'fib') await applyRoutes(operations, dataplane.fib, done, failed)
      else
        await Promise.all(
          operations.map(async operation => {
            try {
              await applyOne(operation, port, dataplane)
              done(operation)
            } catch (error) {
              failed(operation, error)
            }
          }),
        )
      if (slices.over) await slices.rest()
    }
  }
  return failures
}

/** Deletions of one stage are of kinds that routes lead to, or none of them is. */
function removesTargets([first]: readonly Operation[]): boolean {
  return first?.action === 'delete' && isRouteTarget(first.resource)
}

interface Batch {
  /** Undefined: these are not map entries. */
  table: Table | undefined
  /** All write, or all delete. */
  operations: Operation[]
}

function* batches(stage: readonly Operation[]): Iterable<Batch> {
  const open = new Map<string, Batch>()
  for (const operation of stage) {
    const { kind } = operation.resource
    const key = `${operation.action === 'delete'} ${kind}`
    let batch = open.get(key)
    if (!batch) {
      batch = { table: tables[kind], operations: [] }
      open.set(key, batch)
    }
    batch.operations.push(operation)
    if (batch.operations.length < (kind === 'fib' ? ROUTE_BATCH : BATCH)) continue
    open.delete(key)
    yield batch
  }
  yield* open.values()
}

function applyEntries(
  table: Table,
  operations: readonly Operation[],
  maps: Maps,
  done: (operation: Operation) => void,
  failed: (operation: Operation, error: unknown) => void,
): void {
  const write = operations[0]?.action === 'delete' ? table.remove : table.write
  const attempt = (part: readonly Operation[]) =>
    write(
      maps,
      part.map(({ resource }) => resource),
    )
  try {
    attempt(operations)
    for (const operation of operations) done(operation)
  } catch {
    // The kernel does not say which entry it refused: each on its own has its own answer.
    for (const operation of operations) {
      try {
        attempt([operation])
        done(operation)
      } catch (error) {
        failed(operation, error)
      }
    }
  }
}

async function applyRoutes(
  operations: readonly Operation[],
  fib: Fib,
  done: (operation: Operation) => void,
  failed: (operation: Operation, error: unknown) => void,
): Promise<void> {
  const changes = operations.flatMap(({ action, resource }) =>
    resource.kind === 'fib' ? [{ ...resource, nexthop: action === 'delete' ? 0 : resource.nexthop }] : [],
  )
  const refused = await fib.apply(changes)
  for (const [index, operation] of operations.entries()) {
    const error = refused.get(index)
    if (error) failed(operation, error)
    else done(operation)
  }
}

function applyOne(operation: Operation, port: KernelPort, dataplane: Dataplane): Promise<void> | void {
  const { resource } = operation
  return operation.action === 'delete' ? remove(resource, port, dataplane) : write(operation, resource, port, dataplane)
}

function write(operation: Operation, resource: Resource, port: KernelPort, dataplane: Dataplane): Promise<void> | void {
  switch (resource.kind) {
    case 'address':
      return port.network.addAddress(resource.value)
    case 'neighbour':
      return port.network.replaceNeighbour(resource.value)
    case 'rule':
      return port.network.addRule(resource.value)
    case 'route':
      return port.network.replaceRoute(resource.value)
    case 'association': {
      const { key } = resource.value
      if (!key)
        throw new KernelError(
          'add',
          `SA ${resource.value.spi}`,
          'EINVAL',
          'key unknown: adopted SAs cannot be made again',
        )
      return port.xfrm.addAssociation({ ...resource.value, key })
    }
    case 'policy':
      return port.xfrm.addPolicy(resource.value)
    case 'node': {
      const node = dataplane.maps.node.get(0)
      if (!node) throw new KernelError('read', 'map node', 'ENOENT')
      return dataplane.maps.node.set(0, { ...node, ...resource.value })
    }
    case 'attachment':
      if (operation.action === 'create') dataplane.attach(resource.hook, resource.ifindex)
      return
    default:
      throw new TypeError(`${resource.kind} is an entry of a map`)
  }
}

function remove(resource: Resource, port: KernelPort, dataplane: Dataplane): Promise<void> | void {
  const gone = (promise: Promise<void>) =>
    promise.catch(error => {
      // The device may have taken its addresses, routes and neighbours with it.
      if (!(error instanceof KernelError && ['ENOENT', 'ESRCH', 'ENODEV', 'EADDRNOTAVAIL'].includes(error.code)))
        throw error
    })
  switch (resource.kind) {
    case 'address':
      return gone(port.network.deleteAddress(resource.value))
    case 'rule':
      return gone(port.network.deleteRule(resource.value))
    case 'route':
      return gone(port.network.deleteRoute(resource.value))
    case 'association':
      return gone(port.xfrm.deleteAssociation(resource.value))
    case 'policy':
      return gone(port.xfrm.deletePolicy(resource.value))
    case 'neighbour':
    case 'node':
      return
    case 'attachment':
      try {
        dataplane.detach(resource.hook, resource.ifindex)
      } catch (error) {
        if (!(error instanceof KernelError && ['ENOENT', 'ENODEV'].includes(error.code))) throw error
      }
      return
    default:
      throw new TypeError(`${resource.kind} is an entry of a map`)
  }
}

/**
 * What the dataplane, XFRM and the node's own devices hold now, of the kinds that one agent owns alone.
 * @param own ifindex of mp0, and the routing table of what is redirected into ipsec0
 */
export async function observe(
  port: KernelPort,
  dataplane: Dataplane,
  own: { mp0: number; table: number; esp: boolean },
): Promise<Resource[]> {
  const { maps } = dataplane
  const found: Resource[] = []
  for (const value of await port.network.addresses())
    if (value.ifindex === own.mp0) found.push({ kind: 'address', value })
  for (const value of await port.network.routes())
    if (value.ifindex === own.mp0 && value.destination.endsWith('/32')) found.push({ kind: 'route', value })
  for (const value of await port.network.rules()) if (value.table === own.table) found.push({ kind: 'rule', value })
  for (const [sid, value] of maps.sessions.entries()) found.push({ kind: 'session', sid, value })
  for (const [index, value] of maps.peers.entries()) found.push({ kind: 'peer', index, value })
  for (const [handle, value] of maps.pathConf.entries()) found.push({ kind: 'path-conf', handle, value })
  for (const [handle, { txTag, rxTag }] of maps.pathState.entries())
    found.push({ kind: 'path-state', handle, txTag, rxTag })
  for (const [sid] of maps.bundles.entries()) found.push({ kind: 'bundle', sid })
  for (const [address, peer] of maps.vaddrs.entries()) found.push({ kind: 'vaddr', address, peer })
  for (const [index, value] of maps.nexthops.entries())
    if (value.kind !== 0) found.push({ kind: 'nexthop', index, value })
  for (const [index, { members }] of maps.nexthopSets.entries())
    found.push({ kind: 'nexthop-set', index, members: members.filter(member => member !== 0) })
  for (const [key, nexthop] of await dataplane.fib.entries()) found.push({ kind: 'fib', ...key, nexthop })
  for (const [ifindex, value] of maps.ports.entries()) found.push({ kind: 'port', ifindex, value })
  found.push(...observeChains(maps.chain))
  for (const { hook, ifindex } of dataplane.attached()) found.push({ kind: 'attachment', hook, ifindex })
  if (own.esp) {
    for (const { direction, source, destination, spi, ifId } of await port.xfrm.associations())
      if (ifId !== 0 && direction)
        found.push({ kind: 'association', value: { direction, source, destination, spi, ifId, replayWindow: 0 } })
    for (const value of await port.xfrm.policies()) if (value.ifId !== 0) found.push({ kind: 'policy', value })
  }
  return found
}
