/**
 * The queue in front of each WAN link of known rate, so that it forms here, where classes are told apart, and not in the provider's device:
 *
 *   2426:    htb, by skb->priority (bpf/path/class.h), which names a class and needs no filter
 *   2426:1     0.97 of the link
 *   2426:16      real-time      0.4 of that for itself, first of all in what others leave
 *   2426:14      transactional  0.3, second
 *   2426:10      default        0.2, third; also the machine's own traffic
 *   2426:12      bulk           0.1, last
 *
 * Below each fq_codel, where the kernel has it (RFC 8290), else a short pfifo. Handles are hexadecimal, as tc shows them.
 *
 * Of a class that goes packet by packet over several links, packets wait here for as long as this link is quicker than the slowest (bpf/path/spread.h):
 * that *lead* is no standing queue, and CoDel leaves it alone.
 *
 * Packets are numbered before they wait. A class that the others hold back must therefore not fall behind by more numbers than the replay window
 * has (2048): hence its own share of the link, and a limit that is as many packets as leave in the time that the share takes for them.
 */
import { ABI_QUEUE_MAJOR, ABI_QUEUE_MINOR, ABI_QUEUE_PRIORITIES, trafficClass } from '../../schema/abi.gen.ts'
import { KernelError } from '../kernel/error.ts'
import type { Network } from '../kernel/port.ts'
import { type HtbClass, type QdiscSpec, ROOT } from '../kernel/queueing.ts'
import type { Logger } from '../log.ts'
import type { WanLink } from './links.ts'

export const HANDLE = ABI_QUEUE_MAJOR << 16
/** Majors of the pfifos, above those of the fq_codels. */
const PLAIN = 8
const LINK_CLASS = HANDLE | 1

/** What is left to the provider's queue to drain. */
export const RATE_SHARE = 0.97
const ETHERNET_HEADER = 14
/** Packets of a path that may overtake one that waits: below the 2048 of the replay window (bpf/path/window.h). */
const OVERTAKING = 1800
/** CoDel, RFC 8289 §4.2 and §4.3; its target must have room for a packet and a half. */
const TARGET_US = 5000
const INTERVAL_US = 100_000
/** A pfifo knows no time: as many packets as the link carries in this one. */
const PFIFO_MS = 20
const PFIFO_LEAST = 8

const CLASSES = [
  { class: trafficClass.CLASS_REALTIME, share: 0.4 },
  { class: trafficClass.CLASS_TRANSACTIONAL, share: 0.3 },
  { class: trafficClass.CLASS_DEFAULT, share: 0.2 },
  { class: trafficClass.CLASS_BULK, share: 0.1 },
]

/** How much quicker links are than the slowest that a class is spread over, packet by packet: µs, by ifindex and class. */
export type Leads = ReadonlyMap<number, readonly number[]>

export interface QueuePlan {
  root: QdiscSpec
  classes: HtbClass[]
  /** By preference. */
  leaves: { best: QdiscSpec; plain: QdiscSpec }[]
}

/** Minor of a class's queue, as path/class.h has it. */
export function queueMinor(of: number): number {
  return ABI_QUEUE_MINOR | ((ABI_QUEUE_PRIORITIES >> (of * 4)) & 0xf)
}

export interface RatedLink {
  ifindex: number
  /** of the device, bytes */
  mtu: number
  upMbps: number
  /** by class, µs; default none */
  leadUs?: readonly number[]
}

