/** Quantiles of delay from the programs' histogram: bucket n counts packets that took less than 125 us << n longer than the quickest. */
import { ABI_DELAY_BUCKET_US } from '../../schema/abi.gen.ts'

/**
 * Within a bucket packets are taken to be spread evenly; the last has no upper bound and counts as one more factor of 2.
 * @param counts packets by bucket. @returns undefined: no packets
 */
export function delayQuantileMs(counts: readonly number[], share: number): number | undefined {
  const all = counts.reduce((sum, count) => sum + count, 0)
  if (all === 0) return undefined
  let below = 0
  for (const [bucket, count] of counts.entries()) {
    if (count > 0 && below + count >= share * all) {
      const low = bucket === 0 ? 0 : ABI_DELAY_BUCKET_US * 2 ** (bucket - 1)
      const high = ABI_DELAY_BUCKET_US * 2 ** bucket
      return (low + ((high - low) * (share * all - below)) / count) / 1000
    }
    below += count
  }
  return undefined
}
