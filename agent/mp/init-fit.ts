import { type InitPayload, MAX_INIT, MIN_INIT } from '../../schema/mpinit.ts'
import { encodeCbor } from './cbor.ts'
import { INIT_OVERHEAD } from './packets.ts'
import { encodePayload, payloadLength } from './payload.ts'

/** The head of a CBOR array grows from 1 to 3 bytes with its members. */
const ARRAY_HEAD_GROWTH = 2

/**
 * The payload of an INIT as bytes, padded so that the packet has `MIN_INIT`. Subnets are taken in order as long as they fit; the route session
 * announces the others. Throws a RangeError when the packet would exceed `MAX_INIT` without any subnet (a grant of very many prefixes).
 */
export function fitInit(payload: InitPayload): Buffer {
  const room = MIN_INIT - INIT_OVERHEAD
  if (payloadLength(payload) <= room) return encodePayload(payload, room)
  const bare = { ...payload, subnets: [] }
  let length = payloadLength(bare) + ARRAY_HEAD_GROWTH
  if (length + INIT_OVERHEAD > MAX_INIT) {
    throw new RangeError(
      `an INIT of ${length + INIT_OVERHEAD} bytes: the grant has more prefixes than one packet carries`,
    )
  }
  const rest = payload.subnets.findIndex(subnet => {
    length += encodeCbor(subnet).length
    return length > room
  })
  const subnets = rest < 0 ? payload.subnets : payload.subnets.slice(0, rest)
  return encodePayload({ ...payload, subnets }, room)
}
