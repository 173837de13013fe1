/** Addresses of the rig's world in both families, and the ICMP errors a test expects. */
import { type Bytes, ethernet, icmp, ip, STATION } from './build.ts'

export type Family = 4 | 6
export const FAMILIES = [4, 6] as const

/** Host 2 of the LAN. */
export const host = (family: Family) => (family === 4 ? '10.1.0.2' : 'fd01::2')

/** A host behind route `n` of the rig. */
export const behind = (family: Family, n: number) =>
  family === 4 ? `10.${n}.0.5` : `fd${n.toString().padStart(2, '0')}::5`

export type IcmpKind = 'unreachable' | 'prohibited' | 'too-big' | 'time-exceeded'

/** Type and code: RFC 792 and 1812, RFC 4443. */
const ICMP_TYPES: Record<Family, Record<IcmpKind, [number, number]>> = {
  4: { unreachable: [3, 0], prohibited: [3, 13], 'too-big': [3, 4], 'time-exceeded': [11, 0] },
  6: { unreachable: [1, 0], prohibited: [1, 1], 'too-big': [2, 0], 'time-exceeded': [3, 0] },
}

/** The IP packet of an ICMP error about `original` (an IP packet), of which at most 128 bytes, cut to words, are quoted. */
export function icmpError(
  family: Family,
  kind: IcmpKind,
  ends: { src: string; dst: string },
  original: Bytes,
  mtu = 0,
): Bytes {
  const [type, code] = ICMP_TYPES[family][kind]
  const quoted = original.subarray(0, Math.min(original.length, 128) & ~3)
  return ip({ ...ends, tos: family === 4 ? 0xc0 : 0 }, icmp(family, type, code, mtu, quoted))
}

/** The same as a frame of the LAN port back to the station that asked. */
export function icmpFrame(family: Family, kind: IcmpKind, dst: string, original: Bytes, mtu = 0): Bytes {
  const src = family === 4 ? '10.1.0.1' : 'fd01::1'
  return ethernet(icmpError(family, kind, { src, dst }, original, mtu), { dst: STATION, src: [0, 0, 0, 0, 0, 0] })
}
