/**
 * The gateway's way to the Internet: an interface that belongs to no tenant. Out of a VRF it is reached only through a service chain (NH_F_CHAINED),
 * which is what translates the tenant's addresses; into a VRF only by connections that began there.
 */
import { ABI_NH_F_CHAINED, ABI_NH_F_SECURE, ABI_VRF_UPSTREAM, type Nexthop } from '../../schema/abi.gen.ts'
import { be32, canonicalPrefix, parseAddress } from '../../schema/address.ts'
import type { Address, Link } from '../kernel/port.ts'
import { lan, local } from '../node/nexthops.ts'
import type { Node } from '../node/node.ts'

export const DEFAULT_ROUTES = { 4: '0.0.0.0/0', 6: '::/0' } as const

export class Upstream {
  readonly #node: Node
  #ifindex: number | undefined
  /** The gateway's own addresses on it, as prefixes. */
  #own: ReadonlySet<string> = new Set()
  #families: readonly (4 | 6)[] = []

  constructor(node: Node) {
    this.#node = node
  }

  /** What it leads to. */
  get prefixes(): string[] {
    return this.#families.map(family => DEFAULT_ROUTES[family])
  }

  /** Undefined while the interface is not there or not up. */
  nexthop(secure: boolean): Nexthop | undefined {
    return this.#ifindex === undefined
      ? undefined
      : lan(this.#ifindex, ABI_NH_F_CHAINED | (secure ? ABI_NH_F_SECURE : 0))
  }

  /** Reads the kernel again and brings port, program and own addresses in line. The caller flushes. @returns whether what it leads to is another now */
  async refresh(): Promise<boolean> {
    const { upstream } = this.#node.config.services
    if (!upstream) return false
    const { network } = this.#node.kernel
    const links = await network.links()
    const link = links.find(({ name }) => name === upstream.interface)
    const addresses = (await network.addresses()).filter(({ ifindex }) => ifindex === link?.ifindex)
    const before = this.#description()
    this.#ifindex = link?.up && link.running ? link.ifindex : undefined
    const families = [...addresses.filter(isGlobal).map(({ address }) => address), ...upstream.addresses].map(familyOf)
    this.#families = this.#ifindex === undefined ? [] : ([4, 6] as const).filter(family => families.includes(family))
    this.#setPort(link, addresses)
    const lent = new Set(upstream.addresses.map(hostPrefix))
    this.#setOwn(addresses.map(({ address }) => hostPrefix(address)).filter(prefix => !lent.has(prefix)))
    return this.#description() !== before
  }

  #description(): string {
    return `${this.#ifindex} ${this.#families}`
  }

  #port: number | undefined

  #setPort(link: Link | undefined, addresses: readonly Address[]): void {
    const { reconciler } = this.#node
    if (this.#port !== undefined && this.#port !== link?.ifindex) {
      reconciler.drop(`port ${this.#port}`)
      reconciler.drop(`attachment lan ${this.#port}`)
    }
    this.#port = link?.ifindex
    if (!link) return
    const { ifindex } = link
    const own = addresses.filter(isGlobal)
    const v4 = own.find(({ address }) => familyOf(address) === 4)
    const v6 = own.find(({ address }) => familyOf(address) === 6)
    reconciler.want({
      kind: 'port',
      ifindex,
      value: {
        ifindex,
        vrf: ABI_VRF_UPSTREAM,
        addr4: v4 ? be32(v4.address) : 0,
        flags: 0,
        addr6: (v6 && parseAddress(v6.address)?.bytes) ?? new Uint8Array(16),
      },
    })
    reconciler.want({ kind: 'attachment', hook: 'lan', ifindex })
  }

  /** Packets for the machine itself go to its stack; those for addresses of instances never do. */
  #setOwn(prefixes: readonly string[]): void {
    const { fib } = this.#node
    const wanted = new Set(prefixes)
    for (const prefix of this.#own) if (!wanted.has(prefix)) fib.delete(ABI_VRF_UPSTREAM, prefix)
    for (const prefix of wanted) fib.set(ABI_VRF_UPSTREAM, prefix, local())
    this.#own = wanted
  }
}

function hostPrefix(address: string): string {
  return canonicalPrefix(`${address}/${familyOf(address) === 6 ? 128 : 32}`) ?? address
}

function familyOf(address: string): 4 | 6 {
  return parseAddress(address)?.family ?? 4
}

function isGlobal({ address }: Address): boolean {
  const { family, bytes } = parseAddress(address) ?? { family: 4, bytes: new Uint8Array(4) }
  const [first = 0, second = 0] = bytes
  return family === 6 ? first !== 0xfe : !(first === 169 && second === 254)
}
