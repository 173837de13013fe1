/** A replaced session still receives for a while, since packets sent on it are under way; then it goes. */
import type { Node } from '../node/node.ts'

export class Retirement {
  readonly #node: Node
  readonly #peer: number
  readonly #timers = new Map<number, NodeJS.Timeout>()

  /** @param peer index of the gateway whose sessions these are */
  constructor(node: Node, peer: number) {
    this.#node = node
    this.#peer = peer
  }

  allBut(...kept: number[]): void {
    for (const { sid, peer } of this.#node.sessions.values()) {
      if (peer !== this.#peer || kept.includes(sid) || this.#timers.has(sid)) continue
      this.#timers.set(
        sid,
        setTimeout(() => this.#end(sid), this.#node.config.timers.graceMs),
      )
    }
  }

  #end(sid: number): void {
    const { reconciler, sessions, log } = this.#node
    this.#timers.delete(sid)
    sessions.remove(sid)
    reconciler.flush().catch(error => log.error({ err: error }, 'flush failed'))
  }

  /** Nothing more is removed. */
  stop(): void {
    for (const timer of this.#timers.values()) clearTimeout(timer)
    this.#timers.clear()
  }
}
