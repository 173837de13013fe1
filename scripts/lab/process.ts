/** Processes of a lab that run in the background, on the host or on the machine; tools/proc starts them and knows them by a file. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { REPO } from '../guest/rundir.ts'
import { LabError } from './error.ts'
import { type Machine, run } from './machine.ts'

const PROC = join(REPO, 'scripts/lab/tools/proc')
const LOG_LINES = 15

export type Signal = 'TERM' | 'KILL' | 'INT' | 'STOP' | 'CONT' | 'USR1'

export interface StartOptions {
  readonly name: string
  readonly argv: readonly string[]
  /** path of a network namespace; default: the machine's own */
  readonly namespace?: string
  readonly env?: Readonly<Record<string, string>>
}

export class LabProcess {
  readonly name: string
  readonly #machine: Machine

  /** Resolves when it runs, which says nothing of how far it got. @throws LabError */
  static async start(machine: Machine, options: StartOptions): Promise<LabProcess> {
    const started = new LabProcess(machine, options.name)
    // Not `ip netns exec`: it mounts /sys anew and hides the BPF file system.
    const enter = options.namespace === undefined ? [] : ['nsenter', `--net=${options.namespace}`, '--']
    const argv = [PROC, 'start', started.#mark, started.log, ...enter, ...options.argv]
    await run(machine, argv, options.env === undefined ? {} : { env: options.env })
    return started
  }

  /** Finds a process that this or another run of the lab started; undefined when it never was. */
  static find(machine: Machine, name: string): LabProcess | undefined {
    const found = new LabProcess(machine, name)
    return existsSync(found.#mark) ? found : undefined
  }

  private constructor(machine: Machine, name: string) {
    this.#machine = machine
    this.name = name
  }

  /** Its two outputs; in the shared folder, so this process reads it too. */
  get log(): string {
    return join(this.#machine.shared, `${this.name}.log`)
  }

  get #mark(): string {
    return join(this.#machine.shared, 'proc', this.name)
  }

  async alive(): Promise<boolean> {
    return (await this.#machine.exec([PROC, 'alive', this.#mark])).code === 0
  }

  /** Nothing happens when it has ended. */
  async signal(signal: Signal): Promise<void> {
    await run(this.#machine, [PROC, 'signal', this.#mark, signal])
  }

  /** Signals it and waits for its end. @throws LabError `deadline` */
  async end(signal: Signal, deadlineMs = 10_000): Promise<void> {
    const deadline = AbortSignal.timeout(deadlineMs)
    try {
      await run(this.#machine, [PROC, 'end', this.#mark, signal], { signal: deadline })
    } catch (cause) {
      if (!deadline.aborted) throw cause
      throw new LabError('deadline', `${this.name} does not end within ${deadlineMs} ms of SIG${signal}`, { cause })
    }
  }

  output(): string {
    return readFileSync(this.log, 'utf8')
  }

  /** Its last lines, for an error. */
  tail(): string {
    return this.output().trimEnd().split('\n').slice(-LOG_LINES).join('\n')
  }
}
