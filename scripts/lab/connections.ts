/** Many TCP connections from one host to the server of the Internet (tools/connections.c). */
import { z } from 'zod'
import { LabError } from './error.ts'
import type { Lab } from './lab.ts'
import type { LabProcess } from './process.ts'
import { CONNECTIONS } from './tools.ts'
import { hostAddress } from './traffic.ts'
import { until } from './until.ts'
import { listens } from './web.ts'

const openedSchema = z.object({ opened: z.int(), failed: z.int(), broken: z.int() })
const servedSchema = z.object({ accepted: z.int(), peers: z.record(z.string(), z.int()) })
export type Opened = z.infer<typeof openedSchema>

const END_MS = 60_000
let serial = 0

/** Answers every connection. */
export class ConnectionServer {
  readonly #process: LabProcess

  static async start(lab: Lab, port: number): Promise<ConnectionServer> {
    const argv = [CONNECTIONS, 'serve', String(port)]
    const process = await lab.start('web', { name: `connections-serve-${port}-${++serial}`, argv })
    await listens(lab, 'web', port)
    return new ConnectionServer(process)
  }

  private constructor(process: LabProcess) {
    this.#process = process
  }

  /** @returns how many connections came from each address */
  async finish(): Promise<ReadonlyMap<string, number>> {
    await this.#process.end('INT', END_MS)
    return new Map(Object.entries(last(servedSchema, this.#process).peers))
  }
}

export class Connections {
  readonly #process: LabProcess

  /** Resolves when each was answered or has failed. */
  static async open(
    lab: Lab,
    {
      from,
      family,
      port,
      count,
      perSecond,
    }: { from: string; family: 4 | 6; port: number; count: number; perSecond: number },
  ): Promise<Connections> {
    const argv = [CONNECTIONS, 'open', hostAddress(lab, 'web', family), String(port), String(count), String(perSecond)]
    const process = await lab.start(from, { name: `connections-${from}-${port}-${++serial}`, argv })
    const deadlineMs = (count / perSecond) * 3000 + 60_000
    await until('all connections were tried', deadlineMs, async () => {
      if (process.output().includes('open\n')) return true
      if (await process.alive()) return false
      throw new LabError('process', `the connections ended: ${process.tail()}`)
    })
    return new Connections(process)
  }

  private constructor(process: LabProcess) {
    this.#process = process
  }

  /** Asks each once more, then closes all. */
  async finish(): Promise<Opened> {
    await this.#process.end('INT', END_MS)
    return last(openedSchema, this.#process)
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
