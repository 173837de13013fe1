/**
 * What a path carries, found by asking (RFC 8899, DPLPMTUD, with probes beside the traffic): never by ICMP, which is filtered, and never by the
 * network's word. Pure: it says which sizes to probe in the next round, and is told the largest that came back.
 *
 *   settled --doubt--> holding --3 rounds without the size in use--> searching --narrowed down--> settled --raiseAt--> searching
 *
 * Every round ends with a probe as small as there is. When only that one comes back the larger ones were lost, and when nothing does the round
 * says nothing: a dead path is not a narrow one.
 */

/** MTUs that networks have: Ethernet, PPPoE, tunnels of many kinds, WireGuard, IPv6's least, two that RFC 1191 (7.1) names. */
const PLATEAUS = [9000, 4352, 1500, 1492, 1480, 1472, 1460, 1452, 1436, 1420, 1400, 1380, 1340, 1280, 1006, 576]
/** Probes of a round beside the small one, and so at most that many packets of full size at once. */
const PROBES = 8
/** Rounds without the size in use that make it too large. The n-th asks for it n times: one in ten probes lost in each direction, all six are lost in 1 of 20,000. */
const ROUNDS = 3
/** Nearer than this the search does not go: 8 bytes are what ESP's padding costs anyway. */
const GRAIN = 8
/** After a size was given up, a larger one is tried after so long; each time in vain the pause doubles. The last is RFC 8899's PMTU_RAISE_TIMER. */
const RAISE_FIRST_MS = 5000
const RAISE_LAST_MS = 600_000

export interface Range {
  /** Below it a path is of no use. */
  least: number
  /** What both ends' links allow. */
  most: number
}

export class MtuSearch {
  readonly #least: number
  readonly #most: number
  #mtu: number
  /** Smallest size that is known not to get through. */
  #barred: number
  /** Rounds in which the size in use did not come back, and the largest that did meanwhile. */
  #misses = 0
  #seen = 0
  /** Rounds in which nothing above the size in use came back, and the least that was asked for. */
  #vain = 0
  #asked: readonly number[] = []
  #proven = false
  #raiseAt = Number.POSITIVE_INFINITY
  #raiseMs = RAISE_FIRST_MS

  /** @param start taken for right until a round says otherwise: what was found before, or the most */
  constructor({ least, most }: Range, start = most) {
    this.#least = least
    this.#most = most
    this.#mtu = Math.min(start, most)
    this.#barred = most + 1
  }

  /** Largest outer packet that may be sent; 0: not even `least` gets through. */
  get mtu(): number {
    return this.#mtu
  }

  /** Nothing to ask until there is doubt, or time for a larger size. */
  get settled(): boolean {
    return this.#proven && this.#misses === 0 && this.#larger().length === 0
  }

  /** Packets may be getting lost: ask for the size in use again. */
  doubt(): void {
    this.#proven = false
  }

  /** @param now ms. Opens the search upwards again when it is time. */
  due(now: number): boolean {
    if (now >= this.#raiseAt) {
      this.#raiseAt = Number.POSITIVE_INFINITY
      this.#raiseMs = Math.min(2 * this.#raiseMs, RAISE_LAST_MS)
      this.#barred = this.#most + 1
      this.#vain = 0
    }
    return !this.settled
  }

  /** Sizes of the next round, the largest first, 0 last: on a slow link the small one comes behind what it vouches for. */
  round(): number[] {
    const inUse = this.#mtu === 0 ? [] : Array<number>(this.#misses + 1).fill(this.#mtu)
    this.#asked = this.#misses > 0 ? [] : this.#larger()
    const smaller = this.#misses > 0 ? this.#smaller() : []
    return [...this.#asked, ...inUse, ...smaller, 0]
  }

  /** @param answered the largest size of the round that came back, 0: the small one alone; undefined: none. @param now ms */
  judge(answered: number | undefined, now: number): void {
    if (answered === undefined) return
    if (answered >= this.#least && answered > this.#mtu) this.#raise(answered)
    else if (answered === this.#mtu || this.#mtu === 0) this.#hold()
    else this.#miss(answered)
    if (this.settled && this.#mtu < this.#most && this.#raiseAt === Number.POSITIVE_INFINITY)
      this.#raiseAt = now + this.#raiseMs
  }

  #raise(answered: number): void {
    this.#mtu = answered
    this.#proven = true
    this.#misses = 0
    this.#vain = 0
    this.#raiseMs = RAISE_FIRST_MS
  }

  #hold(): void {
    this.#proven = true
    this.#misses = 0
    this.#seen = 0
    if (this.#asked.length === 0) return
    this.#vain += 1
    if (this.#vain < ROUNDS) return
    this.#vain = 0
    this.#barred = Math.min(this.#barred, ...this.#asked)
  }

  #miss(answered: number): void {
    this.#misses += 1
    this.#seen = Math.max(this.#seen, answered)
    if (this.#misses < ROUNDS) return
    this.#barred = this.#mtu
    this.#mtu = this.#seen >= this.#least ? this.#seen : 0
    this.#misses = 0
    this.#seen = 0
    this.#vain = 0
    this.#proven = true
    this.#raiseAt = Number.POSITIVE_INFINITY
    // Should it have been chance, it is put right soon.
    this.#raiseMs = RAISE_FIRST_MS
  }

  /** Between what is in use and what is barred: the most, plateaus, or evenly spread where there is none. */
  #larger(): number[] {
    const low = Math.max(this.#mtu, this.#least - 1)
    if (this.#barred - low <= (this.#mtu === 0 ? 1 : GRAIN) && this.#barred <= this.#most) return []
    if (low >= this.#most) return []
    const inside = PLATEAUS.filter(size => size > low && size < Math.min(this.#barred, this.#most))
    const ends = this.#barred > this.#most ? [this.#most] : []
    const sizes = inside.length > 0 || ends.length > 0 ? [...ends, ...inside] : spread(low, this.#barred)
    return thin(sizes)
  }

  #smaller(): number[] {
    return thin([...PLATEAUS.filter(size => size < this.#mtu && size > this.#least), this.#least])
  }
}

/** Whole numbers between two others, the largest first. */
function spread(low: number, high: number): number[] {
  const step = Math.max(1, (high - low) / (PROBES + 1))
  const count = Math.min(PROBES, high - low - 1)
  return Array.from({ length: count }, (_, index) => Math.floor(high - step * (index + 1)))
}

/** At most PROBES of them, the first and the last among these. */
function thin(sizes: readonly number[]): number[] {
  if (sizes.length <= PROBES) return [...sizes]
  return Array.from(
    { length: PROBES },
    (_, index) => sizes[Math.round((index * (sizes.length - 1)) / (PROBES - 1))] ?? 0,
  )
}
