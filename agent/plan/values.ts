/** Small constructors of ABI values. */
import { type PathState, pathStateCodec } from '../../schema/abi.gen.ts'

export function zeroPathState(): PathState {
  return pathStateCodec.decode(new Uint8Array(pathStateCodec.size))
}
