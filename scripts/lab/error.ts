import { GuestError } from '../guest/error.ts'

export type LabErrorCode =
  /** a wrong argument, topology or name */
  | 'input'
  /** a lab of that id runs already, or none does */
  | 'running'
  | 'not-running'
  /** a command that the lab itself needs did not do what it should */
  | 'command'
  /** a condition did not come true in time */
  | 'deadline'
  /** a part of the product did not start or ended by itself; its last log lines follow */
  | 'process'
  /** Ctrl-C or SIGTERM */
  | 'interrupted'
  /** a scenario's claim does not hold */
  | 'claim'

/** What went wrong in the lab; the first line says what to do. */
export class LabError extends Error {
  override readonly name = 'LabError'
  readonly code: LabErrorCode

  constructor(code: LabErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}

/** For people: what we raise speaks for itself, anything else is a bug and shows where it is. */
export function explain(error: unknown): string {
  if (error instanceof LabError || error instanceof GuestError) return error.message
  return error instanceof Error ? (error.stack ?? error.message) : String(error)
}
