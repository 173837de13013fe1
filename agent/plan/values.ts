/** Small constructors of ABI values. */
import { type PathState, pathStateCodec, type Steering, spread, trafficClass } from '../../schema/abi.gen.ts'

export function zeroPathState(): PathState {
  return pathStateCodec.decode(new Uint8Array(pathStateCodec.size))
}

/** Every class alike, on the best path: what a peer has before its paths are measured. @param mask paths, a bit each */
export function plainSteering(best: number, mask: number): Steering[] {
  const one = { mode: spread.SPREAD_BEST, best, second: best, fec: 0, mask, playoutMs: 0 }
  return Array.from({ length: trafficClass.CLASSES }, () => ({ ...one }))
}
