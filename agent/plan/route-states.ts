/**
 * Wanted and present next hop of each route. A gateway has a million, so a route is one text and one number here, not four objects: its resource is
 * made again from the key when something is to be done.
 */
import type { Resource } from './resource.ts'

export type RouteResource = Extract<Resource, { kind: 'fib' }>

/** Next hops are 16 bits; 0 is none. */
const NEXTHOPS = 2 ** 16

export function isRouteKey(key: string): boolean {
  return key.startsWith('fib ')
}

export class RouteStates {
  /** Key of the resource -> wanted next hop, and present one in the lower half. */
  readonly #states = new Map<string, number>()

  want(key: string, nexthop: number): void {
    this.#set(key, nexthop, this.#present(key))
  }

  observe(key: string, nexthop: number): void {
    this.#set(key, this.#wanted(key), nexthop)
  }

  desired(key: string): RouteResource | undefined {
    return resourceOf(key, this.#wanted(key))
  }

  observed(key: string): RouteResource | undefined {
    return resourceOf(key, this.#present(key))
  }

  *allObserved(): Iterable<RouteResource> {
    for (const key of this.#states.keys()) {
      const resource = this.observed(key)
      if (resource) yield resource
    }
  }

  /** Keys of what is there and not wanted. */
  *unwanted(): Iterable<string> {
    for (const [key, state] of this.#states) if (state > 0 && state < NEXTHOPS) yield key
  }

  #wanted(key: string): number {
    return Math.floor((this.#states.get(key) ?? 0) / NEXTHOPS)
  }

  #present(key: string): number {
    return (this.#states.get(key) ?? 0) % NEXTHOPS
  }

  #set(key: string, wanted: number, present: number): void {
    if (wanted === 0 && present === 0) this.#states.delete(key)
    else this.#states.set(key, wanted * NEXTHOPS + present)
  }
}

/** The reverse of `keyOf`. */
function resourceOf(key: string, nexthop: number): RouteResource | undefined {
  if (nexthop === 0) return undefined
  const [, vrf, prefix = ''] = key.split(' ')
  const slash = prefix.indexOf('/')
  return {
    kind: 'fib',
    vrf: Number(vrf),
    address: prefix.slice(0, slash),
    prefixLength: Number(prefix.slice(slash + 1)),
    nexthop,
  }
}
