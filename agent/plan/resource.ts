/**
 * Everything that the agent keeps in the kernel, as values: what planning compares and what `apply.ts` writes. A resource has a key
 * (which object) and a content (how it should be); two resources with equal content need no operation.
 */
import {
  type Adapter,
  type AdapterKey,
  type Chain,
  type Nexthop,
  type NodeConfig,
  nexthopKind,
  type PathConf,
  type PathState,
  type Peer,
  type Policy,
  type PolicyRule,
  type Pool,
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
  /** Created with zeros, then owned by the programs: what a service instance holds now. */
  | { kind: 'instance'; index: number }
  | { kind: 'adapter'; index: number; value: Adapter }
  /** What the device leads to: an adapter, maybe with ADAPTER_OUTSIDE, or ADAPTER_UNDERLAY. */
  | { kind: 'adapter-port'; ifindex: number; value: number }
  | { kind: 'adapter-outer'; outer: AdapterKey; adapter: number }
  /** Of up to ABI_POOL_LINE_SLOTS slots. A pool that changes gets other lines: its word changes at once, theirs do not. */
  | { kind: 'pool-line'; index: number; adapters: readonly number[] }
  | { kind: 'pool'; index: number; value: Pool }
  /** By service path id. */
  | { kind: 'chain'; id: number; value: Chain }
  /** A policy that changes gets other rules, as a pool other lines. */
  | { kind: 'policy-rule'; index: number; value: PolicyRule }
  /** What of a VRF's connections goes through chains. */
  | { kind: 'service-policy'; vrf: number; value: Policy }
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
    case 'instance':
    case 'adapter':
    case 'pool-line':
    case 'pool':
    case 'policy-rule':
      return `${resource.kind} ${resource.index}`
    case 'adapter-outer': {
      const { remote, local, endpoint } = resource.outer
      return `adapter-outer ${hex(remote)} ${hex(local)} ${endpoint}`
    }
    case 'chain':
      return `chain ${resource.id}`
    case 'service-policy':
      return `service-policy ${resource.vrf}`
    case 'fib':
      return `fib ${resource.vrf} ${resource.address}/${resource.prefixLength}`
    case 'port':
    case 'adapter-port':
      return `${resource.kind} ${resource.ifindex}`
    case 'node':
      return 'node'
    case 'attachment':
      return `attachment ${resource.hook} ${resource.ifindex}`
  }
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex')
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
    case 'instance':
      return 1
    case 'path-conf':
    case 'adapter':
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
    case 'pool-line':
      return 8
    case 'port':
    case 'pool':
    case 'adapter-port':
    case 'adapter-outer':
      return 9
    case 'attachment':
    case 'chain':
      return 10
    case 'policy-rule':
      return 11
    case 'service-policy':
      return 12
  }
}

/**
 * Does this make cached flow decisions stale? A flow remembers its next hop and the policy version of the peer behind it, and of a set the member that was
 * usable; which of a peer's paths is used it does not know, so paths may change as often as they need to.
 * @param before what the resource replaces
 */
export function affectsRoutes(resource: Resource, before?: Resource): boolean {
  // No route leads into a service chain: flows do, by a policy, and keep to it until the policy says otherwise.
  if (leadsIntoChain(resource) && (!before || leadsIntoChain(before))) return false
  if (resource.kind === 'service-policy')
    return resource.value.oldest !== (before?.kind === 'service-policy' ? before.value.oldest : 0)
  if (resource.kind !== 'peer' || before?.kind !== 'peer') return resource.kind === 'fib' || isRouteTarget(resource)
  const [now, then] = [resource.value, before.value]
  return now.policyVersion !== then.policyVersion || (now.pathMask === 0) !== (then.pathMask === 0)
}

function leadsIntoChain(resource: Resource): boolean {
  return resource.kind === 'nexthop' && resource.value.kind === nexthopKind.NH_ADAPTER
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
