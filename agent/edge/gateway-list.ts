/**
 * The uplinks of an edge, one for each gateway of the list that the orchestrator published.
 *
 * A gateway that leaves the list is left in order. Our flows go elsewhere at once, and so do those of the enterprise's other edges, which get the same
 * list; then our subnets are withdrawn there, so that an edge that has not heard of it finds another way; then the session ends. One that is
 * revoked, or has another key now, ends at once.
 */
import type { GatewayEntry } from '../../schema/node-state.ts'
import type { Endpoint } from '../mp/net.ts'
import type { Uplink } from './uplink.ts'

export interface GatewayListOptions {
  /** @param index of the peers map */
  create: (entry: GatewayEntry, index: number) => Uplink
  /** Each step of leaving takes so long, ms. */
  graceMs: number
  revoked: (gateway: string) => boolean
  /** Routes through this gateway must be decided anew. */
  changed: (gateway: string) => void
  /** Its uplink is gone. */
  gone: (gateway: string) => void
}

export class GatewayList {
  readonly uplinks = new Map<string, Uplink>()
  readonly #options: GatewayListOptions
  readonly #leaving = new Map<string, { timer: NodeJS.Timeout; withdrawn: boolean }>()

  constructor(options: GatewayListOptions) {
    this.#options = options
  }

  /** It left the list, and its session is about to end. */
  leaving(gateway: string): boolean {
    return this.#leaving.has(gateway)
  }

  /** Is it told of our subnets? */
  hears(gateway: string): boolean {
    return !this.#leaving.get(gateway)?.withdrawn
  }

  /** The one with this endpoint. */
  at({ address, port }: Endpoint): Uplink | undefined {
    return [...this.uplinks.values()].find(({ gateway }) =>
      gateway.endpoints.some(endpoint => endpoint.address === address && endpoint.port === port),
    )
  }

  /** The caller flushes. @param former indexes that the kernel knows gateways by. @returns uplinks that are new */
  sync(entries: readonly GatewayEntry[], former: Iterable<readonly [string, number]> = []): Uplink[] {
    const listed = new Map(entries.map(entry => [entry.node, entry]))
    for (const [gateway, uplink] of this.uplinks) {
      const entry = listed.get(gateway)
      if (entry?.staticKey === uplink.gateway.staticKey) this.#keep(uplink, entry)
      else if (entry || !uplink.usable || this.#options.revoked(gateway)) this.#end(gateway)
      else this.#leave(uplink)
    }
    const indexes = new Map(former)
    return entries.flatMap(entry => {
      if (this.uplinks.has(entry.node)) return []
      const uplink = this.#options.create(entry, indexes.get(entry.node) ?? this.#freeIndex(indexes))
      this.uplinks.set(entry.node, uplink)
      return [uplink]
    })
  }

  #keep(uplink: Uplink, entry: GatewayEntry): void {
    const back = this.#stay(entry.node)
    if (!back && JSON.stringify(entry) === JSON.stringify(uplink.gateway)) return
    uplink.update(entry)
    if (back) uplink.announce()
    this.#options.changed(entry.node)
  }

  #leave(uplink: Uplink): void {
    const { node: gateway } = uplink.gateway
    if (this.leaving(gateway)) return
    const { graceMs, changed } = this.#options
    const withdraw = () => {
      this.#leaving.set(gateway, { timer: setTimeout(() => this.#end(gateway), graceMs), withdrawn: true })
      uplink.announce()
    }
    this.#leaving.set(gateway, { timer: setTimeout(withdraw, graceMs), withdrawn: false })
    changed(gateway)
  }

  /** @returns was it leaving? */
  #stay(gateway: string): boolean {
    clearTimeout(this.#leaving.get(gateway)?.timer)
    return this.#leaving.delete(gateway)
  }

  #end(gateway: string): void {
    this.#stay(gateway)
    const uplink = this.uplinks.get(gateway)
    this.uplinks.delete(gateway)
    uplink?.remove()
    this.#options.gone(gateway)
  }

  #freeIndex(reserved: ReadonlyMap<string, number>): number {
    const used = new Set([...reserved.values(), ...[...this.uplinks.values()].map(uplink => uplink.index)])
    let index = 1
    while (used.has(index)) index += 1
    return index
  }

  /** The agent stops: sessions stay. */
  close(reason: string): void {
    for (const gateway of [...this.#leaving.keys()]) this.#stay(gateway)
    for (const uplink of this.uplinks.values()) uplink.close(reason)
  }
}
