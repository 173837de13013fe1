/**
 * The enterprises' VRFs on a gateway: made when the first edge of an enterprise connects, joined by later ones (seed A 0043). Turns table changes
 * into FIB entries, and has the other edges told of them (relay.ts).
 */
import { ABI_NH_F_SECURE, ABI_VRF_UPSTREAM, type Nexthop } from '../../schema/abi.gen.ts'
import type { Security, Subnet } from '../../schema/common.ts'
import type { RouteEntry } from '../../schema/route-messages.ts'
import type { EncodedMessage } from '../mp/route-session.ts'
import type { Fib } from '../node/fib.ts'
import { unreachable, viaPeer } from '../node/nexthops.ts'
import { type Refusal, routeStores, VrfTable } from '../routes/vrf-table.ts'
import type { HeldPolicy } from './policies.ts'
import { Relay } from './relay.ts'

export interface Vrf {
  id: number
  enterprise: string
  name: string
  table: VrfTable
  members: Map<string, VrfMember>
  /** Prefixes whose change the members have not been told. */
  dirty: Set<string>
  /** Prefixes are gone: others that overlap them may be waiting. */
  vacated: boolean
  /** As the enterprise's edges told it. */
  policy: HeldPolicy | undefined
  offer: Offer | undefined
}

/** Where the gateway itself leads to, for prefixes that no edge announces. */
export interface Offer {
  prefixes: readonly string[]
  target: Nexthop
  security: Security
}

/** An edge as its VRF sees it. */
export interface VrfMember {
  node: string
  name: string
  /** Index into the peers map. */
  peer: number
  security: Security
  /** Undefined while there is no confirmed route session. */
  tell: ((message: EncodedMessage) => void) | undefined
}

export interface VrfsOptions {
  /** The gateway, as the owner of what it offers. */
  own: { node: string; name: string }
  fib: Fib
  /** Has the kernel follow. */
  flush: () => void
  /** A prefix that was refused for an overlap has been taken now. */
  onTaken?: (vrf: Vrf, taken: { owner: string; prefix: string }) => void
  /** Its last member has left. */
  onGone?: (vrf: Vrf) => void
  /** What a round of telling threw. */
  onError?: (error: unknown) => void
  /** More announcements wait to be taken up. */
  busy?: () => boolean
}

const MAX_ID = ABI_VRF_UPSTREAM - 1

export class Vrfs {
  readonly #options: VrfsOptions
  readonly #vrfs = new Map<string, Vrf>()
  readonly #ids = new Set<number>()
  readonly #stores = routeStores()
  readonly #relay: Relay
  /** One object for all routes that lead to the same. */
  readonly #targets = new Map<string, Nexthop>()
  #lastId = 0
  /** Prefixes that changed, for metrics. */
  updates = 0

