/** The agent of one edge or gateway: its files, its process, and its local API. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import type { AgentConfigInput } from '../../agent/config.ts'
import {
  type Drops,
  dropsSchema,
  type PathChangeRow,
  type PathReport,
  pathChangeSchema,
  pathReportSchema,
  type RouteRow,
  routeRowSchema,
  type ServicesReport,
  type Status,
  servicesReportSchema,
  statusSchema,
} from '../../schema/agent-api.ts'
import { nodeEventSchema } from '../../schema/node-state.ts'
import { LabError } from './error.ts'
import type { Lab } from './lab.ts'
import type { ExecResult } from './machine.ts'
import { ORCHESTRATOR_ADDRESS, wanDevice } from './network.ts'
import { LabProcess, type Signal } from './process.ts'
import type { AgentNode } from './topology.ts'
import { until } from './until.ts'

/** What an agent is configured beside, or instead of, what the topology gives. */
export type Configure = (node: AgentNode, config: AgentConfigInput) => Partial<AgentConfigInput>

export interface AgentOptions {
  readonly timers?: NonNullable<AgentConfigInput['timers']>
  readonly families?: readonly (4 | 6)[]
  readonly configure?: Configure
  /** the program with its arguments, without `agent run` */
  readonly program: readonly string[]
  /** of the door to the orchestrator */
  readonly port: number
}

/** Five agents start at once, and in the guest every instruction is emulated. */
const START_DEADLINE_MS = 180_000
/** What the agent logs when it programs the dataplane and its API answers. */
const RUNS = '"msg":"agent runs"'
const ALIVE_EVERY_MS = 1000
const eventsSchema = z.array(nodeEventSchema)

export class Agent {
  readonly node: AgentNode
  readonly #lab: Lab
  readonly #options: AgentOptions
  #process: LabProcess | undefined

  constructor(lab: Lab, node: AgentNode, options: AgentOptions) {
    this.#lab = lab
    this.node = node
    this.#options = options
    this.#process = LabProcess.find(lab.machine, this.#processName)
  }

  get name(): string {
    return this.node.name
  }

