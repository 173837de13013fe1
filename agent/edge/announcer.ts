/**
 * What one gateway knows of this edge's subnets in the present route session: after the first burst only differences travel, in messages of a bounded
 * length, so that thousands of subnets hold up neither end.
 */
import type { Subnet } from '../../schema/common.ts'
import { PREFIXES_PER_MESSAGE, type RouteMessage } from '../../schema/route-messages.ts'

export class Announcer {
  #told = new Map<string, boolean>()

  /** First burst of a new route session: what the gateway still has from before and does not hear now goes with `end-of-rib`. */
  burst(subnets: readonly Subnet[]): RouteMessage[] {
    this.#told = new Map()
    return [...this.difference(subnets), { type: 'end-of-rib' }]
  }

  difference(subnets: readonly Subnet[]): RouteMessage[] {
    const now = new Map(subnets.map(({ prefix, reachable }) => [prefix, reachable]))
    const gone = [...this.#told.keys()].filter(prefix => !now.has(prefix))
    const changed = subnets.filter(({ prefix, reachable }) => this.#told.get(prefix) !== reachable)
    this.#told = now
    return [
      ...pieces(gone).map(prefixes => ({ type: 'withdraw' as const, prefixes })),
      ...pieces(changed).map(part => ({ type: 'announce' as const, full: false, subnets: part })),
    ]
  }
}

function pieces<T>(all: readonly T[]): T[][] {
  const count = Math.ceil(all.length / PREFIXES_PER_MESSAGE)
  return Array.from({ length: count }, (_, index) =>
    all.slice(index * PREFIXES_PER_MESSAGE, (index + 1) * PREFIXES_PER_MESSAGE),
  )
}