  constructor(options: VrfsOptions) {
    this.#options = options
    this.#relay = new Relay({
      flush: options.flush,
      prepare: vrf => this.#reconsider(vrf),
      entry: (vrf, prefix) => this.#entry(vrf, prefix),
      onError: options.onError ?? (() => {}),
      busy: options.busy ?? (() => false),
    })
  }

  all(): Iterable<Vrf> {
    return this.#vrfs.values()
  }

  get(enterprise: string): Vrf | undefined {
    return this.#vrfs.get(enterprise)
  }

  /** Joins the enterprise's VRF; the first member makes it. */
  join(enterprise: string, name: string, member: VrfMember): Vrf {
    const vrf = this.#vrfs.get(enterprise) ?? this.restore(this.#newId(), enterprise, name)
    vrf.members.set(member.node, member)
    return vrf
  }

  /** A VRF of the former agent, with the index that the kernel's FIB knows. */
  restore(id: number, enterprise: string, name: string): Vrf {
    const members = new Map<string, VrfMember>()
    const ownerName = (owner: string) => members.get(owner)?.name ?? owner
    const table = new VrfTable({ ownerName, stores: this.#stores })
    const empty = { dirty: new Set<string>(), vacated: false, policy: undefined, offer: undefined }
    const vrf: Vrf = { id, enterprise, name, members, table, ...empty }
    this.#ids.add(id)
    this.#lastId = Math.max(this.#lastId, id)
    this.#vrfs.set(enterprise, vrf)
    return vrf
  }

  /** The last member takes the VRF with it. */
  leave(vrf: Vrf, node: string): void {
    this.withdrawn(vrf, vrf.table.withdrawAll(node))
    vrf.members.delete(node)
    if (vrf.members.size > 0) return
    this.offer(vrf, undefined)
    this.#options.onGone?.(vrf)
    this.#vrfs.delete(vrf.enterprise)
    this.#ids.delete(vrf.id)
  }

  announce(vrf: Vrf, node: string, subnets: readonly Subnet[], full: boolean): Refusal[] {
    const { changed, refused } = vrf.table.announce(node, subnets, full)
    vrf.vacated ||= full && changed.length > 0
    this.changed(vrf, changed)
    return refused
  }

  /** What an edge announces itself goes before. Undefined: nothing any more. */
  offer(vrf: Vrf, offer: Offer | undefined): void {
    const before = vrf.offer
    vrf.offer = offer
    this.changed(vrf, [...new Set([...(before?.prefixes ?? []), ...(offer?.prefixes ?? [])])])
  }

  /** @param gone what the table gave up */
  withdrawn(vrf: Vrf, gone: readonly string[]): void {
    vrf.vacated ||= gone.length > 0
    this.changed(vrf, gone)
  }

  /** Puts the prefixes' present state into the FIB and has the members told. */
  changed(vrf: Vrf, prefixes: readonly string[]): void {
    for (const prefix of prefixes) {
      this.#install(vrf, prefix)
      vrf.dirty.add(prefix)
    }
    this.updates += prefixes.length
    if (prefixes.length > 0) this.#relay.changed(vrf)
  }

  #install(vrf: Vrf, prefix: string): void {
    const { fib } = this.#options
    const route = vrf.table.get(prefix)
    const owner = route && vrf.members.get(route.owner)
    if (!route || !owner) {
      if (vrf.offer?.prefixes.includes(prefix)) fib.set(vrf.id, prefix, vrf.offer.target)
      else fib.delete(vrf.id, prefix)
      return
    }
    fib.set(vrf.id, prefix, this.#target(route.reachable ? owner.peer : undefined, owner.security))
  }

  #target(peer: number | undefined, security: Security): Nexthop {
    const flags = security === 'esp' ? ABI_NH_F_SECURE : 0
    const key = `${peer} ${flags}`
    const known = this.#targets.get(key)
    if (known) return known
    const made = peer === undefined ? unreachable(flags) : viaPeer(peer, flags)
    this.#targets.set(key, made)
    return made
  }

  #reconsider(vrf: Vrf): void {
    if (!vrf.vacated) return
    vrf.vacated = false
    for (const taken of vrf.table.reconsider()) {
      this.#install(vrf, taken.prefix)
      vrf.dirty.add(taken.prefix)
      this.#options.onTaken?.(vrf, taken)
    }
  }

  /** Everything that `node` may know of the others, as it is when it is asked for: the table may change meanwhile. */
  *routesFor(vrf: Vrf, node: string): Iterable<RouteEntry> {
    for (const route of vrf.table.routes()) {
      const owner = vrf.members.get(route.owner)
      if (owner && route.owner !== node) yield routeEntry(route, owner)
    }
    const { offer } = vrf
    for (const prefix of offer?.prefixes ?? []) if (offer && !vrf.table.get(prefix)) yield this.#offered(prefix, offer)
  }

  #entry(vrf: Vrf, prefix: string): RouteEntry | undefined {
    const route = vrf.table.get(prefix)
    const owner = route && vrf.members.get(route.owner)
    if (owner) return routeEntry(route, owner)
    return vrf.offer?.prefixes.includes(prefix) ? this.#offered(prefix, vrf.offer) : undefined
  }

  #offered(prefix: string, { security }: Pick<Offer, 'security'>): RouteEntry {
    const { node, name } = this.#options.own
    return { prefix, reachable: true, security, owner: node, ownerName: name }
  }

  /** The number of a VRF that is gone comes again last, long after its sessions and routes have left the kernel. */
  #newId(): number {
    if (this.#ids.size >= MAX_ID) throw new RangeError(`all ${MAX_ID} VRFs are in use`)
    do this.#lastId = (this.#lastId % MAX_ID) + 1
    while (this.#ids.has(this.#lastId))
    return this.#lastId
  }

  close(): void {
    this.#relay.close()
  }
}

function routeEntry({ prefix, reachable }: { prefix: string; reachable: boolean }, owner: VrfMember): RouteEntry {
  return { prefix, reachable, security: owner.security, owner: owner.node, ownerName: owner.name }
}
