/** The FIB of the fake kernel: routes by prefix, the limits and refusals of the real one. */
import { ABI_MAX_FIB_BYTES, ABI_MAX_NEXTHOPS, ABI_MAX_ROUTES } from '../../../schema/abi.gen.ts'
import { KernelError } from '../error.ts'
import { ROUTE_WORDS, readRoute, writeRoute } from '../fib/route.ts'
import type { FibKey } from '../fib-key.ts'
import type { Fib, FibRoute, FibUsage } from '../port.ts'
import { type MapSizes, vrfsIn } from '../sizes.ts'

export class FakeFib implements Fib {
  readonly #limit: number
  readonly #vrfs: number
  readonly #routes = new Map<string, FibRoute>()

  constructor(sizes: MapSizes) {
    this.#limit = (sizes.fib_routes ?? ABI_MAX_ROUTES + 1) - 1
    this.#vrfs = vrfsIn(sizes.fib ?? ABI_MAX_FIB_BYTES)
  }

  async apply(changes: readonly FibRoute[]): Promise<ReadonlyMap<number, KernelError>> {
    // What the real one would refuse to write is refused for all at once, before any.
    const canonical = changes.map(change => {
      const record = new Uint32Array(ROUTE_WORDS)
      writeRoute(record, 0, change, change.nexthop)
      return { ...readRoute(record, 0)[0], nexthop: change.nexthop }
    })
    const refused = new Map<number, KernelError>()
    for (const [index, route] of canonical.entries()) {
      const code = this.#write(route)
      if (code) refused.set(index, new KernelError('write', `fib ${keyOf(route)}`, code))
    }
    return refused
  }

  #write(route: FibRoute): string | undefined {
    const key = keyOf(route)
    if (route.vrf >= this.#vrfs || route.nexthop >= ABI_MAX_NEXTHOPS) return 'ERANGE'
    if (route.nexthop === 0) this.#routes.delete(key)
    else if (!this.#routes.has(key) && this.#routes.size >= this.#limit) return 'ENOSPC'
    else this.#routes.set(key, route)
    return undefined
  }

  async entries(): Promise<[FibKey, number][]> {
    return this.list()
  }

  async usage(): Promise<FibUsage> {
    return { routes: this.#routes.size, routesMax: this.#limit, bytes: 0, bytesMax: 0 }
  }

  onFault(): void {}

  /** For tests: at once. */
  list(): [FibKey, number][] {
    return Array.from(this.#routes.values(), ({ nexthop, ...key }) => [key, nexthop])
  }

  /** For tests: the next hop of exactly this prefix. */
  get(key: FibKey): number | undefined {
    return this.#routes.get(keyOf(key))?.nexthop
  }
}

const keyOf = ({ vrf, address, prefixLength }: FibKey) => `${vrf} ${address}/${prefixLength}`
