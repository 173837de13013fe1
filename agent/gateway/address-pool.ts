/** Virtual IPv4 addresses of one gateway: the first host address is its own, the others are lent to edges. */
import { formatAddress, parseAddress, parsePrefix } from '../../schema/address.ts'

export class AddressPool {
  readonly own: string
  readonly #first: number
  readonly #last: number
  readonly #used = new Set<number>()
  #cursor: number

  /** @param prefix IPv4, /30 or shorter. Throws TypeError otherwise. */
  constructor(prefix: string) {
    const parsed = parsePrefix(prefix)
    if (parsed?.family !== 4 || parsed.length > 30)
      throw new TypeError(`virtual pool ${prefix} must be an IPv4 prefix of /30 or shorter`)
    const base = toNumber(parsed.bytes)
    this.own = toText(base + 1)
    this.#first = base + 2
    // The last address is a broadcast address in some eyes, and 100.127.255.254 is the dummy neighbour.
    this.#last = base + 2 ** (32 - parsed.length) - 3
    this.#cursor = this.#first
  }

  /** @param wanted what the edge had before: given when it is of this pool and free. Undefined: the pool is used up. */
  lend(wanted?: string): string | undefined {
    const number = wanted === undefined ? undefined : this.#numberOf(wanted)
    if (number !== undefined && !this.#used.has(number)) return this.#take(number)
    const size = this.#last - this.#first + 1
    if (this.#used.size >= size) return undefined
    while (this.#used.has(this.#cursor)) this.#advance()
    return this.#take(this.#cursor)
  }

  giveBack(address: string): void {
    const number = this.#numberOf(address)
    if (number !== undefined) this.#used.delete(number)
  }

  #take(number: number): string {
    this.#used.add(number)
    if (number === this.#cursor) this.#advance()
    return toText(number)
  }

  #advance(): void {
    this.#cursor = this.#cursor >= this.#last ? this.#first : this.#cursor + 1
  }

  #numberOf(address: string): number | undefined {
    const parsed = parseAddress(address)
    if (parsed?.family !== 4) return undefined
    const number = toNumber(parsed.bytes)
    return number >= this.#first && number <= this.#last ? number : undefined
  }
}

function toNumber(bytes: Uint8Array): number {
  return new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0)
}

function toText(number: number): string {
  const bytes = new Uint8Array(4)
  new DataView(bytes.buffer).setUint32(0, number)
  return formatAddress(bytes)
}
