/** A capture of all that crosses one node, by tcpdump on all its devices: what the router in the WAN sees comes up twice, in and out. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { LabError } from './error.ts'
import type { Lab } from './lab.ts'
import { run } from './machine.ts'
import { type CaptureSummary, captured, summarise } from './pcap.ts'
import type { LabProcess } from './process.ts'
import { type TcpArrivals, tcpArrivals } from './tcp-arrivals.ts'
import { FLOW } from './tools.ts'
import { until } from './until.ts'

const START_DEADLINE_MS = 20_000
const MARK_DEADLINE_MS = 20_000

/** Where the packet goes that shows how far a capture got. */
const MARK_PORT = 9
const MARKS = `udp port ${MARK_PORT}`

export interface CaptureOptions {
  /** pcap-filter(7); default: everything */
  readonly filter?: string
  /** of each packet that are kept; default: all */
  readonly bytes?: number
}

export class Capture {
  readonly #lab: Lab
  readonly #node: string
  readonly #name: string
  readonly #tcpdump: LabProcess

  /** Resolves when packets are being captured. @throws LabError */
  static async start(lab: Lab, node: string, { filter, bytes = 0 }: CaptureOptions = {}): Promise<Capture> {
    const name = `capture-${node}-${Date.now()}`
    // -U on the machine's own file system, which is cheap: stop() watches the file. -Z root: tcpdump would drop the right to write there.
    const file = join(lab.machine.local, `${name}.pcap`)
    const argv = ['tcpdump', '-i', 'any', '-n', '-U', '-Z', 'root', '-B', '16384', '-s', String(bytes), '-w', file]
    if (filter !== undefined) argv.push(`(${filter}) or (${MARKS})`)
    const tcpdump = await lab.start(node, { name, argv })
    await until(`the capture in ${node} starts`, START_DEADLINE_MS, async () =>
      tcpdump.output().includes('listening on'),
    )
    return new Capture(lab, node, name, tcpdump)
  }

  private constructor(lab: Lab, node: string, name: string, tcpdump: LabProcess) {
    this.#lab = lab
    this.#node = node
    this.#name = name
    this.#tcpdump = tcpdump
  }

  /** Ends the capture. @throws LabError when the kernel kept packets from it: then it proves nothing */
  async stop(needle: string): Promise<CaptureSummary> {
    const { file, end } = await this.#end()
    return summarise(file, { needle, end })
  }

  /** Ends the capture, and tells of the TCP segments that went to the port. @throws LabError as `stop` */
  async arrivals(port: number, skipMs: number): Promise<TcpArrivals> {
    const { file, end } = await this.#end()
    return tcpArrivals(captured(file, end), port, skipMs)
  }

  async #end(): Promise<{ file: Buffer; end: string }> {
    const { machine } = this.#lab
    const written = join(machine.local, `${this.#name}.pcap`)
    const copy = join(machine.shared, `${this.#name}.pcap`)
    // tcpdump leaves what is still in the kernel's ring behind. One packet more, on the node's loopback, shows how far it got.
    const mark = `end-${Date.now() % 1e9}`
    await this.#lab.run(this.#node, [
      FLOW,
      'send',
      '--to',
      '127.0.0.1',
      '--port',
      String(MARK_PORT),
      '--tag',
      mark,
      '--count',
      '1',
    ])
    await until(
      'the capture has caught up',
      MARK_DEADLINE_MS,
      async () => (await machine.exec(['grep', '-qaF', mark, written])).code === 0,
    )
    await this.#tcpdump.end('INT')
    const dropped = Number(/(\d+) packets? dropped by kernel/.exec(this.#tcpdump.output())?.[1])
    if (dropped !== 0) throw new LabError('command', `the capture missed ${dropped} packets\n${this.#tcpdump.tail()}`)
    if (written !== copy) await run(machine, ['cp', written, copy])
    return { file: readFileSync(copy), end: mark }
  }
}
