/** What the programs count of a path, as plain numbers and without the replay window: what is read of thousands of paths a second. */
import type { PathState } from '../../schema/abi.gen.ts'

export const WORDS = [
  'rttUs',
  'srttUs',
  'rttvarUs',
  'probeReplies',
  'jitterUs',
  'reordered',
  'transitUs',
  'transitEpoch',
] as const
export const LONGS = [
  'txNumber',
  'txBytes',
  'rxHighest',
  'rxPackets',
  'rxBytes',
  'lastRxNs',
  'toldHighest',
  'toldPackets',
] as const

/** Named as in struct path_state, where they are explained. */
export interface PathCounters extends Record<(typeof WORDS)[number] | (typeof LONGS)[number], number> {
  handle: number
  left: boolean
  delay: number[]
}

export function countersOf(state: PathState): PathCounters {
  const { handle, left, delay } = state
  const counters = { handle, left: left !== 0, delay: [...delay] } as PathCounters
  for (const name of WORDS) counters[name] = state[name]
  for (const name of LONGS) counters[name] = Number(state[name])
  return counters
}
