/**
 * Everything that the agent keeps in the kernel, as values: what planning compares and what `apply.ts` writes. A resource has a key
 * (which object) and a content (how it should be); two resources with equal content need no operation.
 */
import {
  type Nexthop,
  type NodeConfig,
  nexthopKind,
  type PathConf,
  type PathState,
  type Peer,
  type Port,
  type Session,
} from '../../schema/abi.gen.ts'
import type { Address, Hook, Neighbour, Route, Rule, SecurityAssociation, TunnelPolicy } from '../kernel/port.ts'

/** An SA read back from the kernel has no key: SPIs are random and never reused, so the key is not part of the comparison. */
export type Association = Omit<SecurityAssociation, 'key'> & { key?: Uint8Array }

export type Resource =
  | { kind: 'address'; value: Address }
  | { kind: 'neighbour'; value: Neighbour }
  | { kind: 'rule'; value: Rule }
  | { kind: 'route'; value: Route }
  | { kind: 'association'; value: Association }
  | { kind: 'policy'; value: TunnelPolicy }
  /** Created with these and zeros, then owned by the programs. */
  | ({ kind: 'path-state'; handle: number } & Pick<PathState, 'txTag' | 'rxTag'>)
  | { kind: 'path-conf'; handle: number; value: PathConf }
  /** Created with zeros, then owned by the programs. */
  | { kind: 'bundle'; sid: number }
  | { kind: 'session'; sid: number; value: Session }
  | { kind: 'vaddr'; address: string; peer: number }
  | { kind: 'peer'; index: number; value: Peer }
  | { kind: 'nexthop'; index: number; value: Nexthop }
  /** Members are indexes of next hops, ascending; one may stand there several times. */
  | { kind: 'nexthop-set'; index: number; members: readonly number[] }
  | { kind: 'fib'; vrf: number; address: string; prefixLength: number; nexthop: number }
  | { kind: 'port'; ifindex: number; value: Port }
  | { kind: 'node'; value: Omit<NodeConfig, 'abiHash' | 'routeEpoch'> }
  | { kind: 'attachment'; hook: Hook; ifindex: number }

export type ResourceKind = Resource['kind']

/** Names the kernel object: equal keys are the same object with maybe another content. */
export function keyOf(resource: Resource): string {
  switch (resource.kind) {
    case 'address':
      return `address ${resource.value.ifindex} ${resource.value.address}/${resource.value.prefixLength}`
    case 'neighbour':
      return `neighbour ${resource.value.ifindex} ${resource.value.address}`
    case 'rule':
      return `rule ${resource.value.family} ${resource.value.outInterface} ${resource.value.table}`
    case 'route':
      return `route ${resource.value.table ?? 254} ${resource.value.destination} ${resource.value.metric ?? 0}`
    case 'association':
      return `association ${resource.value.destination} ${resource.value.spi}`
    case 'policy':
      return `policy ${resource.value.ifId}`
    case 'path-state':
    case 'path-conf':
      return `${resource.kind} ${resource.handle}`
    case 'session':
    case 'bundle':
      return `${resource.kind} ${resource.sid}`
    case 'vaddr':
      return `vaddr ${resource.address}`
    case 'peer':
    case 'nexthop':
    case 'nexthop-set':
      return `${resource.kind} ${resource.index}`
    case 'fib':
      return `fib ${resource.vrf} ${resource.address}/${resource.prefixLength}`
    case 'port':
      return `port ${resource.ifindex}`
    case 'node':
      return 'node'
    case 'attachment':
      return `attachment ${resource.hook} ${resource.ifindex}`
  }
}

/**
 * Order of creation; deletion runs the other way round, after all creations. What receives is there before what sends, and an object before
 * what points to it, so a packet in flight never meets half a change.
 */
export function stageOf(resource: Resource): number {
  switch (resource.kind) {
    case 'address':
    case 'neighbour':
    case 'rule':
    case 'node':
      return 0
    case 'route':
      return 1
    case 'association':
      return resource.value.direction === 'in' ? 1 : 3
    case 'path-state':
    case 'bundle':
      return 1
    case 'path-conf':
      return 2
    case 'session':
    case 'policy':
      return 3
    case 'vaddr':
    case 'peer':
      return 4
    case 'nexthop':
      return resource.value.kind === nexthopKind.NH_SET ? 7 : 5
    case 'nexthop-set':
      return 6
    case 'fib':
      return 8
    case 'port':
      return 9
    case 'attachment':
      return 10
  }
}

/**
 * Does this make cached flow decisions stale? A flow remembers its next hop and the policy version of the peer behind it, and of a set the member that was
 * usable; which of a peer's paths is used it does not know, so paths may change as often as they need to.
 * @param before what the resource replaces
 */
export function affectsRoutes(resource: Resource, before?: Resource): boolean {
  if (resource.kind !== 'peer' || before?.kind !== 'peer') return resource.kind === 'fib' || isRouteTarget(resource)
  const [now, then] = [resource.value, before.value]
  return now.policyVersion !== then.policyVersion || (now.pathMask === 0) !== (then.pathMask === 0)
}

/** Resources that routes point to. */
export function isRouteTarget(resource: Resource): boolean {
  return resource.kind === 'nexthop' || resource.kind === 'nexthop-set' || resource.kind === 'peer'
}

/** @param a and b have the same key */
export function sameContent(a: Resource, b: Resource): boolean {
  if (a.kind === 'association' && b.kind === 'association') {
    return a.value.direction === b.value.direction && a.value.source === b.value.source && a.value.ifId === b.value.ifId
  }
  // A gateway compares a million of these.
  if (a.kind === 'fib' && b.kind === 'fib') return a.nexthop === b.nexthop
  return deepEqual(a, b)
}

function deepEqual(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false
  if (ArrayBuffer.isView(a) || Array.isArray(a)) {
    const left = a as ArrayLike<unknown>
    const right = b as ArrayLike<unknown>
    if (left.length !== right.length) return false
    for (let i = 0; i < left.length; i++) if (!deepEqual(left[i], right[i])) return false
    return true
  }
  const left = a as Record<string, unknown>
  const right = b as Record<string, unknown>
  const keys = Object.keys(left)
  return (
    keys.length === Object.keys(right).length && keys.every(key => key in right && deepEqual(left[key], right[key]))
  )
}
