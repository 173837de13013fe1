/** Small constructors of ABI values. */
import {
  type Bundle,
  bundleCodec,
  type PathState,
  pathStateCodec,
  type Steering,
  spread,
  trafficClass,
} from '../../schema/abi.gen.ts'
import { zero } from '../../schema/codec.ts'

export function zeroPathState(): PathState {
  return zero(pathStateCodec)
}

export function zeroBundle(): Bundle {
  return zero(bundleCodec)
}

/** Every class alike, on the best path: what a peer has before its paths are measured. @param mask paths, a bit each */
export function plainSteering(best: number, mask: number): Steering[] {
  const one = { mode: spread.SPREAD_BEST, best, second: best, fec: 0, mask, playoutMs: 0 }
  return Array.from({ length: trafficClass.CLASSES }, () => ({ ...one }))
}

/** What of it concerns these paths: none other is named, and each class has one at least. @param mask paths, a bit each; 0: there are none */
export function within(steering: readonly Steering[], mask: number): Steering[] {
  const lowest = mask === 0 ? 0 : 31 - Math.clz32(mask & -mask)
  const known = (path: number, other: number) => ((mask >> path) & 1 ? path : other)
  return steering.map(word => {
    const best = known(word.best, lowest)
    return { ...word, best, second: known(word.second, best), mask: word.mask & mask || mask }
  })
}
