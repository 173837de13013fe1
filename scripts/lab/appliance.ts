/** A service function of somebody else, which speaks Geneve (tools/appliance.c), in the node `appliance`. */
import { z } from 'zod'
import { LabError } from './error.ts'
import type { Lab } from './lab.ts'
import type { LabProcess } from './process.ts'
import { APPLIANCE } from './tools.ts'
import { until } from './until.ts'

const countsSchema = z.object({
  packets: z.int(),
  bad: z.int(),
  flows: z.int(),
  asymmetric: z.int(),
  forged: z.int(),
})
export type ApplianceCounts = z.infer<typeof countsSchema>

const NODE = 'appliance'
const START_DEADLINE_MS = 20_000
const FORGE_DEADLINE_MS = 120_000

export class Appliance {
  readonly #process: LabProcess

  static async start(lab: Lab): Promise<Appliance> {
    const process = await lab.start(NODE, { name: NODE, argv: [APPLIANCE] })
    await until('the appliance is ready', START_DEADLINE_MS, async () => process.output().includes('ready'))
    return new Appliance(process)
  }

  private constructor(process: LabProcess) {
    this.#process = process
  }

  /** Sends what the gateway must not take, a hundred thousand times. */
  async forge(): Promise<void> {
    await this.#process.signal('USR1')
    await until('all forgeries were sent', FORGE_DEADLINE_MS, async () => this.#process.output().includes('forged\n'))
  }

  async finish(): Promise<ApplianceCounts> {
    await this.#process.end('INT')
    const line = this.#process.output().trimEnd().split('\n').at(-1) ?? ''
    const parsed = countsSchema.safeParse(JSON.parse(line))
    if (!parsed.success) throw new LabError('process', `the appliance gave no result: ${this.#process.tail()}`)
    return parsed.data
  }
}
