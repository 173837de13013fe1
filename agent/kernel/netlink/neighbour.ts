/** RTM_*NEIGH: struct ndmsg and NDA_* (include/uapi/linux/neighbour.h). */
import { formatAddress } from '../../../schema/address.ts'
import { viewOf } from '../../../schema/codec.ts'
import type { Neighbour } from '../port.ts'
import { toBytes } from './address.ts'
import { type Message, parseAttributes, Writer } from './codec.ts'
import { formatMac, parseMac } from './link.ts'

export const RTM_NEWNEIGH = 28
export const RTM_DELNEIGH = 29
export const RTM_GETNEIGH = 30

const NDMSG = 12
const NDA_DST = 1
const NDA_LLADDR = 2
const NDA_IFINDEX = 8
const NUD_NOARP = 0x40
const NUD_PERMANENT = 0x80

export function getNeighbours(ifindex: number): Uint8Array {
  const writer = new Writer()
  writer.struct(NDMSG)
  return writer.u32(NDA_IFINDEX, ifindex).finish()
}

/** undefined for entries without a link-layer address (failed, or being resolved) and for computed ones (multicast) */
export function parseNeighbour({ payload }: Message): Neighbour | undefined {
  const view = viewOf(payload)
  if (view.getUint16(8, true) & NUD_NOARP) return undefined
  const attributes = parseAttributes(payload, NDMSG)
  const address = attributes.get(NDA_DST)
  const mac = attributes.get(NDA_LLADDR)
  if (!address || !mac) return undefined
  return { ifindex: view.getInt32(4, true), address: formatAddress(address), mac: formatMac(mac) }
}

export function neighbourMessage({ ifindex, address, mac }: Neighbour): Uint8Array {
  const { family, bytes } = toBytes(address)
  const writer = new Writer()
  const header = writer.struct(NDMSG)
  header.setUint8(0, family)
  header.setInt32(4, ifindex, true)
  header.setUint16(8, NUD_PERMANENT, true)
  return writer.bytes(NDA_DST, bytes).bytes(NDA_LLADDR, parseMac(mac)).finish()
}
