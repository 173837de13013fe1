import { setTimeout as sleep } from 'node:timers/promises'
import { LabError, type LabErrorCode } from './error.ts'

const FIRST_PAUSE_MS = 10
const LONGEST_PAUSE_MS = 200
/** Asking again does not help. */
const FINAL: readonly LabErrorCode[] = ['interrupted', 'process']

/**
 * Asks until the answer is neither null, undefined nor false, with growing pauses.
 * @param what the condition, for the error: `branch-a connects to gw1`
 * @throws LabError `deadline`, with what the last failure said; `interrupted` and `process` at once
 */
export async function until<T>(
  what: string,
  deadlineMs: number,
  ask: () => Promise<T | null | undefined | false>,
  longestPauseMs: number = LONGEST_PAUSE_MS,
): Promise<T> {
  const deadline = performance.now() + deadlineMs
  let pause = FIRST_PAUSE_MS
  let failure: unknown
  while (true) {
    try {
      const answer = await ask()
      if (answer !== null && answer !== undefined && answer !== false) return answer
      failure = undefined
    } catch (error) {
      if (error instanceof LabError && FINAL.includes(error.code)) throw error
      failure = error
    }
    if (performance.now() + pause > deadline) break
    await sleep(pause)
    pause = Math.min(pause * 1.5, longestPauseMs)
  }
  const why = failure instanceof Error ? `: ${failure.message}` : ''
  throw new LabError('deadline', `not within ${deadlineMs} ms: ${what}${why}`, { cause: failure })
}
