/** Where the tag of a path's packets begins: bpf/path/tag.h. */
import { ABI_MP_VERSION, mpHdrCodec, mpType } from './abi.gen.ts'
import { type SipState, siphashState } from './siphash.ts'

/** Bytes of the header that all plain DATA packets of a path have in common. */
const SHARED = 16

/**
 * SipHash's state behind the key and those bytes, for path_state.tx_tag or rx_tag.
 * @param key words of the direction's key @param session id as it stands in the packets: the receiver's
 */
export function plainTagState(key: readonly bigint[], session: number, path: number): SipState {
  const header = mpHdrCodec.encode({
    versionType: (ABI_MP_VERSION << 4) | mpType.MP_DATA,
    path,
    qos: 0,
    fec: 0,
    session,
    sequence: 0,
    servicePath: 0,
    number: 0n,
    timestampUs: 0,
    policyVersion: 0,
    tag: 0n,
  })
  return siphashState(key, header.subarray(0, SHARED))
}
