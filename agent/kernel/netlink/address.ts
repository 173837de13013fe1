/** RTM_*ADDR: struct ifaddrmsg and IFA_* (include/uapi/linux/if_addr.h). */
import { formatAddress, parseAddress } from '../../../schema/address.ts'
import { viewOf } from '../../../schema/codec.ts'
import type { Address } from '../port.ts'
import { type Message, parseAttributes, Writer } from './codec.ts'

export const RTM_NEWADDR = 20
export const RTM_DELADDR = 21
export const RTM_GETADDR = 22

export const AF_UNSPEC = 0
export const AF_INET = 2
export const AF_INET6 = 10

const IFADDRMSG = 8
const IFA_ADDRESS = 1
const IFA_LOCAL = 2
const IFA_FLAGS = 8
const IFA_F_NODAD = 0x02

export function getAddresses(): Uint8Array {
  const writer = new Writer()
  writer.struct(IFADDRMSG)
  return writer.finish()
}

/** undefined for a family that is neither IPv4 nor IPv6 */
export function parseAddressMessage({ payload }: Message): Address | undefined {
  const view = viewOf(payload)
  const attributes = parseAttributes(payload, IFADDRMSG)
  // Of a point-to-point link IFA_ADDRESS is the other end.
  const bytes = attributes.get(IFA_LOCAL) ?? attributes.get(IFA_ADDRESS)
  if (!bytes || (bytes.length !== 4 && bytes.length !== 16)) return undefined
  return { ifindex: view.getInt32(4, true), address: formatAddress(bytes), prefixLength: view.getUint8(1) }
}

/** For both RTM_NEWADDR and RTM_DELADDR. */
export function addressMessage({ ifindex, address, prefixLength }: Address): Uint8Array {
  const { family, bytes } = toBytes(address)
  const writer = new Writer()
  const header = writer.struct(IFADDRMSG)
  header.setUint8(0, family)
  header.setUint8(1, prefixLength)
  header.setInt32(4, ifindex, true)
  writer.bytes(IFA_LOCAL, bytes).bytes(IFA_ADDRESS, bytes)
  // Addresses that the agent sets are its own: usable at once, without duplicate address detection.
  if (family === AF_INET6) writer.u32(IFA_FLAGS, IFA_F_NODAD)
  return writer.finish()
}

/** @throws TypeError when `text` is not an address */
export function toBytes(text: string): { family: number; bytes: Uint8Array } {
  const parsed = parseAddress(text)
  if (!parsed) throw new TypeError(`not an address: ${text}`)
  return { family: parsed.family === 4 ? AF_INET : AF_INET6, bytes: parsed.bytes }
}
