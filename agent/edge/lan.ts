/** The LAN side of an edge: ports with their program, routes of local subnets and own addresses in the FIB, and the list to announce. */
import { ABI_NH_F_SECURE, ABI_PORT_F_FQ } from '../../schema/abi.gen.ts'
import { be32, canonicalPrefix, parseAddress } from '../../schema/address.ts'
import type { Security, Subnet } from '../../schema/common.ts'
import type { GrantedSubnet } from '../../schema/node-state.ts'
import { lan, local } from '../node/nexthops.ts'
import type { Node } from '../node/node.ts'
import { PlayoutQueues } from '../node/playout-queues.ts'
import { type LocalSubnet, type LocalSubnets, localSubnets, ownAddresses } from '../routes/local-subnets.ts'

/** An edge serves one enterprise. */
export const EDGE_VRF = 1

export class Lan {
  readonly #node: Node
  readonly #installed = new Map<string, 'subnet' | 'own'>()
  readonly #ports = new Set<number>()
  readonly #playout: PlayoutQueues
  #refused: ReadonlySet<string> = new Set()
  #subnets: LocalSubnets = { announced: [], refused: [] }

  constructor(node: Node) {
    this.#node = node
    this.#playout = new PlayoutQueues(node.kernel.network, node.log)
  }

  get announced(): readonly LocalSubnet[] {
    return this.#subnets.announced
  }

  /** What one gateway may hear of. */
  announcedTo(gateway: string): Subnet[] {
    return this.announced.flatMap(({ prefix, reachable, gateways }) =>
      !gateways || gateways.includes(gateway) ? [{ prefix, reachable }] : [],
    )
  }

  /** What the grant does not cover, and did when this was last asked, or was not there. */
  newlyRefused(): LocalSubnets['refused'] {
    const before = this.#refused
    this.#refused = new Set(this.#subnets.refused.map(({ prefix }) => prefix))
    return this.#subnets.refused.filter(({ prefix }) => !before.has(prefix))
  }

  /** Reads the kernel again and brings FIB, ports and attachments in line. The caller flushes. */
  async refresh(granted: readonly GrantedSubnet[], security: Security): Promise<void> {
    const { network } = this.#node.kernel
    const { config, fib, reconciler } = this.#node
    const [links, routes, addresses] = [await network.links(), await network.routes(), await network.addresses()]
    this.#subnets = localSubnets(config.lan, { links, routes }, granted)

    const wanted = new Map<string, 'subnet' | 'own'>()
    const flags = security === 'esp' ? ABI_NH_F_SECURE : 0
    for (const { prefix, ifindex } of this.#subnets.announced) {
      wanted.set(prefix, 'subnet')
      fib.set(EDGE_VRF, prefix, lan(ifindex, flags))
    }
    const own = ownAddresses(config.lan, links, addresses)
    for (const { address } of own) {
      const host = canonicalPrefix(`${address}/${parseAddress(address)?.family === 6 ? 128 : 32}`)
      if (host === undefined) continue
      wanted.set(host, 'own')
      fib.set(EDGE_VRF, host, local())
    }
    for (const prefix of this.#installed.keys()) if (!wanted.has(prefix)) fib.delete(EDGE_VRF, prefix)
    this.#installed.clear()
    for (const [prefix, kind] of wanted) this.#installed.set(prefix, kind)

    const ports = links.filter(link => config.lan.some(entry => entry.interface === link.name))
    // Packets overtake each other where there are several links to come by.
    const ordered = await this.#playout.refresh(config.wan.length > 1 ? ports : [])
    for (const { ifindex } of ports) {
      const mine = own.flatMap(({ ifindex: index, address }) =>
        index === ifindex ? (parseAddress(address) ?? []) : [],
      )
      const v4 = own.find(({ ifindex: index, address }) => index === ifindex && parseAddress(address)?.family === 4)
      const v6 = mine.find(address => address.family === 6 && address.bytes[0] !== 0xfe)
      this.#ports.add(ifindex)
      reconciler.want({
        kind: 'port',
        ifindex,
        value: {
          ifindex,
          vrf: EDGE_VRF,
          addr4: v4 ? be32(v4.address) : 0,
          flags: ordered.has(ifindex) ? ABI_PORT_F_FQ : 0,
          addr6: v6?.bytes ?? new Uint8Array(16),
        },
      })
      reconciler.want({ kind: 'attachment', hook: 'lan', ifindex })
    }
    for (const ifindex of this.#ports) {
      if (ports.some(link => link.ifindex === ifindex)) continue
      this.#ports.delete(ifindex)
      reconciler.drop(`port ${ifindex}`)
      reconciler.drop(`attachment lan ${ifindex}`)
    }
  }

  /** A prefix of our own must never be taken from a gateway's word. */
  owns(prefix: string): boolean {
    return this.#installed.has(prefix)
  }
}
