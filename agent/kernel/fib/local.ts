/** The FIB of programs that a test or a benchmark has loaded itself, written at once in its own thread. */

import type { FibKey } from '../fib-key.ts'
import { fibFds, type MapFds } from '../maps.ts'
import { FibEngine } from './engine.ts'
import { mapFib, waitGrace } from './memory.ts'
import { ROUTE_WORDS, readRoute, writeRoute } from './route.ts'

export class LocalFib implements Disposable {
  readonly #memory
  readonly #engine: FibEngine

  constructor(fds: MapFds) {
    this.#memory = mapFib(fibFds(fds))
    this.#engine = new FibEngine(this.#memory, waitGrace)
  }

  /** @param nexthop 0: remove. @throws Error when it is refused */
  set(key: FibKey, nexthop: number): void {
    const change = new Uint32Array(ROUTE_WORDS)
    writeRoute(change, 0, key, nexthop)
    const code = this.#engine.apply(change).get(0)
    if (code) throw new Error(`${key.address}/${key.prefixLength}: ${code}`)
  }

  delete(key: FibKey): void {
    this.set(key, 0)
  }

  /** Next hop of exactly this prefix. */
  get(key: FibKey): number | undefined {
    const records = this.#engine.records()
    for (let record = 0; record < records.length / ROUTE_WORDS; record++) {
      const [known, nexthop] = readRoute(records, record)
      if (known.vrf === key.vrf && known.address === key.address && known.prefixLength === key.prefixLength)
        return nexthop
    }
    return undefined
  }

  [Symbol.dispose](): void {
    this.#memory.close()
  }
}
