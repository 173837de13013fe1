/** The newest changes of this node's paths, for `branchline path history`; gone with the agent. */
import type { Change } from './judge.ts'

export interface PathChange extends Change {
  /** Unix ms. */
  time: number
  peer: string
  path: number
  link: string
}

const KEPT = 200

export class PathHistory {
  readonly #changes: PathChange[] = []

  add(change: PathChange): void {
    this.#changes.push(change)
    if (this.#changes.length > KEPT) this.#changes.shift()
  }

  newestFirst(): PathChange[] {
    return this.#changes.toReversed()
  }
}
