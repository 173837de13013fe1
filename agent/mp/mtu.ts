/** Sizes of what is put around packets. docs/wire.md. */
import { ABI_MP_HDR_LEN } from '../../schema/abi.gen.ts'

const UDP_HEADER = 8
/** Outer IPv4 tunnel header 20, ESP header 8, IV 8, ICV 16. */
const ESP_OVERHEAD = 52

/** What a path has to carry to be of use: RFC 791 asks so much of every host, RFC 8200 (5) of every link. */
export const LEAST_MTU = { 4: 576, 6: 1280 } as const

export function outerOverhead(family: 4 | 6): number {
  return (family === 4 ? 20 : 40) + UDP_HEADER + ABI_MP_HDR_LEN
}

/** Largest inner packet in clear MP over a path of this MTU. */
export function clearMtu(pathMtu: number, family: 4 | 6): number {
  return pathMtu - outerOverhead(family)
}

/** Largest inner packet inside ESP inside MP. */
export function secureMtu(pathMtu: number, family: 4 | 6): number {
  return insideEsp(clearMtu(pathMtu, family))
}

/** What ESP leaves of a packet's size: padding to 4 bytes and the two trailer bytes count (RFC 4303 §2.4). */
export function insideEsp(size: number): number {
  return ((size - ESP_OVERHEAD) & ~3) - 2
}
