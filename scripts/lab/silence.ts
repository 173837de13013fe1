/** Pure: how long a flow was silent. */
import type { Arrival } from './flow.ts'

/** The longest time between two arrivals beyond that between two packets. @param arrivals in their order; fewer than two: 0 */
export function longestSilenceMs(arrivals: readonly Arrival[], everyMs: number): number {
  let longest = 0
  for (const [index, { arrivedMs }] of arrivals.entries()) {
    const before = arrivals[index - 1]?.arrivedMs ?? arrivedMs
    longest = Math.max(longest, arrivedMs - before - everyMs)
  }
  return longest
}
