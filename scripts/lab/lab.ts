/**
 * One lab: a machine, the namespaces of a topology on it, and a folder that records both.
 *
 *   const lab = await Lab.up({ id: 'main', topology: readTopology('two-branches'), machine: 'auto', … })
 *   await lab.exec('a1', ['ping', '-c', '1', '10.2.0.10'])
 *   await lab.down()
 */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Security } from '../../schema/common.ts'
import { LabError } from './error.ts'
import { findGuestMachine, startGuestMachine } from './guest-machine.ts'
import { impairFromTopology } from './impairment.ts'
import { type ExecOptions, type ExecResult, interruptible, type Machine, run, sh } from './machine.ts'
import { nativeMachine } from './native.ts'
import { buildScript, namespacePath } from './network.ts'
import { LabProcess, type StartOptions } from './process.ts'
import { reapLab } from './reap.ts'
import { type LabDir, labDir, readRecord, writeRecord } from './record.ts'
import { type Site, type SiteOptions, takeSite } from './site.ts'
import { findNode, readTopology, type Topology } from './topology.ts'

export interface LabOptions extends SiteOptions {
  /** true: the lab goes on when this process ends */
  readonly detach: boolean
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
    const [lab] = await Lab.upWith(options, async () => {})
    return lab
  }

  /** The same, while `prepare` makes on the host what needs no machine. A failure of either ends both. */
  static async upWith<T>(options: LabOptions, prepare: (site: Site) => Promise<T>): Promise<[Lab, T]> {
    const site = await takeSite(options)
    const failure = new AbortController()
    const part = <R>(promise: Promise<R>): Promise<R> =>
      promise.catch(error => {
        failure.abort(error)
        throw error
      })
    const boot = part(Lab.#start(site, options, AbortSignal.any([options.signal, failure.signal])))
    const prepared = part(prepare(site))
    await Promise.allSettled([boot, prepared])
    if (!failure.signal.aborted) return Promise.all([boot, prepared])
    await reapLab(site.dir)
    throw failure.signal.reason
  }

  static async #start({ dir, topology, kind, security, host }: Site, options: LabOptions, boot: AbortSignal) {
    const machine = kind === 'native' ? host : await startGuestMachine(options.id, options.detach, boot)
    const lab = new Lab(dir, topology, interruptible(machine, options.signal), security)
    await lab.#build()
    await impairFromTopology(lab)
    return lab
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
