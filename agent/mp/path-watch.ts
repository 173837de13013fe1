/**
 * Is a path alive? Nothing heard for silentMs is not enough: an agent that was away, or slow, has not asked meanwhile, and a peer that only receives
 * has no reason to send. So a path is dead when it stayed silent although this agent has probed it; the peer's program answers probes
 * without its agent (bpf/path/probe.h).
 */

import type { Node } from '../node/node.ts'
import type { LiveSession } from '../node/sessions.ts'
import type { Prober } from './prober.ts'

/** A single lost probe is no sign. */
const LEAST_PROBES = 2
/** Looks between two probes of a path that is heard without being asked: they measure its round trip. */
const ROUND_TRIP_EVERY = 32

export class PathWatch {
  readonly #node: Node
  readonly #prober: Prober
  /** Probes per path id since the path was last heard; goes with the session. */
  readonly #unanswered = new WeakMap<LiveSession, Map<number, number>>()

  readonly #quietMs: number
  #looks = 0

  /**
   * @param quietMs a path that was heard within this time is not asked. With probeMs on the side that has thousands of peers, the others, which ask
   * twice as soon, do all the asking.
   */
  constructor(node: Node, prober: Prober, quietMs = node.config.timers.probeMs / 2) {
    this.#node = node
    this.#prober = prober
    this.#quietMs = quietMs
  }

  /** Another round of looks begins. */
  begin(): void {
    this.#looks += 1
  }

  /** Once every probeMs: judges by the probes so far, and sends the next one where the path is quiet. */
  check(session: LiveSession, path: number, from: string, to: string): boolean {
    const { probeMs, silentMs } = this.#node.config.timers
    const silence = this.#node.silenceMs(session, path)
    const unanswered = this.#of(session)
    if (silence < this.#quietMs) {
      unanswered.delete(path)
      // Spread by session id, so that not all are asked in the same round.
      if (((session.sid >>> 4) + this.#looks) % ROUND_TRIP_EVERY === 0) this.#prober.probe(from, to, path)
      return true
    }
    const asked = silence < probeMs ? 0 : (unanswered.get(path) ?? 0)
    unanswered.set(path, asked + 1)
    this.#prober.probe(from, to, path)
    return silence <= silentMs || asked < LEAST_PROBES
  }

  #of(session: LiveSession): Map<number, number> {
    let counts = this.#unanswered.get(session)
    if (!counts) {
      counts = new Map()
      this.#unanswered.set(session, counts)
    }
    return counts
  }
}
