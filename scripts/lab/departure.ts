/** Pure: when traffic left a link, and how often it came back, from counts of its packets. */

export interface Count {
  /** since the fault; negative before it */
  readonly ms: number
  readonly packets: number
}

export interface Departure {
  /** until the link carried no traffic for the first time, half a window later than so; 0: it carried none before; undefined: it carries some still */
  readonly offMs: number | undefined
  /** times that traffic came back */
  readonly returns: number
}

/** Rates are of the last so many ms: single probes, and pauses between packets, say nothing. */
export const WINDOW_MS = 300

/** @param perSecond rate above which a link carries traffic, so above that of probes. @param counts growing, from WINDOW_MS before the fault on */
export function departure(counts: readonly Count[], perSecond: number): Departure {
  let offMs: number | undefined = 0
  let [returns, carried] = [0, true]
  for (const [index, { ms, packets }] of counts.entries()) {
    if (ms < 0) continue
    const from = counts.slice(0, index).findLast(before => before.ms <= ms - WINDOW_MS)
    if (!from) continue
    const carries = packets - from.packets > ((ms - from.ms) / 1000) * perSecond
    if (carries && !carried) returns += 1
    if (carries && returns === 0) offMs = ms
    carried = carries
  }
  return { offMs: carried && returns === 0 ? undefined : offMs, returns }
}
