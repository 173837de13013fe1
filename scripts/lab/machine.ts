/**
 * Where the nodes' namespaces live: this host, or the QEMU guest on a host whose kernel cannot do IPsec. Everything above runs commands on a
 * `Machine` and does not know which it is.
 */
import type { ExecOptions, ExecResult } from '../guest/exec.ts'
import { LabError } from './error.ts'

export type { ExecOptions, ExecResult } from '../guest/exec.ts'

export interface Machine {
  readonly kind: 'native' | 'guest'
  /** `uname -r` */
  readonly kernel: string
  /** A folder that this process and the machine both see and write, at the same path. */
  readonly shared: string
  /** A folder of the machine alone, for sockets and pins; this process may not see it. */
  readonly local: string
  /** Where the loopback of this host is, seen from the machine's own namespace. */
  readonly hostAddress: string
  /** Runs a command in the machine's own namespace; an exit code other than 0 is a result. */
  exec(argv: readonly string[], options?: ExecOptions): Promise<ExecResult>
  /** Ends everything on it that is the lab's. */
  stop(): Promise<void>
}

/** Standard output of a command that must succeed. @throws LabError `command` with the command's complaint */
export async function run(machine: Machine, argv: readonly string[], options: ExecOptions = {}): Promise<string> {
  const result = await machine.exec(argv, options)
  if (result.code === 0) return result.stdout
  const how = result.signal ?? `exit code ${result.code}`
  throw new LabError('command', `${argv.join(' ')}: ${result.stderr.trim() || result.stdout.trim() || how}`)
}

/** Runs a shell script, which ends at its first failing command. @throws LabError `command` */
export function sh(machine: Machine, script: string): Promise<string> {
  return run(machine, ['sh', '-es'], { stdin: script })
}

/** The same machine; every command on it ends when `signal` aborts. */
export function interruptible(machine: Machine, signal: AbortSignal): Machine {
  return {
    ...machine,
    exec: (argv, options = {}) =>
      machine.exec(argv, { ...options, signal: options.signal ? AbortSignal.any([signal, options.signal]) : signal }),
  }
}
