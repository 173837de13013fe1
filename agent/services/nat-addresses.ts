/** The addresses towards the Internet that instances may use: one of each family for an instance, on the upstream interface while it has it. */
import { parseAddress } from '../../schema/address.ts'
import { KernelError } from '../kernel/error.ts'
import type { Network } from '../kernel/port.ts'
import type { ServicesConfig } from './config.ts'

export class NatAddresses {
  readonly #interface: string | undefined
  readonly #network: Network
  /** By family, in order. */
  readonly #lists: string[][]
  readonly #taken = new Set<string>()

  constructor(upstream: ServicesConfig['upstream'], network: Network) {
    this.#interface = upstream?.interface
    this.#network = network
    const addresses = upstream?.addresses ?? []
    this.#lists = ([4, 6] as const)
      .map(family => addresses.filter(text => parseAddress(text)?.family === family))
      .filter(list => list.length > 0)
  }

  /** One of each family that there is. @throws RangeError when one is used up */
  take(): string[] {
    const chosen = this.#lists.map(list => {
      const free = list.find(address => !this.#taken.has(address))
      if (free === undefined)
        throw new RangeError(`all ${list.length} addresses of upstream like ${list[0]} are in use`)
      return free
    })
    for (const address of chosen) this.#taken.add(address)
    return chosen
  }

  adopt(addresses: readonly string[]): void {
    for (const address of addresses) this.#taken.add(address)
  }

  give(addresses: readonly string[]): void {
    for (const address of addresses) this.#taken.delete(address)
  }

  async install(addresses: readonly string[]): Promise<void> {
    const ifindex = addresses.length > 0 ? await this.#ifindex() : 0
    for (const address of addresses)
      await this.#network.addAddress({ ifindex, address, prefixLength: lengthOf(address) }).catch(except('EEXIST'))
  }

  async remove(addresses: readonly string[]): Promise<void> {
    this.give(addresses)
    const ifindex = addresses.length > 0 ? await this.#ifindex() : 0
    for (const address of addresses)
      await this.#network
        .deleteAddress({ ifindex, address, prefixLength: lengthOf(address) })
        .catch(except('ENOENT', 'EADDRNOTAVAIL', 'ENODEV'))
  }

  async #ifindex(): Promise<number> {
    const link = (await this.#network.links()).find(({ name }) => name === this.#interface)
    if (!link) throw new Error(`the upstream interface ${this.#interface} is not there`)
    return link.ifindex
  }
}

const lengthOf = (address: string) => (address.includes(':') ? 128 : 32)

function except(...codes: string[]): (error: unknown) => void {
  return error => {
    if (!(error instanceof KernelError && codes.includes(error.code))) throw error
  }
}
