/**
 * One lab: a machine, the namespaces of a topology on it, and a folder that records both.
 *
 *   const lab = await Lab.up({ id: 'main', topology: readTopology('two-branches'), machine: 'auto', … })
 *   await lab.exec('a1', ['ping', '-c', '1', '10.2.0.10'])
 *   await lab.down()
 */
import { mkdirSync } from 'node:fs'
import { release } from 'node:os'
import { join } from 'node:path'
import type { Security } from '../../schema/common.ts'
import { LabError } from './error.ts'
import { findGuestMachine, startGuestMachine } from './guest-machine.ts'
import { type ExecOptions, type ExecResult, interruptible, type Machine, run, sh } from './machine.ts'
import { canSecure, nativeMachine } from './native.ts'
import { buildScript, namespacePath } from './network.ts'
import { LabProcess, type StartOptions } from './process.ts'
import { reapDeadLabs, reapLab } from './reap.ts'
import { createLabDir, type LabDir, labDir, readRecord, writeRecord } from './record.ts'
import { findNode, readTopology, type Topology } from './topology.ts'

export type MachineChoice = 'auto' | 'native' | 'guest'

export interface LabOptions {
  readonly id: string
  readonly topology: string
  readonly machine: MachineChoice
  /** default: esp where the machine can, else clear */
  readonly security?: Security
  /** true: the lab goes on when this process ends */
  readonly detach: boolean
  /** Hears in one line what is being done. */
  readonly say: (line: string) => void
  /** Aborting ends the start; the caller still calls `down` on a lab that it got. */
  readonly signal: AbortSignal
}

export class Lab {
  readonly dir: LabDir
  readonly topology: Topology
  readonly machine: Machine
  /** This host, where the orchestrator runs; the same as `machine` when nodes run natively. */
  readonly host: Machine
  readonly security: Security

  /** Ends dead labs, then starts this one. On failure nothing of it is left. @throws LabError, GuestError */
  static async up(options: LabOptions): Promise<Lab> {
    const topology = readTopology(options.topology)
    for (const id of await reapDeadLabs()) options.say(`removed what the dead lab ${id} had left`)
    const secure = options.machine === 'guest' || (await canSecure())
    const kind = options.machine === 'auto' ? (secure ? 'native' : 'guest') : options.machine
    const security = options.security ?? (secure || kind === 'guest' ? 'esp' : 'clear')
    if (kind === 'native' && security === 'esp' && !secure)
      throw new LabError('input', `Linux ${release()} here has no ESP: leave --native out, or use --security clear`)
    if (options.machine === 'auto' && kind === 'guest')
      options.say(`Linux ${release()} here has no ESP: the nodes run in a QEMU guest, the orchestrator on this host`)
    const dir = createLabDir(options.id, { topology: options.topology, machine: kind, security })
    try {
      const machine =
        kind === 'native' ? nativeMachine(dir) : await startGuestMachine(options.id, options.detach, options.signal)
      const lab = new Lab(dir, topology, interruptible(machine, options.signal), security)
      await lab.#build()
      return lab
    } catch (error) {
      await reapLab(dir)
      throw error
    }
  }

  /** A lab that another process started. @throws LabError `not-running` */
  static find(id: string): Lab {
    const dir = labDir(id)
    const record = readRecord(dir)
    if (!record) throw new LabError('not-running', `no lab ${id} runs; start one: npm run lab -- up --detach`)
    const machine = record.machine === 'native' ? nativeMachine(dir) : findGuestMachine(id)
    return new Lab(dir, readTopology(record.topology), machine, record.security)
  }

  private constructor(dir: LabDir, topology: Topology, machine: Machine, security: Security) {
    this.dir = dir
    this.topology = topology
    this.machine = machine
    this.host = machine.kind === 'native' ? machine : nativeMachine(dir)
    this.security = security
  }

  get id(): string {
    return this.dir.id
  }

  /** From here on the lab needs nobody. */
  detach(): void {
    const record = readRecord(this.dir)
    if (record) writeRecord(this.dir, { ...record, owner: null })
  }

  async down(): Promise<void> {
    await reapLab(this.dir)
  }

  namespace(node: string): string {
    findNode(this.topology, node)
    return namespacePath(this.id, node)
  }

  /** Runs a command in a node's namespace; an exit code other than 0 is a result. */
  exec(node: string, argv: readonly string[], options: ExecOptions = {}): Promise<ExecResult> {
    return this.machine.exec(['nsenter', `--net=${this.namespace(node)}`, '--', ...argv], options)
  }

  /** Standard output of a command that must succeed. @throws LabError `command` */
  run(node: string, argv: readonly string[], options: ExecOptions = {}): Promise<string> {
    return run(this.machine, ['nsenter', `--net=${this.namespace(node)}`, '--', ...argv], options)
  }

  /** Starts a process in a node's namespace. */
  start(node: string, options: Omit<StartOptions, 'namespace'>): Promise<LabProcess> {
    return LabProcess.start(this.machine, { ...options, namespace: this.namespace(node) })
  }

  /** Folder of a node in the shared folder: its configuration, identity and last known state. */
  sharedFolder(node: string): string {
    const folder = join(this.machine.shared, 'nodes', node)
    mkdirSync(folder, { recursive: true })
    return folder
  }

  async #build(): Promise<void> {
    const { local } = this.machine
    await sh(
      this.machine,
      `mkdir -p ${local}/bpf\nmount -t bpf bpf ${local}/bpf\n${buildScript(this.id, this.topology)}`,
    )
  }
}
