/** Which program hangs on which device. */
import type { AgentConfig } from '../config.ts'
import { KernelError } from '../kernel/error.ts'
import type { Dataplane, Network } from '../kernel/port.ts'
import type { Logger } from '../log.ts'
import type { Reconciler } from '../plan/reconciler.ts'
import type { Resource } from '../plan/resource.ts'
import { type Devices, relaxReversePath } from './devices.ts'
import type { NodePairs } from './hold-devices.ts'
import type { WanLink } from './links.ts'

export interface AttachmentsOptions {
  config: Pick<AgentConfig, 'wan' | 'xdp'>
  network: Network
  dataplane: Dataplane
  reconciler: Reconciler
  log: Logger
  /** Packets go from tunnel to tunnel here: a gateway. */
  relays: boolean
}

export class Attachments {
  readonly #options: AttachmentsOptions
  readonly #wanDevices = new Set<number>()
  /** WAN devices whose driver refused it. */
  readonly #withoutXdp = new Set<number>()

  constructor(options: AttachmentsOptions) {
    this.#options = options
  }

  /** Also relaxes the reverse-path filters of WAN links, whose devices may be new. The caller flushes. */
  want({ mp0, mp1, ipsec0 }: Devices, { gather, hold }: NodePairs, links: readonly WanLink[]): void {
    const { config, network } = this.#options
    this.#want('mp-egress', mp0.ifindex)
    this.#want('mp-ingress', mp1.ifindex)
    if (gather) this.#want('gather', gather.mpg1.ifindex)
    if (hold) this.#want('hold', hold.mph1.ifindex)
    if (ipsec0) {
      this.#want('ipsec-egress', ipsec0.ifindex)
      this.#want('ipsec-ingress', ipsec0.ifindex)
    }
    this.#dropGone(links)
    for (const link of links) {
      this.#wanDevices.add(link.ifindex)
      this.#want('wan', link.ifindex)
      this.#want('wan-egress', link.ifindex)
      if (this.#takesXdp(link)) this.#want('wan-xdp', link.ifindex)
      const device = config.wan.find(entry => entry.name === link.name)?.interface
      if (device) relaxReversePath(network, device)
    }
  }

  #want(hook: Extract<Resource, { kind: 'attachment' }>['hook'], ifindex: number): void {
    this.#options.reconciler.want({ kind: 'attachment', hook, ifindex })
  }

  #dropGone(links: readonly WanLink[]): void {
    for (const ifindex of this.#wanDevices) {
      if (links.some(link => link.ifindex === ifindex)) continue
      this.#wanDevices.delete(ifindex)
      this.#withoutXdp.delete(ifindex)
      for (const hook of ['wan', 'wan-egress', 'wan-xdp'])
        this.#options.reconciler.drop(`attachment ${hook} ${ifindex}`)
    }
  }

  /**
   * Whether wan_xdp is on the device, after a try. Only a gateway has packets for it, and a driver without native XDP is none to log every
   * second. On a veth it would take TSO from the other end, which in turn has to poll, or frames are lost.
   */
  #takesXdp({ ifindex, kind, name, upMbps }: WanLink): boolean {
    const { config, dataplane, relays, log } = this.#options
    // Frames would pass the link's queues by.
    if (upMbps !== undefined) return false
    const asked = relays && (config.xdp === 'on' || (config.xdp === 'auto' && kind !== 'veth'))
    if (!asked || this.#withoutXdp.has(ifindex)) return false
    try {
      dataplane.attach('wan-xdp', ifindex)
      dataplane.maps.frameDevices.set(ifindex, ifindex)
      return true
    } catch (error) {
      if (!(error instanceof KernelError)) throw error
      this.#withoutXdp.add(ifindex)
      log.info({ err: error, link: name }, `no native XDP on WAN link ${name}: clear packets between tunnels go by tc`)
      return false
    }
  }
}
