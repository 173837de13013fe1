/**
 * What is wrong with a path that still answers, for what this node sends: each end chooses its own paths, and knows by the peer's reports what it
 * loses; what is lost of the other direction is the peer's to avoid. A fault is proved and worth leaving the path for; a sign is worth a closer look. The limits are those
 * where a voice call becomes hard to follow or TCP falls to a fraction of its rate, and wide enough that ordinary noise stays below.
 */
import { lossRate, provenLoss } from './loss.ts'
import type { Figures, Loss, Timing } from './meter.ts'

export interface Observed {
  /** Over the last second. */
  figures: Figures
  timing: Timing
  /** Round trip that is normal for the path; undefined: not known yet. */
  usualRttMs: number | undefined
}

/** Proved with 95 % confidence; G.711 with concealment drops from good to fair near it (ITU-T G.113, appendix I). */
const LOSS = 0.02
/** ms above the usual round trip, if that is not more than doubled by it. ITU-T G.114 wants less than 150 one way. */
const EXTRA_RTT_MS = 100
/** ms. A jitter buffer of usual size (60 to 100 ms) covers two to three times the mean. */
const JITTER_MS = 30
const REORDERED = 0.1
/** Packets, for shares that have no other proof. */
const ENOUGH = 50

/** Of a sign: lost packets in a second, and their share. */
const SIGN_LOST = 2
const SIGN_LOSS = 0.02

/** @returns what a person reads: `loss out 21 %`; undefined: nothing is wrong */
export function faultOf({ figures, timing, usualRttMs }: Observed): string | undefined {
  if (provenLoss(figures.out) > LOSS) return `loss out ${percent(figures.out)}`
  const { srttMs, rttvarMs, jitterMs } = timing
  if (srttMs !== undefined && usualRttMs !== undefined && srttMs - usualRttMs > Math.max(EXTRA_RTT_MS, usualRttMs))
    return `round trip ${Math.round(srttMs)} ms, usually ${Math.round(usualRttMs)}`
  if (jitterMs !== undefined && jitterMs > JITTER_MS) return `jitter in ${Math.round(jitterMs)} ms`
  // Of round trips, so of both directions; smoothed, so one late reply does not reach it.
  if (rttvarMs !== undefined && rttvarMs > 2 * JITTER_MS) return `round trips vary by ${Math.round(rttvarMs)} ms`
  const { reordered, in: received } = figures
  if (reordered !== undefined && reordered > REORDERED && (received?.packets ?? 0) >= ENOUGH)
    return `reordered ${Math.round(reordered * 100)} %`
  return undefined
}

export function signOf({ figures, timing, usualRttMs }: Observed): string | undefined {
  const loses = (loss: Loss | undefined) => loss && loss.lost >= SIGN_LOST && (lossRate(loss) ?? 0) > SIGN_LOSS
  if (loses(figures.out)) return 'loses packets out'
  if (timing.rttMs !== undefined && usualRttMs !== undefined && timing.rttMs - usualRttMs > EXTRA_RTT_MS / 2)
    return `a round trip of ${Math.round(timing.rttMs)} ms`
  return undefined
}

function percent(loss: Loss | undefined): string {
  return `${Math.round((lossRate(loss) ?? 0) * 100)} %`
}
