import { KernelError } from '../../agent/kernel/error.ts'

/** What keeps a benchmark from running, in words for whoever started it. Anything else that is thrown is a bug. */
export class BenchError extends Error {
  override readonly name = 'BenchError'
}

export function explain(error: unknown): string {
  if (error instanceof BenchError || error instanceof KernelError) return error.message
  return error instanceof Error ? (error.stack ?? error.message) : String(error)
}
