/**
 * Long work in slices: a gateway writes a million routes and looks at ten thousand edges while handshakes, probes and timers wait for the same event
 * loop. Whoever has more to do than fits into a few milliseconds asks between its pieces whether the others should have their turn.
 */
import { setImmediate as turn } from 'node:timers/promises'

/** ms. Two such pieces of work and a garbage collection in one turn of the loop stay below 20 ms. */
const SLICE_MS = 5

export class Slices {
  #begin = performance.now()

  /** Has this slice lasted long enough? */
  get over(): boolean {
    return performance.now() - this.#begin >= SLICE_MS
  }

  /** Lets everything else that waits run once. What was read before may have changed when it resolves. */
  async rest(): Promise<void> {
    await turn()
    this.#begin = performance.now()
  }
}
