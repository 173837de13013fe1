/** What a few lost packets prove. */
import type { Loss } from './meter.ts'

/** Standard normal quantile of 95 %, one-sided. */
const Z = 1.645

/**
 * The loss rate that is exceeded with 95 % confidence: lower end of the score interval (Wilson, Probable inference, 1927). Three of sixty prove 2 %,
 * one of four 6 %, one of a hundred nothing worth a move.
 */
export function provenLoss(loss: Loss | undefined): number {
  if (!loss || loss.packets === 0) return 0
  const n = loss.packets
  const p = Math.min(1, loss.lost / n)
  const z2 = Z * Z
  const middle = p + z2 / (2 * n)
  const spread = Z * Math.sqrt((p * (1 - p)) / n + z2 / (4 * n * n))
  return Math.max(0, (middle - spread) / (1 + z2 / n))
}

export function lossRate(loss: Loss | undefined): number | undefined {
  return loss && Math.min(1, loss.lost / loss.packets)
}
