/**
 * The queue of LAN ports where packets that several paths brought are put in order again: fq, which sends each at its time (bpf/path/playout.h).
 * It takes the place of the kernel's default only; of a qdisc that somebody chose nothing is known, but that an fq is one.
 */
import { KernelError } from '../kernel/error.ts'
import type { Link, Network } from '../kernel/port.ts'
import { ROOT } from '../kernel/queueing.ts'
import type { Logger } from '../log.ts'
import { HANDLE } from './queues.ts'

/** Packets. All that one tunnel brings may be one flow to fq, and its default of 100 is soon reached by what waits for 60 ms. */
export const FQ_LIMITS = { kind: 'fq', limit: 100_000, flowLimit: 10_000 } as const

export class PlayoutQueues {
  readonly #network: Network
  readonly #log: Logger
  /** Ports of which it was said that they have none. */
  readonly #without = new Set<number>()

  constructor(network: Network, log: Logger) {
    this.#network = network
    this.#log = log
  }

  /** @param ports those that are to have one; what a former configuration left elsewhere goes. @returns ifindexes of those that have */
  async refresh(ports: readonly Link[]): Promise<ReadonlySet<number>> {
    const roots = (await this.#network.qdiscs()).filter(({ parent }) => parent === ROOT)
    const ready = new Set<number>()
    for (const { ifindex, name } of ports) {
      const root = roots.find(each => each.ifindex === ifindex)
      if (root?.kind === 'fq' || (await this.#make(ifindex, root?.handle ?? 0, root?.kind, name))) ready.add(ifindex)
    }
    for (const { ifindex, handle, kind } of roots)
      if (kind === 'fq' && handle === HANDLE && !ready.has(ifindex))
        await this.#network.deleteQdisc({ ifindex, parent: ROOT }).catch(unlessGone)
    return ready
  }

  async #make(ifindex: number, handle: number, kind: string | undefined, name: string): Promise<boolean> {
    if (this.#without.has(ifindex)) return false
    let why = `its qdisc ${kind} is somebody's own`
    if (handle === 0)
      try {
        await this.#network.replaceQdisc({ ...FQ_LIMITS, ifindex, handle: HANDLE, parent: ROOT })
        return true
      } catch (error) {
        if (!(error instanceof KernelError)) throw error
        why = error.message
      }
    this.#without.add(ifindex)
    this.#log.info({ port: name }, `LAN port ${name} has no fq, so packets that overtook each other stay so: ${why}`)
    return false
  }
}

function unlessGone(error: unknown): void {
  if (!(error instanceof KernelError && ['ENOENT', 'ENODEV'].includes(error.code))) throw error
}
