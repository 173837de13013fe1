/**
 * WAN links of this node as the kernel has them now: device, MTU, usable addresses. `WanLinks` follows netlink and tells when something changed;
 * it owns the handshake sockets, one per address, so that an answer leaves from the address, and by the device, that was asked.
 */
import { parseAddress } from '../../schema/address.ts'
import type { Address, KernelPort, Link } from '../kernel/port.ts'
import type { Logger } from '../log.ts'
import type { DatagramSocket, Endpoint, NetPort } from '../mp/net.ts'
import { ensureLinkRoutes } from './link-routes.ts'
import { segmenterName } from './offload-devices.ts'
import { type Leads, Queues } from './queues.ts'

export interface WanConfig {
  name: string
  interface: string
  families: readonly (4 | 6)[]
  /** Absent: unknown. */
  upMbps?: number | undefined
  downMbps?: number | undefined
  backup?: boolean | undefined
  metered?: boolean | undefined
}

export interface WanLink {
  name: string
  /** Stable: the position in the configuration; also the path id of an edge's paths over this link. */
  index: number
  ifindex: number
  mtu: number
  /** Of the device, as rtnetlink names it: `veth`, undefined for hardware. */
  kind: string | undefined
  /** ifindex of the macvlan over it that cuts GSO packets (offload-devices.ts); 0: none. */
  segmenter: number
  usable: boolean
  addresses: { family: 4 | 6; address: string }[]
  /** As configured; undefined: unknown. */
  upMbps: number | undefined
  downMbps: number | undefined
  backup: boolean
  metered: boolean
}

export interface Arrival {
  link: WanLink
  socket: DatagramSocket
  from: Endpoint
}

/** Pure: configuration and kernel state -> links. Link-local and tentative addresses are of no use to a tunnel. */
export function wanLinks(wan: readonly WanConfig[], links: readonly Link[], addresses: readonly Address[]): WanLink[] {
  return wan.flatMap((entry, index) => {
    const link = links.find(candidate => candidate.name === entry.interface)
    if (!link) return []
    const own = addresses.flatMap(({ ifindex, address }) => {
      const parsed = ifindex === link.ifindex ? parseAddress(address) : undefined
      if (!parsed || !entry.families.includes(parsed.family) || (parsed.family === 6 && parsed.bytes[0] === 0xfe))
        return []
      return [{ family: parsed.family, address }]
    })
    return [
      {
        name: entry.name,
        index,
        ifindex: link.ifindex,
        mtu: link.mtu,
        kind: link.kind,
        segmenter:
          links.find(({ name, parent }) => name === segmenterName({ index }) && parent === link.ifindex)?.ifindex ?? 0,
        usable: link.up && link.running && own.length > 0,
        addresses: own,
        upMbps: entry.upMbps,
        downMbps: entry.downMbps,
        backup: entry.backup ?? false,
        metered: entry.metered ?? false,
      },
    ]
  })
}

export class WanLinks {
  readonly #wan: readonly WanConfig[]
  readonly #kernel: KernelPort
  readonly #net: NetPort
  readonly #port: number
  readonly #onPacket: (packet: Uint8Array, arrival: Arrival) => void
  readonly #queues: Queues
  readonly #sockets = new Map<string, { ifindex: number; socket: DatagramSocket }>()
  #links: WanLink[] = []
  #leads: Leads = new Map()
  #closed = false

  constructor(options: {
    wan: readonly WanConfig[]
    kernel: KernelPort
    net: NetPort
    port: number
    log: Logger
    onPacket: (packet: Uint8Array, arrival: Arrival) => void
  }) {
    this.#wan = options.wan
    this.#kernel = options.kernel
    this.#net = options.net
    this.#port = options.port
    this.#onPacket = options.onPacket
    this.#queues = new Queues(options.kernel.network, options.log)
  }

  get links(): readonly WanLink[] {
    return this.#links
  }

  /** What packets may wait for in front of each link, which its queues are told. */
  async lead(leads: Leads): Promise<void> {
    this.#leads = leads
    await this.#queues.refresh(this.#links, leads)
  }

  socket(address: string): DatagramSocket | undefined {
    return this.#sockets.get(address)?.socket
  }

  linkOf(address: string): WanLink | undefined {
    return this.#links.find(link => link.addresses.some(own => own.address === address))
  }

  /** Reads the kernel's state again, and gives each link its routes and queues. Throws when a socket cannot be had for another reason than an address that is not there yet. */
  async refresh(): Promise<void> {
    const { network } = this.#kernel
    this.#links = wanLinks(this.#wan, await network.links(), await network.addresses())
    await ensureLinkRoutes(network, this.#wan, this.#links)
    await this.#queues.refresh(this.#links, this.#leads)
    const wanted = new Map(
      this.#links.flatMap(({ ifindex, addresses }) => addresses.map(({ address }) => [address, ifindex] as const)),
    )
    for (const [address, { ifindex, socket }] of this.#sockets) {
      if (wanted.get(address) === ifindex) continue
      this.#sockets.delete(address)
      socket.close()
    }
    for (const [address, ifindex] of wanted) if (!this.#sockets.has(address)) await this.#open(address, ifindex)
  }

  async #open(address: string, ifindex: number): Promise<void> {
    try {
      const socket = await this.#net.datagram({ address, port: this.#port, ifindex }, (packet, from) => {
        const link = this.linkOf(address)
        if (link) this.#onPacket(packet, { link, socket, from })
      })
      if (this.#closed) socket.close()
      else this.#sockets.set(address, { ifindex, socket })
    } catch (error) {
      // IPv6 duplicate address detection still runs: netlink tells when it is done.
      if (!(error instanceof Error && 'code' in error && error.code === 'EADDRNOTAVAIL')) throw error
    }
  }

  close(): void {
    this.#closed = true
    for (const { socket } of this.#sockets.values()) socket.close()
    this.#sockets.clear()
  }
}
