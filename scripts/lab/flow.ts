/** Numbered UDP packets between two nodes (tools/flow.c), and what came of them. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { LabError } from './error.ts'
import type { Lab } from './lab.ts'
import type { LabProcess } from './process.ts'
import { FIRST, FLOW } from './tools.ts'
import { until } from './until.ts'

const sentSchema = z.object({ sent: z.int(), errors: z.int() })
const receivedSchema = z.object({
  received: z.int(),
  duplicated: z.int(),
  reordered: z.int(),
  foreign: z.int(),
  next: z.int(),
  longestGapMs: z.int(),
  /** from the first to the last arrival */
  spanMs: z.int(),
  /** losses in a row count once */
  lostRuns: z.int(),
  /** one way */
  delayUs: z.object({ min: z.int(), median: z.int(), p99: z.int(), max: z.int(), mean: z.int() }),
})

export type FlowResult = z.infer<typeof sentSchema> & z.infer<typeof receivedSchema> & { readonly lost: number }

export interface FlowOptions {
  readonly from: string
  readonly to: string
  /** of `to` */
  readonly address: string
  readonly port: number
  /** Packets with another tag count as foreign at the receiver. */
  readonly tag: string
  /** packets per second */
  readonly pps: number
  /** default: until finish() */
  readonly count?: number
  /** bytes of UDP payload */
  readonly size?: number
  /** 0 to 63; default 0 */
  readonly dscp?: number
  /** true: every arrival is written down, for `arrivals` */
  readonly log?: boolean
}

/** One packet that came. Times are of one clock, which is the machine's. */
export interface Arrival {
  readonly number: number
  readonly sentMs: number
  readonly arrivedMs: number
}

const START_DEADLINE_MS = 20_000

export class Flow {
  readonly #sender: LabProcess
  readonly #receiver: LabProcess
  readonly #log: string | undefined

  /** Resolves when both ends run. @throws LabError */
  static async start(lab: Lab, options: FlowOptions): Promise<Flow> {
    const name = `${options.from}-${options.to}-${options.port}-${Date.now()}`
    const common = ['--port', String(options.port), '--tag', options.tag]
    const log = options.log ? join(lab.machine.shared, `flow-${name}.arrivals`) : undefined
    const receiver = await lab.start(options.to, {
      name: `flow-receive-${name}`,
      argv: [...FIRST, FLOW, 'receive', ...common, ...(log ? ['--log', log] : [])],
    })
    await until('the flow receiver listens', START_DEADLINE_MS, async () => receiver.output().includes('ready'))
    const argv = [...FIRST, FLOW, 'send', '--to', options.address, ...common, '--pps', String(options.pps)]
    if (options.count !== undefined) argv.push('--count', String(options.count))
    if (options.size !== undefined) argv.push('--size', String(options.size))
    if (options.dscp !== undefined) argv.push('--dscp', String(options.dscp))
    return new Flow(await lab.start(options.from, { name: `flow-send-${name}`, argv }), receiver, log)
  }

  private constructor(sender: LabProcess, receiver: LabProcess, log: string | undefined) {
    this.#sender = sender
    this.#receiver = receiver
    this.#log = log
  }

  /** What came so far, in the order of arrival, copies included. @param from leaves out as many of the first */
  arrivals(from = 0): Arrival[] {
    if (this.#log === undefined) throw new LabError('input', 'this flow keeps no log')
    // What is behind the last line feed is a line that is being written.
    const lines = readFileSync(this.#log, 'utf8').split('\n').slice(from, -1)
    return lines.map(line => {
      const [number = 0, sentUs = 0, arrivedUs = 0] = line.split(' ').map(Number)
      return { number, sentMs: sentUs / 1000, arrivedMs: arrivedUs / 1000 }
    })
  }

  /** Waits for the sender's end when it has a count. @throws LabError `deadline` */
  async sent(deadlineMs: number): Promise<void> {
    await until('the flow has sent all', deadlineMs, async () => !(await this.#sender.alive()))
  }

  /** Ends the sender, lets the receiver drain, and adds up. */
  async finish(): Promise<FlowResult> {
    await this.#sender.end('INT')
    await this.#receiver.end('INT')
    const sent = last(sentSchema, this.#sender)
    const received = last(receivedSchema, this.#receiver)
    return { ...sent, ...received, lost: sent.sent - received.received }
  }
}

function last<T>(schema: z.ZodType<T>, process: LabProcess): T {
  const line = process.output().trimEnd().split('\n').at(-1) ?? ''
  try {
    return schema.parse(JSON.parse(line))
  } catch (cause) {
    throw new LabError('process', `${process.name} gave no result: ${process.tail()}`, { cause })
  }
}
