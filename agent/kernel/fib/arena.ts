/**
 * Memory of one half of the FIB, by the buddy method (Knuth, The Art of Computer Programming 1, 2.5): blocks lie at multiples of their size rounded up
 * to a power of two, so what is no larger than a cache line never crosses one. What a block does not need of its power of two is given back at once.
 */
export class Arena {
  /** Units, from `base` on. */
  readonly size: number
  readonly #base: number
  /** Of a free block's first unit: its order + 1, else 0. */
  readonly #orders: Uint8Array
  /** Lists of free blocks by order; places are stored + 1. */
  readonly #heads: Uint32Array
  readonly #next: Uint32Array
  readonly #previous: Uint32Array
  #used = 0
  /** Units that `allocate` leaves free. */
  spared = 0
  #journal: number[] = []

  /** @param base, size units; `base` is a multiple of the largest alignment that is asked for */
  constructor(base: number, size: number) {
    this.size = size
    this.#base = base
    this.#orders = new Uint8Array(size)
    this.#next = new Uint32Array(size)
    this.#previous = new Uint32Array(size)
    this.#heads = new Uint32Array(33)
    this.#give(0, size)
  }

  /** Units. */
  get used(): number {
    return this.#used
  }

  /** Place of that many units; undefined when there is none. */
  allocate(units: number): number | undefined {
    if (this.#used + units + this.spared > this.size) return undefined
    const order = 32 - Math.clz32(units - 1)
    let from = order
    while (from < this.#heads.length && this.#heads[from] === 0) from++
    if (from === this.#heads.length) return undefined
    const start = (this.#heads[from] as number) - 1
    this.#unlink(start, from)
    while (from > order) this.#link(start + 2 ** --from, from)
    this.#used += units
    this.#give(start + units, 2 ** order - units)
    this.#journal.push(start, units)
    return this.#base + start
  }

  /** Is there a block of that many units, a power of two? */
  hasRoom(units: number): boolean {
    for (let order = 31 - Math.clz32(units); order < this.#heads.length; order++)
      if (this.#heads[order] !== 0) return true
    return false
  }

  free(place: number, units: number): void {
    this.#used -= units
    this.#give(place - this.#base, units)
  }

  /** Keeps what was allocated since the last keep or rollback. */
  keep(): void {
    this.#journal = []
  }

  /** Frees what was allocated since the last keep or rollback. */
  rollback(): void {
    const journal = this.#journal
    this.#journal = []
    for (let i = 0; i < journal.length; i += 2) this.free(this.#base + (journal[i] as number), journal[i + 1] as number)
  }

  /** Cuts into blocks at multiples of their size. */
  #give(start: number, units: number): void {
    let place = start
    const end = start + units
    while (place < end) {
      const aligned = place === 0 ? 31 : 31 - Math.clz32(place & -place)
      const order = Math.min(aligned, 31 - Math.clz32(end - place))
      this.#join(place, order)
      place += 2 ** order
    }
  }

  #join(start: number, order: number): void {
    let [place, size] = [start, order]
    for (;;) {
      const buddy = place ^ (2 ** size)
      if (buddy + 2 ** size > this.size || this.#orders[buddy] !== size + 1) break
      this.#unlink(buddy, size)
      place = Math.min(place, buddy)
      size++
    }
    this.#link(place, size)
  }

  #link(place: number, order: number): void {
    const head = this.#heads[order] as number
    this.#orders[place] = order + 1
    this.#next[place] = head
    this.#previous[place] = 0
    if (head !== 0) this.#previous[head - 1] = place + 1
    this.#heads[order] = place + 1
  }

  #unlink(place: number, order: number): void {
    const next = this.#next[place] as number
    const previous = this.#previous[place] as number
    this.#orders[place] = 0
    if (next !== 0) this.#previous[next - 1] = previous
    if (previous !== 0) this.#next[previous - 1] = next
    else this.#heads[order] = next
  }
}
