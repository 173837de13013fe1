/** The flow table (bpf/path/flow-table.h) from the agent's side: made with secrets of its own, listed, and swept of what has outlived itself. */
import { randomBytes } from 'node:crypto'
import {
  ABI_FLOW_CLAIMED,
  ABI_FLOW_PROTO_DIGEST,
  type Flow,
  type FlowConfig,
  flowCodec,
  flowConfigCodec,
  flowSweepCodec,
} from '../../schema/abi.gen.ts'
import { formatBe32 } from '../../schema/address.ts'
import { viewOf } from '../../schema/codec.ts'
import { mapShape } from './bpf-object.ts'
import { KernelError } from './error.ts'
import * as libbpf from './libbpf.ts'
import { fdOf, type MapFds } from './maps.ts'
import { coarseTickNs, errnoName } from './native.ts'
import type { FlowEntry, FlowTable, SweepResult } from './port.ts'

const SLOTS_PER_LINE = 2
const LINE_SIZE = SLOTS_PER_LINE * flowCodec.size
/** Lines read by one system call: 256 kB. */
const BATCH = 4096
const ENOENT = -2
const NS_PER_S = 1_000_000_000

/** Call once, when `flows` was made and before a packet comes. */
export function initialiseFlowTable(maps: MapFds): void {
  const { maxEntries } = mapShape(fdOf(maps, 'flows'))
  const config = flowConfigCodec.encode(newFlowConfig(maxEntries, coarseTickNs()))
  libbpf.checkResult(
    libbpf.mapUpdate(fdOf(maps, 'flow_config'), new Uint8Array(4), config, 0n),
    'write',
    'map flow_config',
  )
}

/**
 * @param lines of the table, a power of two
 * @param jiffyNs the kernel's tick: 1, 4 or 10 ms
 */
export function newFlowConfig(lines: number, jiffyNs: number): FlowConfig {
  if (lines < 2 || !Number.isInteger(Math.log2(lines)))
    throw new RangeError(`a flow table of ${lines} lines: not a power of two`)
  const word = () => randomBytes(8).readBigUInt64LE()
  return {
    lineKey: [word(), word(), word() | 1n, word() | 1n],
    digestKey: [word(), word()],
    lineMask: lines - 1,
    tickShift: Math.round(Math.log2(NS_PER_S / jiffyNs)),
  }
}

export class LinuxFlowTable implements FlowTable {
  readonly lines: number
  readonly #flows: number
  readonly #sweep: number

  /** @param sweep program flow_sweep over the same maps */
  constructor(maps: MapFds, sweep: number) {
    this.#flows = fdOf(maps, 'flows')
    this.#sweep = sweep
    this.lines = mapShape(this.#flows).maxEntries
  }

  entries(limit = Number.POSITIVE_INFINITY): FlowEntry[] {
    const found: FlowEntry[] = []
    for (const { line, bytes } of this.#read()) {
      for (let slot = 0; slot < bytes.length / flowCodec.size; slot++) {
        const flow = bytes.subarray(slot * flowCodec.size, (slot + 1) * flowCodec.size)
        if (!isFlow(viewOf(flow).getBigUint64(8, true))) continue
        if (found.push(flowEntry(line * SLOTS_PER_LINE + slot, flowCodec.decode(flow))) >= limit) return found
      }
    }
    return found
  }

  sweep(line: number, lines: number): SweepResult {
    const slice = flowSweepCodec.encode({ line, lines, live: 0, freed: 0 })
    const none = new Uint8Array(0)
    const { result } = libbpf.progTestRun(this.#sweep, {
      data_in: none,
      data_out: none,
      ctx_in: slice,
      ctx_out: null,
      repeat: 0,
    })
    libbpf.checkResult(result, 'sweep', 'map flows')
    const { live, freed } = flowSweepCodec.decode(slice)
    return { live, freed }
  }

  clear(): void {
    for (const { line, bytes } of this.#read()) {
      const keys = new Uint32Array(bytes.length / LINE_SIZE).map((_, index) => line + index)
      const { result } = libbpf.mapUpdateBatch(this.#flows, new Uint8Array(keys.buffer), bytes.fill(0), keys.length)
      libbpf.checkResult(result, 'clear', 'map flows')
    }
  }

  /** The lines in order, a batch at a time; `bytes` are only good until the next. */
  *#read(): Generator<{ line: number; bytes: Uint8Array }> {
    const keys = new Uint8Array(BATCH * 4)
    const lines = new Uint8Array(BATCH * LINE_SIZE)
    let position: Uint8Array | null = null
    for (let line = 0; line < this.lines; ) {
      const next = new Uint8Array(4)
      const { result, count } = libbpf.mapLookupBatch(this.#flows, position, next, keys, lines, BATCH)
      if (result < 0 && result !== ENOENT) throw new KernelError('read', 'map flows', errnoName(-result))
      if (count === 0) return
      yield { line, bytes: lines.subarray(0, count * LINE_SIZE) }
      line += count
      position = next
    }
  }
}

function isFlow(idHigh: bigint): boolean {
  return idHigh !== 0n && idHigh !== BigInt(ABI_FLOW_CLAIMED)
}

/** The slot's content in words of people; the id is that of bpf/path/flow-id.h. */
export function flowEntry(slot: number, { idLow, idHigh, ...flow }: Flow): FlowEntry {
  const proto = Number(idHigh >> 56n)
  const vrf = Number((idHigh >> 32n) & 0xffffffn)
  if (proto === ABI_FLOW_PROTO_DIGEST) return { slot, vrf, tuple: undefined, ...flow }
  // As the processor reads them: addresses and ports stand in network order in a little-endian number.
  const swap = (value: bigint) => Buffer.from(Uint32Array.of(Number(value & 0xffffffffn)).buffer)
  const ports = swap(idHigh)
  const tuple = {
    proto,
    source: formatBe32(swap(idLow >> 32n).readUInt32BE()),
    destination: formatBe32(swap(idLow).readUInt32BE()),
    sourcePort: ports.readUInt16BE(2),
    destinationPort: ports.readUInt16BE(0),
  }
  return { slot, vrf, tuple, ...flow }
}