  get #processName(): string {
    return `agent-${this.node.name}`
  }

  /** Identity and last known state: survives all but its own loss. On the shared folder. */
  get stateDir(): string {
    const folder = join(this.#lab.sharedFolder(this.node.name), 'state')
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    return folder
  }

  /** Socket and snapshot; gone after a reboot. */
  get runDir(): string {
    return join(this.#lab.machine.local, 'run', this.node.name)
  }

  get pins(): string {
    return join(this.#lab.machine.local, 'bpf', this.node.name)
  }

  /** Writes the configuration, with `change` over what the topology gives. @returns its file */
  configure(change: Partial<AgentConfigInput> = {}): string {
    const { timers, families, port } = this.#options
    const config: AgentConfigInput = {
      name: this.node.name,
      stateDir: this.stateDir,
      runDir: this.runDir,
      bpffs: this.pins,
      logLevel: 'debug',
      lan: this.node.kind === 'edge' ? this.node.lan.map(({ name }) => ({ interface: name })) : [],
      wan: this.node.wan.map(link => ({
        name: link.name,
        interface: wanDevice(link),
        ...(families && { families: [...families] }),
        upMbps: link.upMbps,
        downMbps: link.downMbps,
        backup: link.backup,
        metered: link.metered,
      })),
      orchestrator: { url: `wss://${ORCHESTRATOR_ADDRESS}:${port}` },
      ...(timers && { timers }),
    }
    const whole = { ...config, ...this.#options.configure?.(this.node, config), ...change }
    const file = join(this.#lab.sharedFolder(this.node.name), 'agent.json')
    writeFileSync(file, `${JSON.stringify(whole, null, 2)}\n`)
    return file
  }

  /** Resolves when it says that it runs; its API answers then. @throws LabError `process` with its last log lines when it ends instead, or is too slow */
  async start(change: Partial<AgentConfigInput> = {}): Promise<void> {
    const argv = [...this.#options.program, 'agent', 'run', '--config', this.configure(change)]
    const before = this.#process?.output().length ?? 0
    const started = await this.#lab.start(this.node.name, { name: this.#processName, argv })
    this.#process = started
    let lookAgain = performance.now() + ALIVE_EVERY_MS
    try {
      // Its log is read here on the host: commands that ask in the guest would take the time from what starts there.
      await until(`the agent of ${this.node.name} runs`, START_DEADLINE_MS, async () => {
        if (started.output().slice(before).includes(RUNS)) return true
        if (performance.now() < lookAgain) return false
        lookAgain = performance.now() + ALIVE_EVERY_MS
        if (await started.alive()) return false
        throw new LabError('process', `the agent of ${this.node.name} ended`)
      })
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause)
      throw new LabError('process', `${why}\n${started.tail()}`, { cause })
    }
  }

  /** Runs it to its end, which is expected soon. @throws LabError `claim` when it goes on */
  async startInVain(change: Partial<AgentConfigInput> = {}): Promise<ExecResult> {
    const argv = [...this.#options.program, 'agent', 'run', '--config', this.configure(change)]
    const deadline = AbortSignal.timeout(START_DEADLINE_MS)
    try {
      return await this.#lab.exec(this.node.name, argv, { signal: deadline })
    } catch (cause) {
      throw deadline.aborted
        ? new LabError('claim', `the agent of ${this.name} runs, which it must not`, { cause })
        : cause
    }
  }

  async kill(signal: Signal): Promise<void> {
    await this.#process?.end(signal)
  }

  tail(): string {
    return this.#process?.tail() ?? 'it never ran'
  }

  status(): Promise<Status> {
    return this.#ask('GET', 'status', statusSchema)
  }

  routes(): Promise<RouteRow[]> {
    return this.#ask('GET', 'routes', z.array(routeRowSchema))
  }

  /** Pools and instances of service functions. */
  services(): Promise<ServicesReport> {
    return this.#ask('GET', 'services', servicesReportSchema)
  }

  drops(): Promise<Drops> {
    return this.#ask('GET', 'drops', dropsSchema)
  }

  paths(): Promise<PathReport[]> {
    return this.#ask('GET', 'paths', z.array(pathReportSchema))
  }

  /** Newest first. */
  pathHistory(): Promise<PathChangeRow[]> {
    return this.#ask('GET', 'pathHistory', z.array(pathChangeSchema))
  }

  /** Newest first. */
  events(): Promise<z.infer<typeof eventsSchema>> {
    return this.#ask('GET', 'events', eventsSchema)
  }

  /** Begins new handshakes with all peers. */
  async rekey(): Promise<void> {
    await this.#ask('POST', 'rekey', z.unknown(), '{}')
  }

  /**
   * Shell: waits until none of the prefixes is reachable here, then prints the time (Unix ms). For what is too quick to be seen from another
   * machine.
   */
  watchScript(prefixes: readonly string[]): string {
    const rows = prefixes.map(prefix => `-e '"prefix":"${prefix}","reachable":true'`).join(' ')
    const ask = `printf 'GET /routes HTTP/1.0\\r\\n\\r\\n' | nc -w 10 -U ${join(this.runDir, 'agent.sock')}`
    return `while ${ask} | grep -qF ${rows}; do sleep 0.02; done; date +%s%3N`
  }

  /**
   * tRPC over HTTP/1.0 by nc: the socket may be in the guest, where a command is cheaper than another Node.
   * HTTP/1.0, so that the answer ends with the connection and has no chunks.
   */
  async #ask<T>(method: 'GET' | 'POST', procedure: string, schema: z.ZodType<T>, body = ''): Promise<T> {
    const head = [
      `${method} /${procedure} HTTP/1.0`,
      'content-type: application/json',
      `content-length: ${body.length}`,
    ]
    const result = await this.#lab.machine.exec(['nc', '-w', '10', '-U', join(this.runDir, 'agent.sock')], {
      stdin: `${head.join('\r\n')}\r\n\r\n${body}`,
    })
    const answer = result.stdout.slice(result.stdout.indexOf('\r\n\r\n') + 4)
    if (result.code !== 0 || answer === '')
      throw new LabError('command', `the agent of ${this.name} does not answer: ${result.stderr.trim()}`)
    const parsed: unknown = JSON.parse(answer)
    const { result: good, error } = answerSchema.parse(parsed)
    if (error) throw new LabError('command', `${this.name}, ${procedure}: ${error.message}`)
    return schema.parse(good?.data)
  }
}

const answerSchema = z.object({
  result: z.object({ data: z.unknown() }).optional(),
  error: z.object({ message: z.string() }).optional(),
})
