/** Follows netlink: a burst of notifications is one change. The node's own devices and neighbours, whose changes the agent makes or does not mind, are passed over. */
import type { Node } from './node.ts'

const SETTLE_MS = 20

export class NetworkWatch {
  readonly #node: Node
  readonly #changed: () => Promise<void>
  readonly #stop: () => void
  #timer: NodeJS.Timeout | undefined

  /** @param changed what it throws is logged */
  constructor(node: Node, changed: () => Promise<void>) {
    this.#node = node
    this.#changed = changed
    const { mp0, mp1, ipsec0 } = node.devices
    const own = new Set([mp0.ifindex, mp1.ifindex, ipsec0?.ifindex])
    this.#stop = node.kernel.network.watch(change => {
      if (change.what === 'neighbour' || (change.what !== 'overflow' && own.has(change.ifindex))) return
      this.#timer ??= setTimeout(() => this.#follow(), SETTLE_MS)
    })
  }

  #follow(): void {
    this.#timer = undefined
    this.#changed().catch(error =>
      this.#node.log.error({ err: error }, `network change not followed: ${error.message}`),
    )
  }

  close(): void {
    this.#stop()
    clearTimeout(this.#timer)
  }
}
