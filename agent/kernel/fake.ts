/**
 * A kernel in memory, for tests and for simulations of thousands of nodes: the same port, the same errors (conformance.ts). One
 * FakeKernel is one machine; its maps and attachments outlive the agents that come and go, as pinned objects do.
 */
import { ABI_HASH, type Event } from '../../schema/abi.gen.ts'
import { KernelError } from './error.ts'
import { FakeDataplane, type FakePins, fakeFlows, fakeMaps } from './fake/dataplane.ts'
import { FakeFib } from './fake/fib.ts'
import { FakeNetwork } from './fake/network.ts'
import { FakeXfrm } from './fake/xfrm.ts'
import type { Capabilities, Dataplane, DataplaneOptions, KernelPort, Maps } from './port.ts'
import { hooksFor } from './programs.ts'

export interface FakeKernelOptions {
  /** Default true. */
  esp?: boolean
  /** ns; default: the process's monotonic clock. */
  clock?: () => bigint
}

export class FakeKernel implements KernelPort {
  readonly network: FakeNetwork
  readonly xfrm: FakeXfrm
  readonly monotonic: () => bigint
  readonly #esp: boolean
  readonly #pins = new Map<string, FakePins>()
  readonly #open = new Set<Dataplane>()

  constructor(options: FakeKernelOptions = {}) {
    this.#esp = options.esp ?? true
    this.monotonic = options.clock ?? (() => process.hrtime.bigint())
    this.network = new FakeNetwork(this.#esp)
    this.xfrm = new FakeXfrm(this.#esp)
  }

  async capabilities(): Promise<Capabilities> {
    const espReason = this.#esp ? undefined : 'this kernel has no ESP'
    return { kernel: '6.12.0-fake', esp: this.#esp, espReason, problems: [] }
  }

  async openDataplane({ bpffs, esp, sizes, hooks = hooksFor(esp) }: DataplaneOptions): Promise<Dataplane> {
    if (esp && !this.#esp)
      throw new KernelError('load', 'ipsec.bpf.o', 'EINVAL', "extern (func ksym) 'bpf_skb_get_xfrm_info': not found")
    const pinned = this.#pins.get(bpffs)
    const same = pinned?.maps.node.get(0)?.abiHash === ABI_HASH
    const pins: FakePins =
      pinned && same
        ? pinned
        : {
            maps: fakeMaps(sizes),
            flows: fakeFlows(sizes),
            fib: new FakeFib(sizes ?? {}),
            attachments: new Map(),
            handlers: new Set<(event: Event) => void>(),
          }
    this.#pins.set(bpffs, pins)
    const dataplane = new FakeDataplane({
      pins,
      adoption: pinned ? (same ? 'adopted' : 'rebuilt') : 'created',
      ...(pinned && !same && { reason: 'the pinned maps have another layout' }),
      hooks,
      hasDevice: ifindex => this.network.has(ifindex),
      unpin: () => this.#pins.delete(bpffs),
    })
    this.#open.add(dataplane)
    return dataplane
  }

  /** The agent's process ends; the machine and what is pinned go on. */
  close(): void {
    for (const dataplane of this.#open) dataplane.close()
    this.#open.clear()
    this.network.unwatchAll()
  }

  /** The maps that programs would use: those of the only bpffs folder, undefined before a dataplane was opened. */
  maps(): Maps | undefined {
    return this.#only()?.maps
  }

  /** Its routes, alike. */
  fib(): FakeFib | undefined {
    return this.#only()?.fib
  }

  /** A program samples an event. */
  emit(event: Event): void {
    for (const handler of this.#only()?.handlers ?? []) handler(event)
  }

  #only(): FakePins | undefined {
    const [first] = this.#pins.values()
    return first
  }
}
