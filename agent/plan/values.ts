/** Small constructors of ABI values. */
import type { PathState } from '../../schema/abi.gen.ts'

const WINDOW_WORDS = 64

export function zeroPathState(): PathState {
  return {
    txNumber: 0n,
    txPackets: 0n,
    txBytes: 0n,
    rxPackets: 0n,
    rxBytes: 0n,
    rxHighest: 0n,
    lastRxNs: 0n,
    lastTxNs: 0n,
    probeReplies: 0n,
    rttUs: 0,
    reserved: 0,
    window: new Array<bigint>(WINDOW_WORDS).fill(0n),
  }
}
