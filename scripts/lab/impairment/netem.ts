/**
 * The kernel's own: tc mirred carries frames between the two devices of a spliced link, netem and tbf on each impair what leaves by it.
 * Delay comes before the rate here and behind it in the relay, which sums up to the same. netem draws from the kernel's random numbers: no seed.
 */
import { z } from 'zod'
import { LabError } from '../error.ts'
import type { Lab } from '../lab.ts'
import { type Machine, sh } from '../machine.ts'
import { bucketOf, type Direction, type Profile } from './profile.ts'
import type { Splice } from './splice.ts'

/** netem's own limit is in packets, and must not be what fills first: 10 s at 10,000 packets a second. */
const NETEM_LIMIT = 100_000

const qdiscsSchema = z.array(
  z.object({ kind: z.string(), bytes: z.int(), packets: z.int(), drops: z.int(), qlen: z.int() }),
)

export interface NetemCounters {
  readonly sent: number
  readonly sentBytes: number
  readonly waiting: number
  /** blackhole too */
  readonly loss: number
  /** of the rate */
  readonly queue: number
}

/** Tried in a namespace that ends with the command. */
export async function hasNetem(machine: Machine): Promise<boolean> {
  // Named in full: ip takes a device called `a` for the word `address`.
  const script = `ip link add name try0 type veth peer name try1
    tc qdisc add dev try0 root netem delay 1ms
    tc qdisc add dev try0 clsact
    tc filter add dev try0 ingress matchall action mirred egress redirect dev try1`
  return (await machine.exec(['unshare', '--net', 'sh', '-ec', script])).code === 0
}

export class Netem {
  readonly #lab: Lab
  readonly #splice: Splice

  constructor(lab: Lab, splice: Splice) {
    this.#lab = lab
    this.#splice = splice
  }

  async start(): Promise<void> {
    const { node, router } = this.#splice
    const carry = (from: string, to: string) => `tc qdisc add dev ${from} clsact
      tc filter add dev ${from} ingress matchall action mirred egress redirect dev ${to}
      tc qdisc add dev ${from} root handle 1: netem limit ${NETEM_LIMIT}`
    await this.#sh(`${carry(node, router)}\n${carry(router, node)}`)
  }

  /** Changes in place: what waits goes on waiting. */
  async set(direction: Direction, profile: Profile): Promise<void> {
    const device = this.#device(direction)
    const bucket = bucketOf(profile, this.#splice.mtu)
    const rate = bucket
      ? `tc qdisc replace dev ${device} parent 1:1 handle 2: tbf rate ${bucket.rate}bit burst ${bucket.bytes}b latency ${microseconds(bucket.queueMs)}`
      : `tc qdisc del dev ${device} parent 1:1 2>/dev/null || true`
    await this.#sh(`tc qdisc change dev ${device} root handle 1: netem ${netemWords(profile)}\n${rate}`)
  }

  async counters(): Promise<Record<Direction, NetemCounters>> {
    const [out, back] = await Promise.all([this.#count('out'), this.#count('in')])
    return { out, in: back }
  }

  async stop(): Promise<void> {
    const ends = [this.#splice.node, this.#splice.router]
    const lines = ends.flatMap(end =>
      ['clsact', 'root'].map(which => `tc qdisc del dev ${end} ${which} 2>/dev/null || true`),
    )
    await this.#sh(lines.join('\n'))
  }

  async #count(direction: Direction): Promise<NetemCounters> {
    const text = await this.#sh(`tc -s -j qdisc show dev ${this.#device(direction)}`)
    const qdiscs = qdiscsSchema.parse(JSON.parse(text))
    const root = qdiscs.find(({ kind }) => kind === 'netem')
    if (!root) throw new LabError('command', `netem is gone from ${this.#device(direction)}`)
    const queue = qdiscs.find(({ kind }) => kind === 'tbf')?.drops ?? 0
    return { sent: root.packets, sentBytes: root.bytes, waiting: root.qlen, loss: root.drops - queue, queue }
  }

  /** Where the direction leaves the splice. */
  #device(direction: Direction): string {
    return direction === 'out' ? this.#splice.router : this.#splice.node
  }

  #sh(script: string): Promise<string> {
    const { wan } = this.#splice
    return sh(this.#lab.machine, `nsenter --net=${this.#lab.namespace(wan)} sh -es <<'END'\n${script}\nEND`)
  }
}

/** tc-netem(8). @throws LabError `input` for what only the relay can do */
export function netemWords(profile: Profile): string {
  const { delayMs, jitterMs, loss, burst, duplicate, corrupt = 0, reorder, reorderByMs } = profile
  if (profile.only) throw new LabError('input', 'netem impairs every packet: for a filter take --with relay')
  if (profile.evenBursts)
    throw new LabError('input', 'netem draws the length of a burst: for even ones take --with relay')
  if (reorderByMs !== undefined && reorderByMs !== delayMs)
    throw new LabError(
      'input',
      'netem sends a reordered packet at once, by the whole delay: for less take --with relay',
    )
  const words = [`limit ${NETEM_LIMIT}`]
  if (delayMs !== undefined) words.push(`delay ${microseconds(delayMs)} ${microseconds(jitterMs ?? 0)}`)
  if (profile.blackhole) words.push('loss 100%')
  else if (loss !== undefined && burst !== undefined && loss < 1) {
    const out = 1 / burst
    words.push(`loss gemodel ${percent((out * loss) / (1 - loss))} ${percent(out)}`)
  } else if (loss !== undefined) words.push(`loss ${percent(loss)}`)
  if (duplicate !== undefined) words.push(`duplicate ${percent(duplicate)}`)
  // Left out, an earlier share would stay.
  words.push(`corrupt ${percent(corrupt)}`)
  if (reorder) words.push(`reorder ${percent(reorder)}`)
  return words.join(' ')
}

function percent(share: number): string {
  return `${(share * 100).toFixed(6)}%`
}

function microseconds(ms: number): string {
  return `${Math.round(ms * 1000)}us`
}
