/** What the agent's thread and its FIB worker say to each other. Routes travel as records (route.ts). */
import type { FibUsage } from '../port.ts'
import type { Refusal } from './engine.ts'
import type { FibFds } from './memory.ts'

/** The worker's start data. */
export interface WorkerStart {
  fds: FibFds
}

export type Request =
  | { id: number; what: 'apply'; changes: Uint32Array }
  | { id: number; what: 'records' }
  | { id: number; what: 'usage' }

export type Answer =
  /** First of all: the table of a former agent has been rebuilt, without routes for which there was no room. */
  | { what: 'ready'; lost: number }
  | { id: number; what: 'apply'; refused: ReadonlyMap<number, Refusal> }
  | { id: number; what: 'records'; records: Uint32Array<ArrayBuffer> }
  | { id: number; what: 'usage'; usage: FibUsage }
