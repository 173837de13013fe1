/**
 * Queues of a device (tc): the part of the port's Network that says so. A handle is `major << 16 | minor`: a qdisc's minor is 0, a class has the major of
 * its qdisc. A kind that the kernel does not have is ENOENT.
 */

/** Parent of what stands on the device itself (TC_H_ROOT). */
export const ROOT = 0xffffffff

export interface Qdisc {
  ifindex: number
  kind: string
  /** 0: the kernel put it there itself. */
  handle: number
  /** `ROOT`, or a class. */
  parent: number
}

/** Limits in packets. */
export type QdiscSpec = Omit<Qdisc, 'kind'> &
  (
    | { kind: 'htb'; defaultMinor: number }
    | { kind: 'pfifo'; limit: number }
    | { kind: 'fq_codel'; limit: number; targetUs: number; intervalUs: number; ecn: boolean }
    | { kind: 'fq'; limit: number; flowLimit: number }
  )

/** A class of an HTB. */
export interface HtbClass {
  ifindex: number
  handle: number
  /** The qdisc, or a class. */
  parent: number
  /** Bytes per second: its own, and with what others leave. */
  rate: number
  ceil: number
  /** Bytes that may leave at once. */
  burst: number
  /** 0 is served first. */
  priority: number
  /** Bytes per turn among classes of one priority. */
  quantum: number
}

export interface Queueing {
  /** Of all devices. */
  qdiscs(): Promise<Qdisc[]>
  /** Makes it, in place of what stands there; one of the same kind and handle takes the new parameters and keeps its packets. HTB takes none. */
  replaceQdisc(spec: QdiscSpec): Promise<void>
  /** What the kernel has by default takes its place. */
  deleteQdisc(place: { ifindex: number; parent: number }): Promise<void>
  /** Of the device's HTBs. */
  classes(ifindex: number): Promise<Omit<HtbClass, 'burst'>[]>
  /** Makes it, or changes it where it is. */
  replaceClass(htbClass: HtbClass): Promise<void>
}
