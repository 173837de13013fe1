/** The flow table's hash once more, for tests: bpf/path/flow-id.h is checked against it, and flows are made that meet in the same lines. */
import { mapLookup, mapUpdate } from '../../agent/kernel/libbpf.ts'
import type { FlowTuple } from '../../agent/kernel/port.ts'
import { type FlowConfig, flowConfigCodec } from '../../schema/abi.gen.ts'
import { be32 } from '../../schema/address.ts'

const MASK64 = (1n << 64n) - 1n
const low32 = (value: bigint) => value & 0xffffffffn

/** The two lines that an IPv4 flow is entered at; it may be in their neighbours too. */
export function linesOf(config: FlowConfig, vrf: number, tuple: FlowTuple): [number, number] {
  const native = (value: number) => {
    const bytes = new DataView(new ArrayBuffer(4))
    bytes.setUint32(0, value)
    return BigInt(bytes.getUint32(0, true))
  }
  const native16 = (value: number) => BigInt(((value & 0xff) << 8) | (value >> 8))
  const idLow = (native(be32(tuple.source)) << 32n) | native(be32(tuple.destination))
  const ports = (native16(tuple.sourcePort) << 16n) | native16(tuple.destinationPort)
  const idHigh = (BigInt(tuple.proto) << 56n) | (BigInt(vrf) << 32n) | ports
  const [a = 0n, b = 0n, c = 0n, d = 0n] = config.lineKey
  const half = (word: bigint, key: bigint) => low32(word + key) * low32((word >> 32n) + (key >> 32n))
  let hash = (half(idLow, a) + half(idHigh, b)) & MASK64
  hash = ((hash ^ (hash >> 32n)) * c) & MASK64
  hash = ((hash ^ (hash >> 29n)) * d) & MASK64
  hash ^= hash >> 32n
  return [Number(low32(hash)) & config.lineMask, Number(hash >> 32n) & config.lineMask]
}

/** Line and neighbour share all bits but the last. */
export const pairOf = (line: number) => line >> 1

export function readFlowConfig(fd: number): FlowConfig {
  const bytes = new Uint8Array(flowConfigCodec.size)
  mapLookup(fd, new Uint8Array(4), bytes)
  return flowConfigCodec.decode(bytes)
}

export function changeFlowConfig(fd: number, change: Partial<FlowConfig>): void {
  mapUpdate(fd, new Uint8Array(4), flowConfigCodec.encode({ ...readFlowConfig(fd), ...change }), 0n)
}
