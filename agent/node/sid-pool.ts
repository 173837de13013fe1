/**
 * Session ids. An id names the places that its session and paths have in the kernel's arrays (abi.h), so giving out ids is giving out runs of
 * places: path ids up to n - 1 take n of them, wherever a random search meets a free run. The random start and the 12 bits above the place keep ids hard
 * to guess.
 *
 * Places that are given back rest: until the kernel has nothing there any more, and then until some others were given back behind them. A packet
 * that still knows the old id meets an empty entry, not its successor's.
 */
import { randomInt } from 'node:crypto'
import { ABI_MAX_PATHS, ABI_MP_PATHS } from '../../schema/abi.gen.ts'
import { placeOf } from '../kernel/named-map.ts'

/** Runs that rest at least, while there is room. */
const RESTING = 16
const GENERATIONS = 2 ** 28 / ABI_MAX_PATHS

export class SidPool {
  readonly #size: number
  readonly #random: (below: number) => number
  /** By place: taken or resting. */
  readonly #taken: Uint8Array
  readonly #lengths = new Map<number, number>()
  /** Longest ago first; with what tells that the kernel has nothing of the session any more. */
  readonly #resting = new Map<number, () => boolean>()

  /** @param size places of this node; @param random uniform integer from 0 to below its argument */
  constructor(size: number, random: (below: number) => number = randomInt) {
    this.#size = size
    this.#random = random
    this.#taken = new Uint8Array(size)
  }

  /** An id for path ids below `paths`; undefined when no run of places is free. */
  take(paths: number): number | undefined {
    for (const [sid, isGone] of this.#resting) {
      if (this.#resting.size <= RESTING || !isGone()) break
      this.#free(sid)
    }
    let place = this.#freeRun(paths)
    if (place === undefined) {
      for (const [sid, isGone] of this.#resting) if (isGone()) this.#free(sid)
      place = this.#freeRun(paths)
    }
    if (place === undefined) return undefined
    const sid = (1 + this.#random(GENERATIONS - 1)) * ABI_MAX_PATHS * ABI_MP_PATHS + place * ABI_MP_PATHS
    this.adopt(sid, paths)
    return sid
  }

  /** An id that is in use already. */
  adopt(sid: number, paths: number): void {
    this.#lengths.set(sid, paths)
    this.#resting.delete(sid)
    this.#mark(sid, 1)
  }

  /** @param isGone the kernel has nothing of the session any more */
  giveBack(sid: number, isGone: () => boolean): void {
    if (this.#lengths.has(sid) && !this.#resting.has(sid)) this.#resting.set(sid, isGone)
  }

  #free(sid: number): void {
    this.#mark(sid, 0)
    this.#lengths.delete(sid)
    this.#resting.delete(sid)
  }

  #mark(sid: number, taken: 0 | 1): void {
    const place = placeOf(sid)
    this.#taken.fill(taken, place, place + (this.#lengths.get(sid) ?? 0))
  }

  #freeRun(length: number): number | undefined {
    const start = this.#random(this.#size)
    let run = 0
    for (let step = 0; step < this.#size + length - 1; step++) {
      const place = (start + step) % this.#size
      // A run does not go over the end.
      if (place === 0) run = 0
      run = this.#taken[place] ? 0 : run + 1
      if (run === length) return place - length + 1
    }
    return undefined
  }
}
