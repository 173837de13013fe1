/**
 * How often a path is looked at and probed: closely while something is wrong or was until now, seldom where all has been well for long (seed A 0057:
 * good experience pays for less monitoring).
 */
import type { Condition } from './judge.ts'

export interface Pacing {
  condition: Condition
  /** In this condition, ms. */
  forMs: number
  /** It carries traffic. */
  busy: boolean
  /** The peer has other paths: what is found can be acted on. */
  choice: boolean
  /** Bytes cost money. */
  metered: boolean
  /** Of the configuration, ms. */
  probeMs: number
}

/** ms. Twenty probes a second prove a loss of 10 % within two. */
export const CLOSE_MS = 50
/** Of a path in use: a hole in one direction, which the programs cannot see while the other works, is found within half a second. */
const BUSY_MS = 200
/** A path in trouble for so long is no longer looked at closely; one that came back is, for as long. */
const CLOSELY_MS = 20_000
const SETTLED_MS = 5000
/** Well for so long: half as often, on metered links a quarter. */
const TRUSTED_MS = 60_000

/** @returns ms until the next look */
export function paceMs({ condition, forMs, busy, choice, metered, probeMs }: Pacing): number {
  const close = Math.min(CLOSE_MS, probeMs)
  const common = busy && choice ? Math.min(BUSY_MS, probeMs) : probeMs
  if (condition === 'good') {
    if (choice && forMs < SETTLED_MS) return Math.min(2 * close, common)
    if (busy || forMs < TRUSTED_MS) return common
    return metered ? 4 * probeMs : 2 * probeMs
  }
  if (condition === 'suspect' || forMs < CLOSELY_MS) return choice ? close : Math.min(2 * close, common)
  return Math.min(4 * close, probeMs)
}

/** Of probes on a path in this condition, each so manieth is as large as the path carries: some faults let only small packets through. */
export function largeEvery({ condition, busy, metered }: Pacing): number {
  if (condition !== 'good') return 2
  return busy ? 4 : metered ? 32 : 8
}
