/** Indexes of the service maps. A number that is given back comes again last, and only when the kernel has nothing under it any more. */

export class Numbers {
  readonly #what: string
  readonly #first: number
  readonly #last: number
  readonly #busy: (number: number) => boolean
  readonly #taken = new Set<number>()
  #newest: number

  /** @param busy does the kernel still know it? */
  constructor(what: string, first: number, last: number, busy: (number: number) => boolean = () => false) {
    this.#what = what
    this.#first = first
    this.#last = last
    this.#busy = busy
    this.#newest = first - 1
  }

  /** @throws RangeError when all are in use */
  take(): number {
    for (let tried = this.#first; tried <= this.#last; tried++) {
      this.#newest = this.#newest >= this.#last ? this.#first : this.#newest + 1
      if (this.#taken.has(this.#newest) || this.#busy(this.#newest)) continue
      this.#taken.add(this.#newest)
      return this.#newest
    }
    throw new RangeError(`all ${this.#last - this.#first + 1} ${this.#what} are in use`)
  }

  /** One that a former agent gave. False: it is given already, or none of ours. */
  adopt(number: number): boolean {
    if (number < this.#first || number > this.#last || this.#taken.has(number)) return false
    this.#taken.add(number)
    this.#newest = Math.max(this.#newest, number)
    return true
  }

  give(number: number): void {
    this.#taken.delete(number)
  }
}

/** Runs of indexes that lie side by side: rules of a policy, lines of a pool. */
export class Ranges {
  readonly #what: string
  readonly #size: number
  readonly #busy: (index: number) => boolean
  readonly #taken: Uint8Array
  #next = 0

  constructor(what: string, size: number, busy: (index: number) => boolean) {
    this.#what = what
    this.#size = size
    this.#busy = busy
    this.#taken = new Uint8Array(size)
  }

  /** @returns the first of `length` free indexes. @throws RangeError when there is no such run */
  take(length: number): number {
    for (const from of [this.#next, 0])
      for (let first = from, free = 0, index = from; index < this.#size; index++) {
        if (this.#taken[index] || this.#busy(index)) {
          first = index + 1
          free = 0
          continue
        }
        free += 1
        if (free < length) continue
        this.#taken.fill(1, first, first + length)
        this.#next = first + length
        return first
      }
    throw new RangeError(`no room for ${length} more ${this.#what}`)
  }

  give(first: number, length: number): void {
    this.#taken.fill(0, first, first + length)
  }
}
