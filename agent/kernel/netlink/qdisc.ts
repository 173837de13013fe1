/** RTM_*QDISC and RTM_*TCLASS: struct tcmsg, TCA_* (include/uapi/linux/rtnetlink.h) and each kind's options (pkt_sched.h). */
import { viewOf } from '../../../schema/codec.ts'
import type { HtbClass, Qdisc, QdiscSpec } from '../queueing.ts'
import { type Message, parseAttributes, readText, Writer } from './codec.ts'

export const RTM_NEWQDISC = 36
export const RTM_DELQDISC = 37
export const RTM_GETQDISC = 38
export const RTM_NEWTCLASS = 40
export const RTM_GETTCLASS = 42

const TCMSG = 20
const TCA_KIND = 1
const TCA_OPTIONS = 2

const TCA_HTB_PARMS = 1
const TCA_HTB_INIT = 2
const TCA_HTB_RATE64 = 6
const TCA_HTB_CEIL64 = 7
const TC_HTB_GLOB = 20
const TC_HTB_OPT = 44
/** Of sch_htb.c; the kernel wants to hear it. */
const HTB_VERSION = 3
const RATE_TO_QUANTUM = 10
/** Saves the kernel the tables of rates that old versions of tc sent. */
const TC_LINKLAYER_ETHERNET = 1
/** PSCHED_TICKS2NS: a tick of times in options is 64 ns. */
const TICK_NS = 64
const UINT32_MAX = 0xffffffff

const TCA_FQ_CODEL_TARGET = 1
const TCA_FQ_CODEL_LIMIT = 2
const TCA_FQ_CODEL_INTERVAL = 3
const TCA_FQ_CODEL_ECN = 4
const TCA_FQ_PLIMIT = 1
const TCA_FQ_FLOW_PLIMIT = 2

interface Place {
  ifindex: number
  handle?: number
  parent?: number
}

function place(writer: Writer, { ifindex, handle = 0, parent = 0 }: Place): Writer {
  const header = writer.struct(TCMSG)
  header.setInt32(4, ifindex, true)
  header.setUint32(8, handle, true)
  header.setUint32(12, parent, true)
  return writer
}

/** For RTM_GETQDISC, whose dump is of all devices, RTM_GETTCLASS, whose dump is of one, and RTM_DELQDISC. */
export function queuePlace(of: Place): Uint8Array {
  return place(new Writer(), of).finish()
}

export function parseQdisc({ payload }: Message): Qdisc {
  const view = viewOf(payload)
  const kind = readText(parseAttributes(payload, TCMSG).get(TCA_KIND)) ?? ''
  return { ifindex: view.getInt32(4, true), kind, handle: view.getUint32(8, true), parent: view.getUint32(12, true) }
}

export function newQdisc(spec: QdiscSpec): Uint8Array {
  const writer = place(new Writer(), spec).text(TCA_KIND, spec.kind)
  // Not an attribute with attributes inside, but a struct: pfifo is older than they are.
  if (spec.kind === 'pfifo') return writer.u32(TCA_OPTIONS, spec.limit).finish()
  return writer.nested(TCA_OPTIONS, () => qdiscOptions(writer, spec)).finish()
}

function qdiscOptions(writer: Writer, spec: Exclude<QdiscSpec, { kind: 'pfifo' }>): void {
  switch (spec.kind) {
    case 'htb': {
      const global = new DataView(new ArrayBuffer(TC_HTB_GLOB))
      global.setUint32(0, HTB_VERSION, true)
      global.setUint32(4, RATE_TO_QUANTUM, true)
      global.setUint32(8, spec.defaultMinor, true)
      writer.bytes(TCA_HTB_INIT, new Uint8Array(global.buffer))
      return
    }
    case 'fq_codel':
      writer
        .u32(TCA_FQ_CODEL_TARGET, spec.targetUs)
        .u32(TCA_FQ_CODEL_LIMIT, spec.limit)
        .u32(TCA_FQ_CODEL_INTERVAL, spec.intervalUs)
        .u32(TCA_FQ_CODEL_ECN, spec.ecn ? 1 : 0)
      return
    case 'fq':
      writer.u32(TCA_FQ_PLIMIT, spec.limit).u32(TCA_FQ_FLOW_PLIMIT, spec.flowLimit)
  }
}

export function newClass(htbClass: HtbClass): Uint8Array {
  const { rate, ceil, burst, quantum, priority } = htbClass
  const options = new DataView(new ArrayBuffer(TC_HTB_OPT))
  const time = (bytesPerSecond: number) => Math.ceil((burst * 1e9) / bytesPerSecond / TICK_NS)
  options.setUint8(1, TC_LINKLAYER_ETHERNET)
  options.setUint32(8, Math.min(rate, UINT32_MAX), true)
  options.setUint8(13, TC_LINKLAYER_ETHERNET)
  options.setUint32(20, Math.min(ceil, UINT32_MAX), true)
  options.setUint32(24, time(rate), true)
  options.setUint32(28, time(ceil), true)
  options.setUint32(32, quantum, true)
  options.setUint32(40, priority, true)
  const writer = place(new Writer(), htbClass).text(TCA_KIND, 'htb')
  writer.nested(TCA_OPTIONS, () => {
    writer.bytes(TCA_HTB_PARMS, new Uint8Array(options.buffer))
    // Above 34 Gb/s.
    if (rate > UINT32_MAX) writer.bytes(TCA_HTB_RATE64, bytes8(rate))
    if (ceil > UINT32_MAX) writer.bytes(TCA_HTB_CEIL64, bytes8(ceil))
  })
  return writer.finish()
}

/** undefined for a class of another kind */
export function parseClass({ payload }: Message): Omit<HtbClass, 'burst'> | undefined {
  const attributes = parseAttributes(payload, TCMSG)
  const options = attributes.get(TCA_OPTIONS)
  if (readText(attributes.get(TCA_KIND)) !== 'htb' || !options) return undefined
  const htb = parseAttributes(options)
  const parameters = htb.get(TCA_HTB_PARMS)
  if (!parameters || parameters.length < TC_HTB_OPT) return undefined
  const [view, header] = [viewOf(parameters), viewOf(payload)]
  return {
    ifindex: header.getInt32(4, true),
    handle: header.getUint32(8, true),
    parent: header.getUint32(12, true),
    rate: read8(htb.get(TCA_HTB_RATE64)) ?? view.getUint32(8, true),
    ceil: read8(htb.get(TCA_HTB_CEIL64)) ?? view.getUint32(20, true),
    quantum: view.getUint32(32, true),
    priority: view.getUint32(40, true),
  }
}

function bytes8(value: number): Uint8Array {
  return new Uint8Array(BigUint64Array.of(BigInt(value)).buffer)
}

function read8(value: Uint8Array | undefined): number | undefined {
  return value && value.length >= 8 ? Number(viewOf(value).getBigUint64(0, true)) : undefined
}
