/** What is settled of a lab before its machine runs. It is enough for the orchestrator, which therefore starts while the guest boots. */
import { release } from 'node:os'
import type { Security } from '../../schema/common.ts'
import { LabError } from './error.ts'
import type { Machine } from './machine.ts'
import { canSecure, nativeMachine } from './native.ts'
import { reapDeadLabs } from './reap.ts'
import { createLabDir, type LabDir } from './record.ts'
import { readTopology, type Topology } from './topology.ts'

export type MachineChoice = 'auto' | 'native' | 'guest'

export interface Site {
  readonly dir: LabDir
  readonly topology: Topology
  readonly kind: Machine['kind']
  readonly security: Security
  /** This host, where the orchestrator runs; also the nodes' machine when they run natively. */
  readonly host: Machine
}

export interface SiteOptions {
  readonly id: string
  readonly topology: string
  readonly machine: MachineChoice
  /** default: esp where the machine can, else clear */
  readonly security?: Security
  /** Hears in one line what is being done. */
  readonly say: (line: string) => void
}

/** Ends dead labs, then takes the id. @throws LabError */
export async function takeSite(options: SiteOptions): Promise<Site> {
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
  return { dir, topology, kind, security, host: nativeMachine(dir) }
}
