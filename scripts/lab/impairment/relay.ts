/** The relay (tools/impair.c) on a spliced link: works on every kernel, knows every setting, draws from a seed. */
import { join } from 'node:path'
import { z } from 'zod'
import { LabError } from '../error.ts'
import type { Lab } from '../lab.ts'
import { run } from '../machine.ts'
import { LabProcess } from '../process.ts'
import { FIRST, IMPAIR } from '../tools.ts'
import { until } from '../until.ts'
import { bucketOf, type Direction, type Profile } from './profile.ts'
import type { Splice } from './splice.ts'

const START_DEADLINE_MS = 20_000
const NS_PER_MS = 1e6

const count = z.int().min(0)
const directionSchema = z.object({
  received: count,
  sent: count,
  sentBytes: count,
  /** now */
  waiting: count,
  blackhole: count,
  loss: count,
  /** of the rate */
  queue: count,
  /** more waits than the relay keeps */
  memory: count,
  /** super-packets and unfinished checksums: whoever sent them has offloads on */
  offloaded: count,
  /** came faster than the relay read */
  missed: count,
  /** by the device that it should leave by */
  refused: count,
  duplicated: count,
  corrupted: count,
  reordered: count,
})
export type RelayCounters = z.output<typeof directionSchema>

export class Relay {
  readonly #lab: Lab
  readonly #splice: Splice
  readonly #name: string
  readonly #socket: string

  constructor(lab: Lab, splice: Splice) {
    this.#lab = lab
    this.#splice = splice
    this.#name = `impair-${splice.node}`
    this.#socket = join(lab.machine.local, `${this.#name}.sock`)
  }

  /** @returns the seed that it draws from, given or made. @throws LabError with the relay's complaint */
  async start(seed?: number): Promise<number> {
    const { wan, node, router } = this.#splice
    const argv = [...FIRST, IMPAIR, 'relay', '--node', node, '--router', router, '--socket', this.#socket]
    const options = { name: this.#name, argv: seed === undefined ? argv : [...argv, '--seed', String(seed)] }
    // The log goes on from an earlier relay of this link, whose words are not this one's.
    const before = LabProcess.find(this.#lab.machine, this.#name)?.output().length ?? 0
    const process = await this.#lab.start(wan, options)
    return until('the relay runs', START_DEADLINE_MS, async () => {
      const ready = /^ready seed (\d+)$/m.exec(process.output().slice(before))
      if (!(await process.alive())) throw new LabError('process', `the relay ended: ${process.tail()}`)
      return ready ? Number(ready[1]) : undefined
    })
  }

  async set(direction: Direction, profile: Profile): Promise<void> {
    const bucket = bucketOf(profile, this.#splice.mtu)
    const { delayMs = 0, jitterMs = 0, reorder, reorderByMs = delayMs, only = {} } = profile
    await this.#ask({
      do: 'set',
      direction,
      delayNs: Math.round(delayMs * NS_PER_MS),
      jitterNs: Math.round(jitterMs * NS_PER_MS),
      loss: profile.loss,
      burst: profile.burst,
      evenBursts: profile.evenBursts,
      duplicate: profile.duplicate,
      corrupt: profile.corrupt,
      reorder,
      reorderByNs: reorder ? Math.round(reorderByMs * NS_PER_MS) : undefined,
      rate: bucket?.rate,
      bucket: bucket?.bytes,
      queueNs: bucket && Math.round(bucket.queueMs * NS_PER_MS),
      blackhole: profile.blackhole,
      largerThan: only.largerThan,
      smallerThan: only.smallerThan,
      matchBytes: only.match?.bytes,
      matchOffset: only.match?.offset,
      matchMask: only.match?.mask,
      matchValue: only.match?.value,
    })
  }

  async counters(): Promise<Record<Direction, RelayCounters>> {
    return z.object({ out: directionSchema, in: directionSchema }).parse(await this.#ask({ do: 'counters' }))
  }

  /** Nothing passes any more. */
  async stop(): Promise<void> {
    await LabProcess.find(this.#lab.machine, this.#name)?.end('TERM')
  }

  async #ask(command: object): Promise<unknown> {
    const answer: unknown = JSON.parse(
      await run(this.#lab.machine, [IMPAIR, 'ask', this.#socket, JSON.stringify(command)]),
    )
    const refused = z.object({ error: z.string() }).safeParse(answer)
    if (refused.success)
      throw new LabError('command', `the relay refuses ${JSON.stringify(command)}: ${refused.data.error}`)
    return answer
  }
}
