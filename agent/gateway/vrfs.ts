/**
 * The enterprises' VRFs on a gateway: made when the first edge of an enterprise connects, joined by later ones (seed A 0043). Turns table changes
 * into FIB entries, and tells the other edges in batches: all changes of a few milliseconds become one message per edge.
 */
import { ABI_NH_F_SECURE } from '../../schema/abi.gen.ts'
import type { Security, Subnet } from '../../schema/common.ts'
import type { RouteEntry, RouteMessage } from '../../schema/route-messages.ts'
import type { Fib } from '../node/fib.ts'
import { unreachable, viaPeer } from '../node/nexthops.ts'
import { type Refusal, VrfTable } from '../routes/vrf-table.ts'

export interface Vrf {
  id: number
  enterprise: string
  name: string
  table: VrfTable
  members: Map<string, VrfMember>
  /** Prefixes whose change the members have not been told. */
  dirty: Set<string>
}

/** An edge as its VRF sees it. */
export interface VrfMember {
  node: string
  name: string
  /** Index into the peers map. */
  peer: number
  security: Security
  /** Undefined while there is no confirmed route session. */
  tell: ((message: RouteMessage) => void) | undefined
}

/** Changes are collected for so long, so that a toggle of 1,000 edges is not a million messages. */
const BATCH_MS = 5
/** A batch that takes long to tell is followed by a longer pause, in which more changes come together. */
const PAUSE_PER_COST = 2
const MAX_ID = 0x7fffffff

export class Vrfs {
  readonly #fib: Fib
  readonly #flush: () => void
  readonly #vrfs = new Map<string, Vrf>()
  readonly #ids = new Set<number>()
  #lastId = 0
  #timer: NodeJS.Timeout | undefined
  #pauseMs = BATCH_MS
  #closed = false

  /** @param flush has the kernel follow; called after each batch */
  constructor(fib: Fib, flush: () => void) {
    this.#fib = fib
    this.#flush = flush
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
    const vrf: Vrf = {
      id,
      enterprise,
      name,
      members,
      dirty: new Set(),
      table: new VrfTable({ ownerName: owner => members.get(owner)?.name ?? owner }),
    }
    this.#ids.add(id)
    this.#lastId = Math.max(this.#lastId, id)
    this.#vrfs.set(enterprise, vrf)
    return vrf
  }

  /** The last member takes the VRF with it. */
  leave(vrf: Vrf, node: string): void {
    this.withdraw(vrf, vrf.table.withdrawAll(node))
    vrf.members.delete(node)
    if (vrf.members.size > 0) return
    this.#vrfs.delete(vrf.enterprise)
    this.#ids.delete(vrf.id)
  }

  announce(vrf: Vrf, node: string, subnets: readonly Subnet[], full: boolean): Refusal[] {
    const { changed, refused } = vrf.table.announce(node, subnets, full)
    this.changed(vrf, changed)
    return refused
  }

  withdraw(vrf: Vrf, gone: readonly string[]): void {
    this.changed(vrf, gone)
  }

  /** Puts the prefixes' present state into the FIB and has the members told. */
  changed(vrf: Vrf, prefixes: readonly string[]): void {
    for (const prefix of prefixes) {
      this.install(vrf, prefix)
      vrf.dirty.add(prefix)
    }
    if (prefixes.length > 0 && !this.#closed) this.#timer ??= setTimeout(() => this.#tell(), this.#pauseMs)
  }

  install(vrf: Vrf, prefix: string): void {
    const route = vrf.table.get(prefix)
    const owner = route && vrf.members.get(route.owner)
    if (!route || !owner) {
      this.#fib.delete(vrf.id, prefix)
      return
    }
    const flags = owner.security === 'esp' ? ABI_NH_F_SECURE : 0
    this.#fib.set(vrf.id, prefix, route.reachable ? viaPeer(owner.peer, flags) : unreachable(flags))
  }

  /** Everything that `node` may know of the others. */
  routesFor(vrf: Vrf, node: string): RouteEntry[] {
    return [...vrf.table.routes()].flatMap(route =>
      route.owner === node ? [] : (this.#entry(vrf, route.prefix) ?? []),
    )
  }

  #entry(vrf: Vrf, prefix: string): RouteEntry | undefined {
    const route = vrf.table.get(prefix)
    const owner = route && vrf.members.get(route.owner)
    return (
      owner && {
        prefix,
        reachable: route.reachable,
        security: owner.security,
        owner: owner.node,
        ownerName: owner.name,
      }
    )
  }

  /** Edges ignore their own prefixes, so that all of a VRF get the same message. */
  #tell(): void {
    this.#timer = undefined
    const begin = performance.now()
    for (const vrf of this.#vrfs.values()) {
      if (vrf.dirty.size === 0) continue
      const routes: RouteEntry[] = []
      const gone: string[] = []
      for (const prefix of vrf.dirty) {
        const entry = this.#entry(vrf, prefix)
        if (entry) routes.push(entry)
        else gone.push(prefix)
      }
      vrf.dirty.clear()
      for (const { tell } of vrf.members.values()) {
        if (!tell) continue
        if (gone.length > 0) tell({ type: 'unroutes', prefixes: gone })
        if (routes.length > 0) tell({ type: 'routes', full: false, routes })
      }
    }
    this.#pauseMs = Math.max(BATCH_MS, PAUSE_PER_COST * (performance.now() - begin))
    this.#flush()
  }

  /** The number of a VRF that is gone comes again last, long after its sessions and routes have left the kernel. */
  #newId(): number {
    do this.#lastId = (this.#lastId % MAX_ID) + 1
    while (this.#ids.has(this.#lastId))
    return this.#lastId
  }

  close(): void {
    this.#closed = true
    clearTimeout(this.#timer)
  }
}
