/** The maps of service chains by name (bpf/abi/chain.h), and the sums of what their programs count. */
import {
  type AdapterTraffic,
  adapterCodec,
  adapterKeyCodec,
  adapterTrafficCodec,
  chainCodec,
  instanceStateCodec,
  policyCodec,
  policyRuleCodec,
  poolCodec,
  poolLineCodec,
} from '../../schema/abi.gen.ts'
import { type Codec, u32Codec, viewOf } from '../../schema/codec.ts'
import { mapShape } from './bpf-object.ts'
import * as libbpf from './libbpf.ts'
import type { ChainMaps, KernelMap } from './port.ts'

type Open = <K, V>(name: string, key: Codec<K>, value: Codec<V>) => KernelMap<K, V>

export function openChainMaps(open: Open, fdOf: (name: string) => number): ChainMaps {
  return {
    policies: open('policies', u32Codec, policyCodec),
    policyRules: open('policy_rules', u32Codec, policyRuleCodec),
    chains: open('chains', u32Codec, chainCodec),
    pools: open('pools', u32Codec, poolCodec),
    poolLines: open('pool_lines', u32Codec, poolLineCodec),
    adapters: open('adapters', u32Codec, adapterCodec),
    instanceState: open('instance_state', u32Codec, instanceStateCodec),
    adapterPorts: open('adapter_ports', u32Codec, u32Codec),
    adapterOuters: open('adapter_outers', adapterKeyCodec, u32Codec),
    ruleHits: ruleHitsReader(fdOf('rule_hits')),
    adapterTraffic: trafficReader(fdOf('adapter_traffic')),
  }
}

/** Values of one entry of a per-CPU array, one CPU behind the other; undefined: there is no such entry. */
function perCpuReader(fd: number, valueSize: number): (index: number) => Uint8Array[] | undefined {
  const actual = mapShape(fd).valueSize
  // A value of another size would have the kernel write behind the buffer's end.
  if (actual !== valueSize) throw new RangeError(`map holds ${actual} bytes, not ${valueSize}`)
  const values = new Uint8Array(valueSize * libbpf.checkResult(libbpf.possibleCpus(), 'count', 'CPUs'))
  const parts = Array.from({ length: values.length / valueSize }, (_, cpu) =>
    values.subarray(cpu * valueSize, (cpu + 1) * valueSize),
  )
  return index => (libbpf.mapLookup(fd, u32Codec.encode(index), values) === 0 ? parts : undefined)
}

function ruleHitsReader(fd: number): ChainMaps['ruleHits'] {
  const read = perCpuReader(fd, 8)
  return index => read(index)?.reduce((sum, value) => sum + viewOf(value).getBigUint64(0, true), 0n)
}

function trafficReader(fd: number): ChainMaps['adapterTraffic'] {
  const read = perCpuReader(fd, adapterTrafficCodec.size)
  return adapter => read(adapter)?.map(adapterTrafficCodec.decode).reduce(together)
}

function together(a: AdapterTraffic, b: AdapterTraffic): AdapterTraffic {
  const newest = a.seenNs > b.seenNs ? a : b
  return {
    toPackets: a.toPackets + b.toPackets,
    toBytes: a.toBytes + b.toBytes,
    fromPackets: a.fromPackets + b.fromPackets,
    fromBytes: a.fromBytes + b.fromBytes,
    seenNs: newest.seenNs,
    seenJiffies: newest.seenJiffies,
  }
}
