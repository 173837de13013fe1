/** Numbered UDP packets between two nodes (tools/flow.c), and what came of them. */
import { z } from 'zod'
import { LabError } from './error.ts'
import type { Lab } from './lab.ts'
import type { LabProcess } from './process.ts'
import { FLOW } from './tools.ts'
import { until } from './until.ts'

const sentSchema = z.object({ sent: z.int(), errors: z.int() })
const receivedSchema = z.object({
  received: z.int(),
  duplicated: z.int(),
  reordered: z.int(),
  foreign: z.int(),
  next: z.int(),
  longestGapMs: z.int(),
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
}

const START_DEADLINE_MS = 20_000

export class Flow {
  readonly #sender: LabProcess
  readonly #receiver: LabProcess

  /** Resolves when both ends run. @throws LabError */
  static async start(lab: Lab, options: FlowOptions): Promise<Flow> {
    const name = `${options.from}-${options.to}-${options.port}-${Date.now()}`
    const common = ['--port', String(options.port), '--tag', options.tag]
    const receiver = await lab.start(options.to, {
      name: `flow-receive-${name}`,
      argv: [FLOW, 'receive', ...common],
    })
    await until('the flow receiver listens', START_DEADLINE_MS, async () => receiver.output().includes('ready'))
    const argv = [FLOW, 'send', '--to', options.address, ...common, '--pps', String(options.pps)]
    if (options.count !== undefined) argv.push('--count', String(options.count))
    if (options.size !== undefined) argv.push('--size', String(options.size))
    return new Flow(await lab.start(options.from, { name: `flow-send-${name}`, argv }), receiver)
  }

  private constructor(sender: LabProcess, receiver: LabProcess) {
    this.#sender = sender
    this.#receiver = receiver
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
