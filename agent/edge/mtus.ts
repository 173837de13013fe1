/** What the paths to each gateway carry. The edge asks and both ends go by it: an answer has proved both directions. */

import type { Prober } from '../mp/prober.ts'
import type { Node } from '../node/node.ts'
import { PathMtus } from '../paths/mtu.ts'
import type { Uplink } from './uplink.ts'

export class EdgeMtus {
  readonly #node: Node
  readonly #prober: Prober
  readonly #uplinks: () => Iterable<Uplink>
  /** What was found outlives sessions, and ends with the uplink. */
  readonly #found = new Map<Uplink, PathMtus>()

  constructor(node: Node, prober: Prober, uplinks: () => Iterable<Uplink>) {
    this.#node = node
    this.#prober = prober
    this.#uplinks = uplinks
  }

  /** Every probeMs. */
  look(): void {
    const present = new Set(this.#uplinks())
    for (const [uplink, mtus] of this.#found) {
      if (present.has(uplink)) continue
      mtus.close()
      this.#found.delete(uplink)
    }
    for (const uplink of present) this.#lookAt(uplink)
  }

  /** A path in use is silent: what went unanswered may have been too large, and only that. */
  silent(handle: number): void {
    const sid = (handle & ~15) >>> 0
    for (const uplink of this.#uplinks()) {
      if (uplink.sid !== sid) continue
      this.#found.get(uplink)?.doubt(handle & 15)
      this.#lookAt(uplink)
    }
  }

  #lookAt(uplink: Uplink): void {
    const session = this.#node.sessions.get(uplink.sid)
    if (!session || !uplink.addresses) return
    let mtus = this.#found.get(uplink)
    if (!mtus) {
      mtus = new PathMtus({
        node: this.#node,
        prober: this.#prober,
        changed: (path, mtu) => uplink.carries(path, mtu),
        tried: (path, packets) => uplink.paths.excuse(path, packets),
      })
      this.#found.set(uplink, mtus)
    }
    mtus.look(session, uplink.addresses)
  }

  close(): void {
    for (const mtus of this.#found.values()) mtus.close()
    this.#found.clear()
  }
}
