/** The node's maps by name: descriptors -> the typed `Maps` of the port, and the sums of its per-CPU counters. */
import {
  COUNTERS,
  counterNames,
  DROP_REASONS,
  dropReasonNames,
  fib4KeyCodec,
  fib6KeyCodec,
  flowCodec,
  flowKeyCodec,
  nexthopCodec,
  nodeConfigCodec,
  pathConfCodec,
  pathStateCodec,
  peerCodec,
  portCodec,
  sessionCodec,
} from '../../schema/abi.gen.ts'
import { be32, formatAddress, formatBe32, parseAddress } from '../../schema/address.ts'
import { type Codec, u32Codec, viewOf } from '../../schema/codec.ts'
import { openMap, readPerCpuSums } from './bpf-map.ts'
import { KernelError } from './error.ts'
import type { FibKey } from './fib-key.ts'
import type { KernelMap, Maps } from './port.ts'

/** Map name (bpf/maps.h) -> descriptor. */
export type MapFds = ReadonlyMap<string, number>

/** @throws KernelError ENOENT when a map is missing, RangeError when one has another size than abi.h says */
export function openMaps(fds: MapFds): Maps {
  const map = <K, V>(name: string, key: Codec<K>, value: Codec<V>) => openMap(name, fdOf(fds, name), key, value)
  return {
    node: map('node', u32Codec, nodeConfigCodec),
    sessions: map('sessions', u32Codec, sessionCodec),
    peers: map('peers', u32Codec, peerCodec),
    pathConf: map('path_conf', u32Codec, pathConfCodec),
    pathState: map('path_state', u32Codec, pathStateCodec),
    nexthops: map('nexthops', u32Codec, nexthopCodec),
    fib: joinFamilies(map('fib4', fib4Codec, u32Codec), map('fib6', fib6Codec, u32Codec)),
    flows: map('flows', flowKeyCodec, flowCodec),
    ports: map('ports', u32Codec, portCodec),
    vaddrs: map('vaddrs', be32TextCodec, u32Codec),
  }
}

/** Drop reason -> packets, zeros included. */
export function readDrops(fds: MapFds): Record<string, number> {
  return named(readPerCpuSums('drops', fdOf(fds, 'drops'), DROP_REASONS), dropReasonNames)
}

/** Counter -> packets, zeros included. */
export function readCounters(fds: MapFds): Record<string, number> {
  return named(readPerCpuSums('counters', fdOf(fds, 'counters'), COUNTERS), counterNames)
}

export function fdOf(fds: MapFds, name: string): number {
  const fd = fds.get(name)
  if (fd === undefined) throw new KernelError('find', `map ${name}`, 'ENOENT', 'no program declares it')
  return fd
}

function named(sums: readonly bigint[], names: Readonly<Record<number, string>>): Record<string, number> {
  return Object.fromEntries(sums.map((sum, index) => [names[index] ?? `unnamed-${index}`, Number(sum)]))
}

const be32TextCodec: Codec<string> = {
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

const fib4Codec: Codec<FibKey> = {
  size: fib4KeyCodec.size,
  encode: ({ vrf, address, prefixLength }) =>
    fib4KeyCodec.encode({ prefixlen: VRF_BITS + prefixLength, vrf, addr: be32(address) }),
  decode: bytes => {
    const { prefixlen, vrf, addr } = fib4KeyCodec.decode(bytes)
    return { vrf, address: formatBe32(addr), prefixLength: prefixlen - VRF_BITS }
  },
}

const fib6Codec: Codec<FibKey> = {
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
function joinFamilies(ipv4: KernelMap<FibKey, number>, ipv6: KernelMap<FibKey, number>): KernelMap<FibKey, number> {
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