/** Pure. */
export function queuePlan({ ifindex, mtu, upMbps, leadUs = [] }: RatedLink): QueuePlan {
  const frame = mtu + ETHERNET_HEADER
  const rate = Math.round(upMbps * 125_000 * RATE_SHARE)
  // A millisecond, but two frames at least: a bucket that one does not fit into never lets it go.
  const burst = Math.max(2 * frame, Math.round(rate / 1000))
  const common = { ifindex, ceil: rate, burst, quantum: frame }
  const frameUs = (frame / rate) * 1e6
  return {
    root: { kind: 'htb', ifindex, handle: HANDLE, parent: ROOT, defaultMinor: queueMinor(trafficClass.CLASS_DEFAULT) },
    classes: [
      { ...common, handle: LINK_CLASS, parent: HANDLE, rate, priority: 0 },
      ...CLASSES.map(({ class: of, share }, priority) => ({
        ...common,
        handle: HANDLE | queueMinor(of),
        parent: LINK_CLASS,
        rate: Math.max(1, Math.round(rate * share)),
        priority,
      })),
    ],
    leaves: CLASSES.map(({ class: of, share }, place) => {
      const at = { ifindex, handle: (ABI_QUEUE_MAJOR + 1 + place) << 16, parent: HANDLE | queueMinor(of) }
      const limit = Math.round(OVERTAKING * share)
      const lead = leadUs[of] ?? 0
      const short = Math.min(limit, Math.max(PFIFO_LEAST, Math.round((PFIFO_MS * 1000 + lead) / frameUs)))
      const quickUs = Math.round(Math.max(TARGET_US, (1.5 * frameUs) / share))
      return {
        best: {
          ...at,
          kind: 'fq_codel',
          limit,
          targetUs: quickUs + lead,
          intervalUs: Math.max(INTERVAL_US, 20 * quickUs),
          ecn: true,
        },
        // Another handle: the kernel does not change a qdisc's kind.
        plain: { ...at, handle: (ABI_QUEUE_MAJOR + PLAIN + place) << 16, kind: 'pfifo', limit: short },
      }
    }),
  }
}

export class Queues {
  readonly #network: Network
  readonly #log: Logger
  /** What each device was given. */
  readonly #given = new Map<number, string>()
  #leaf: 'best' | 'plain' = 'best'

  constructor(network: Network, log: Logger) {
    this.#network = network
    this.#log = log
  }

  /**
   * Call with the links of now: makes, changes and removes. A former agent's are taken over, with the packets in them.
   * @param leads by ifindex and class, µs. @throws KernelError when the kernel cannot be read
   */
  async refresh(links: readonly WanLink[], leads: Leads = new Map()): Promise<void> {
    const wanted = links.filter(link => link.upMbps !== undefined)
    const roots = (await this.#network.qdiscs()).filter(({ parent }) => parent === ROOT)
    for (const { ifindex, handle, kind } of roots) {
      if (handle !== HANDLE || kind !== 'htb' || wanted.some(link => link.ifindex === ifindex)) continue
      await this.#network.deleteQdisc({ ifindex, parent: ROOT }).catch(unlessGone)
      this.#given.delete(ifindex)
    }
    for (const { name, ifindex, mtu, upMbps } of wanted) {
      if (upMbps === undefined) continue
      const before = roots.find(root => root.ifindex === ifindex)
      const ours = before?.handle === HANDLE && before.kind === 'htb'
      const leadUs = leads.get(ifindex) ?? []
      const given = `${mtu} ${upMbps} ${leadUs.join()}`
      if (ours && this.#given.get(ifindex) === given) continue
      if (!ours && before && before.handle !== 0)
        this.#log.warn({ link: name }, `WAN link ${name}: its qdisc ${before.kind} gives way, because upMbps is set`)
      try {
        await this.#give(queuePlan({ ifindex, mtu, upMbps, leadUs }), ours)
        this.#given.set(ifindex, given)
      } catch (error) {
        if (!(error instanceof KernelError)) throw error
        this.#log.warn({ err: error, link: name }, `no queues on WAN link ${name}: real-time waits behind bulk there`)
      }
    }
  }

  async #give({ root, classes, leaves }: QueuePlan, adopt: boolean): Promise<void> {
    if (!adopt) await this.#network.replaceQdisc(root)
    for (const each of classes) await this.#network.replaceClass(each)
    for (const leaf of leaves) await this.#giveLeaf(leaf)
  }

  async #giveLeaf({ best, plain }: QueuePlan['leaves'][number]): Promise<void> {
    if (this.#leaf === 'best')
      try {
        return await this.#network.replaceQdisc(best)
      } catch (error) {
        if (!(error instanceof KernelError && error.code === 'ENOENT')) throw error
        this.#log.info(
          { err: error },
          `this kernel has no ${best.kind}: one queue per class, without fairness inside it`,
        )
        this.#leaf = 'plain'
      }
    await this.#network.replaceQdisc(plain)
  }
}

function unlessGone(error: unknown): void {
  if (!(error instanceof KernelError && ['ENOENT', 'ENODEV'].includes(error.code))) throw error
}
