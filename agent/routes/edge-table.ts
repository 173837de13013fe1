/**
 * What an edge knows of other edges' subnets (RIB): per prefix, what each of its gateways told. Pure state; `best` decides, as far as `share` lets it.
 *
 * A gateway's routes survive the loss of its route session as stale (packets still flow while its dataplane answers); they are unusable while the
 * gateway is silent, so that another gateway's copy takes over, and vanish when a new session ends its first burst without them.
 */
import type { RouteEntry } from '../../schema/route-messages.ts'

export interface LearnedRoute extends RouteEntry {
  gateway: string
  stale: boolean
}

export type Decision =
  /** One of each gateway that gets a share of the flows. */
  | { kind: 'via'; routes: [LearnedRoute, ...LearnedRoute[]] }
  /** Known, but not to be reached now: drop with a reason, never fall through to a shorter prefix in clear. */
  | { kind: 'unreachable'; route: LearnedRoute }

export class EdgeTable {
  readonly #routes = new Map<string, Map<string, LearnedRoute>>()
  readonly #share: (gateways: readonly string[]) => readonly string[]

  /** @param share of these gateways those that share the flows, best first; none when all are silent */
  constructor(share: (gateways: readonly string[]) => readonly string[]) {
    this.#share = share
  }

  get size(): number {
    return this.#routes.size
  }

  prefixes(): Iterable<string> {
    return this.#routes.keys()
  }

  all(): LearnedRoute[] {
    return [...this.#routes.values()].flatMap(entries => [...entries.values()])
  }

  /** Prefixes with an entry of this gateway: what has to be decided anew when it falls silent or comes back. */
  via(gateway: string): string[] {
    return [...this.#routes].filter(([, entries]) => entries.has(gateway)).map(([prefix]) => prefix)
  }

  /** Returns the prefixes touched. */
  learn(gateway: string, routes: readonly RouteEntry[], full: boolean): string[] {
    const touched = new Set(full ? this.forget(gateway, this.via(gateway)) : [])
    for (const route of routes) {
      let entries = this.#routes.get(route.prefix)
      if (!entries) {
        entries = new Map()
        this.#routes.set(route.prefix, entries)
      }
      entries.set(gateway, { ...route, gateway, stale: false })
      touched.add(route.prefix)
    }
    return [...touched]
  }

  forget(gateway: string, prefixes: Iterable<string>): string[] {
    const touched: string[] = []
    for (const prefix of prefixes) {
      const entries = this.#routes.get(prefix)
      if (!entries?.delete(gateway)) continue
      if (entries.size === 0) this.#routes.delete(prefix)
      touched.push(prefix)
    }
    return touched
  }

  markStale(gateway: string): void {
    for (const entries of this.#routes.values()) {
      const route = entries.get(gateway)
      if (route) route.stale = true
    }
  }

  sweepStale(gateway: string): string[] {
    return this.forget(
      gateway,
      this.via(gateway).filter(prefix => this.#routes.get(prefix)?.get(gateway)?.stale),
    )
  }

  best(prefix: string): Decision | undefined {
    const entries = this.#routes.get(prefix)
    if (!entries) return undefined
    const serving = [...entries.values()].flatMap(({ gateway, reachable }) => (reachable ? [gateway] : []))
    const shared = this.#share(serving).flatMap(gateway => entries.get(gateway) ?? [])
    // While an owner or its security changes, gateways may differ for a moment. Such routes do not mix, and secure wins.
    const first = shared.find(({ security }) => security === 'esp') ?? shared[0]
    if (first) {
      const like = (route: LearnedRoute) => route.owner === first.owner && route.security === first.security
      return { kind: 'via', routes: [first, ...shared.filter(route => route !== first && like(route))] }
    }
    const [known] = entries.values()
    return known && { kind: 'unreachable', route: known }
  }
}
