/** Keys whose TypeScript form is not that of abi.h: addresses as text, both families in one FIB. */
import { fib4KeyCodec, fib6KeyCodec } from '../../schema/abi.gen.ts'
import { be32, formatAddress, formatBe32, parseAddress } from '../../schema/address.ts'
import { type Codec, viewOf } from '../../schema/codec.ts'
import type { FibKey } from './fib-key.ts'
import type { KernelMap } from './port.ts'

/** A __be32 as address text. */
export const be32TextCodec: Codec<string> = {
  size: 4,
  encode: text => {
    const bytes = new Uint8Array(4)
    viewOf(bytes).setUint32(0, be32(text))
    return bytes
  },
  decode: bytes => formatBe32(viewOf(bytes).getUint32(0)),
}

// In fib4_key and fib6_key the 32 bits of the VRF count as prefix.
const VRF_BITS = 32

export const fib4Codec: Codec<FibKey> = {
  size: fib4KeyCodec.size,
  encode: ({ vrf, address, prefixLength }) =>
    fib4KeyCodec.encode({ prefixlen: VRF_BITS + prefixLength, vrf, addr: be32(address) }),
  decode: bytes => {
    const { prefixlen, vrf, addr } = fib4KeyCodec.decode(bytes)
    return { vrf, address: formatBe32(addr), prefixLength: prefixlen - VRF_BITS }
  },
}

export const fib6Codec: Codec<FibKey> = {
  size: fib6KeyCodec.size,
  encode: ({ vrf, address, prefixLength }) =>
    fib6KeyCodec.encode({ prefixlen: VRF_BITS + prefixLength, vrf, addr: ipv6Bytes(address) }),
  decode: bytes => {
    const { prefixlen, vrf, addr } = fib6KeyCodec.decode(bytes)
    return { vrf, address: formatAddress(addr), prefixLength: prefixlen - VRF_BITS }
  },
}

function ipv6Bytes(text: string): Uint8Array {
  const address = parseAddress(text)
  if (address?.family !== 6) throw new TypeError(`not an IPv6 address: ${text}`)
  return address.bytes
}

/** One map over fib4 and fib6. */
export function joinFamilies(
  ipv4: KernelMap<FibKey, number>,
  ipv6: KernelMap<FibKey, number>,
): KernelMap<FibKey, number> {
  const isIpv6 = (key: FibKey) => key.address.includes(':')
  const mapOf = (key: FibKey) => (isIpv6(key) ? ipv6 : ipv4)
  return {
    name: 'fib',
    get: key => mapOf(key).get(key),
    set: (key, value) => mapOf(key).set(key, value),
    delete: key => mapOf(key).delete(key),
    entries: () => [...ipv4.entries(), ...ipv6.entries()],
    setMany: entries => {
      ipv4.setMany(entries.filter(([key]) => !isIpv6(key)))
      ipv6.setMany(entries.filter(([key]) => isIpv6(key)))
    },
    deleteMany: keys => {
      ipv4.deleteMany(keys.filter(key => !isIpv6(key)))
      ipv6.deleteMany(keys.filter(isIpv6))
    },
  }
}
