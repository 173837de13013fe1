/** BPF_PROG_TEST_RUN of a tc or XDP program: one packet in, verdict and packet out. Documentation/bpf/bpf_prog_run.rst of the kernel. */
import * as libbpf from './libbpf.ts'

/** The fields of struct __sk_buff that a test may set; the kernel refuses any other that is not zero. */
export interface RunContext {
  mark: number
  priority: number
  /** Of a device in this namespace; 0 means 1 (lo). It is also the device that eth_type_trans compares the destination MAC with. */
  ifindex: number
  ingressIfindex: number
  /** ns, delivery time. */
  tstamp: bigint
  gsoSegs: number
  gsoSize: number
  wireLen: number
}

export interface ProgramRun {
  /** With its Ethernet header; at least 14 bytes. */
  packet: Uint8Array
  context?: Partial<RunContext>
  /** Default 1. Each repetition gets what the one before left of the packet. */
  repeat?: number
}

export interface ProgramResult {
  /** TC_ACT_* or TCX_*, signed: TCX_NEXT is -1. */
  verdict: number
  packet: Uint8Array
  context: RunContext
  /** Mean of one repetition. */
  durationNs: number
}

// Room for what a program may add in front (outer headers) or behind.
const GROWTH = 16384
// struct __sk_buff in linux/bpf.h.
const SK_BUFF = {
  size: 192,
  mark: 8,
  priority: 32,
  ingressIfindex: 36,
  ifindex: 40,
  tstamp: 152,
  wireLen: 160,
  gsoSegs: 164,
  gsoSize: 176,
}

/** @throws KernelError EINVAL for a packet below 14 bytes, ENODEV for an ifindex that is not there */
export function runProgram(programFd: number, { packet, context = {}, repeat = 1 }: ProgramRun): ProgramResult {
  const options = {
    data_in: packet,
    data_out: new Uint8Array(packet.length + GROWTH),
    ctx_in: encodeContext(context),
    ctx_out: new Uint8Array(SK_BUFF.size),
    repeat,
  }
  const { result, run } = libbpf.progTestRun(programFd, options)
  libbpf.checkResult(result, 'run', 'program')
  return {
    verdict: run.retval | 0,
    packet: options.data_out.slice(0, run.data_size_out),
    context: decodeContext(options.ctx_out),
    durationNs: run.duration,
  }
}

/** What an XDP program made of a packet. */
export type XdpResult = Pick<ProgramResult, 'verdict' | 'packet' | 'durationNs'>

export interface XdpRun extends Pick<ProgramRun, 'packet' | 'repeat'> {
  /** Bytes of metadata in front of the frame, a multiple of 4: so much less room has the program there, of the 216 beside the kernel's own 40. */
  metadata?: number
}

/** The verdict is XDP_*. The packet arrives on no device: rx_queue_index and ingress_ifindex are those of lo. @throws KernelError as runProgram */
export function runXdp(programFd: number, { packet, repeat = 1, metadata = 0 }: XdpRun): XdpResult {
  const input = new Uint8Array(metadata + packet.length)
  input.set(packet, metadata)
  const options = {
    data_in: input,
    data_out: new Uint8Array(input.length + GROWTH),
    ctx_in: metadata > 0 ? encodeXdpContext(metadata, input.length) : null,
    ctx_out: null,
    repeat,
  }
  const { result, run } = libbpf.progTestRun(programFd, options)
  libbpf.checkResult(result, 'run', 'program')
  return { verdict: run.retval, packet: options.data_out.slice(metadata, run.data_size_out), durationNs: run.duration }
}

/** struct xdp_md of linux/bpf.h: where the frame begins and ends behind its metadata. */
function encodeXdpContext(data: number, end: number): Uint8Array {
  return new Uint8Array(Uint32Array.of(data, end, 0, 0, 0, 0).buffer)
}

function encodeContext(context: Partial<RunContext>): Uint8Array {
  const bytes = new Uint8Array(SK_BUFF.size)
  const view = new DataView(bytes.buffer)
  view.setUint32(SK_BUFF.mark, context.mark ?? 0, true)
  view.setUint32(SK_BUFF.priority, context.priority ?? 0, true)
  view.setUint32(SK_BUFF.ingressIfindex, context.ingressIfindex ?? 0, true)
  view.setUint32(SK_BUFF.ifindex, context.ifindex ?? 0, true)
  view.setBigUint64(SK_BUFF.tstamp, context.tstamp ?? 0n, true)
  view.setUint32(SK_BUFF.wireLen, context.wireLen ?? 0, true)
  view.setUint32(SK_BUFF.gsoSegs, context.gsoSegs ?? 0, true)
  view.setUint32(SK_BUFF.gsoSize, context.gsoSize ?? 0, true)
  return bytes
}

function decodeContext(bytes: Uint8Array): RunContext {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  return {
    mark: view.getUint32(SK_BUFF.mark, true),
    priority: view.getUint32(SK_BUFF.priority, true),
    ifindex: view.getUint32(SK_BUFF.ifindex, true),
    ingressIfindex: view.getUint32(SK_BUFF.ingressIfindex, true),
    tstamp: view.getBigUint64(SK_BUFF.tstamp, true),
    gsoSegs: view.getUint32(SK_BUFF.gsoSegs, true),
    gsoSize: view.getUint32(SK_BUFF.gsoSize, true),
    wireLen: view.getUint32(SK_BUFF.wireLen, true),
  }
}
