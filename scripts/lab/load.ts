/** Much traffic at once, between the hosts of every enterprise of a story: numbered flows in both families, and TCP transfers. */
import { join } from 'node:path'
import { Flow } from './flow.ts'
import type { Stage } from './scenario.ts'
import { PAIRS } from './steps.ts'
import { tcpCounters } from './tcp-counters.ts'
import { hostAddress, TcpTransfer } from './traffic.ts'

export interface LoadResult {
  readonly sent: number
  readonly lost: number
  /** Longest silence of any flow. */
  readonly gapMs: number
}

const FLOW_PORT = 7200
const TRANSFER_PORT = 7500
/** Processes that are started at once. */
const TOGETHER = 10
const TRANSFER_DEADLINE_MS = 60_000

/** Flows in each direction between both hosts, in turn IPv4 and IPv6. */
export class Load {
  readonly #flows: readonly Flow[]

  /** @param flows of each enterprise. @param pps of all flows together */
  static async start({ lab }: Stage, enterprises: readonly string[], flows: number, pps: number): Promise<Load> {
    const all = enterprises.flatMap(enterprise =>
      Array.from({ length: flows }, (_, index) => {
        const [from, to] = ends(enterprise, index)
        const address = hostAddress(lab, to, index % 4 < 2 ? 4 : 6)
        const port = FLOW_PORT + index
        return { from, to, address, port, tag: `${from}-${port}`, pps: Math.round(pps / (flows * enterprises.length)) }
      }),
    )
    return new Load(await Promise.all(all.map(options => Flow.start(lab, options))))
  }

  private constructor(flows: readonly Flow[]) {
    this.#flows = flows
  }

  async finish(): Promise<LoadResult> {
    const results = await Promise.all(this.#flows.map(flow => flow.finish()))
    return {
      sent: results.reduce((sum, { sent }) => sum + sent, 0),
      lost: results.reduce((sum, { lost }) => sum + lost, 0),
      gapMs: Math.max(...results.map(({ longestGapMs }) => longestGapMs)),
    }
  }
}

/** TCP transfers that send random bytes, 20 kB at a time, until they are told to end. */
export class Transfers {
  readonly #stage: Stage
  readonly #stop: string
  readonly #transfers: TcpTransfer[] = []
  #resetsBefore = 0

  static async start(stage: Stage, enterprises: readonly string[], count: number): Promise<Transfers> {
    const transfers = new Transfers(stage, join(stage.lab.machine.local, `transfers-end-${Date.now()}`))
    transfers.#resetsBefore = await resets(stage, enterprises)
    const source = `while [ ! -e ${transfers.#stop} ]; do head -c 20000 /dev/urandom; sleep 0.5; done`
    for (let begin = 0; begin < count; begin += TOGETHER) {
      const indexes = Array.from({ length: Math.min(TOGETHER, count - begin) }, (_, index) => begin + index)
      const started = indexes.map(index => {
        const [from, to] = ends(enterprises[index % enterprises.length] ?? '', index)
        const family = index % 4 < 2 ? 4 : 6
        return TcpTransfer.start(stage.lab, { from, to, family, port: TRANSFER_PORT + index, source })
      })
      transfers.#transfers.push(...(await Promise.all(started)))
    }
    return transfers
  }

  private constructor(stage: Stage, stop: string) {
    this.#stage = stage
    this.#stop = stop
  }

  /** Waits until all have ended and their hashes are equal. @returns resets that the hosts sent or got meanwhile */
  async finish(enterprises: readonly string[]): Promise<number> {
    await this.#stage.lab.machine.exec(['touch', this.#stop])
    for (const transfer of this.#transfers) await transfer.finish(TRANSFER_DEADLINE_MS)
    return (await resets(this.#stage, enterprises)) - this.#resetsBefore
  }
}

function ends(enterprise: string, index: number): [string, string] {
  const [one = '', other = ''] = PAIRS[enterprise] ?? []
  return index % 2 === 0 ? [one, other] : [other, one]
}

/** Of all hosts. */
async function resets({ lab }: Stage, enterprises: readonly string[]): Promise<number> {
  const hosts = enterprises.flatMap(enterprise => PAIRS[enterprise] ?? [])
  const counters = await Promise.all(hosts.map(host => tcpCounters(lab, host)))
  return counters.reduce((sum, each) => sum + each.resets, 0)
}
