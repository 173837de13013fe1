/** A probe between two fake kernels, with everything that the real programs would count of it. */
import type { FakeKernel } from '../../agent/kernel/fake.ts'
import { ABI_FAMILY_NONE, eventCodec, eventType, type PathState } from '../../schema/abi.gen.ts'

export interface End {
  kernel: FakeKernel
  handle: number
}

/** What the network does to a probe and to its reply, and how long both are on their way together. */
export interface Fate {
  arrives: boolean
  returns: boolean
  rttMs: number
  /** Of the trigger. */
  round: number
  size: number
}

/** Outer IPv4, UDP and MP headers, and the trigger in its own. */
const SMALLEST_PROBE = 112

export function exchangeProbe(from: End, to: End, { arrives, returns, rttMs, round, size }: Fate): void {
  const asked = sent(stateOf(from))
  if (!asked) return
  const there = arrives ? stateOf(to) : undefined
  const answering = there && sent(arrived(there, asked.txNumber, to.kernel.monotonic()))
  if (!answering) return void put(from, asked)
  put(to, answering)
  if (!returns) return void put(from, asked)
  const rttUs = Math.round(rttMs * 1000)
  put(from, {
    ...arrived(asked, answering.txNumber, from.kernel.monotonic()),
    probeReplies: asked.probeReplies + 1,
    toldHighest: answering.rxHighest,
    toldPackets: answering.rxPackets,
    rttUs,
    srttUs: rttUs,
    rttvarUs: Math.round(rttUs / 8),
    probedSize: round > 0 ? largestOf(asked.probedSize, round, Math.max(size, SMALLEST_PROBE)) : asked.probedSize,
  })
}

/** The receiver's program tells its agent of a path whose far address it does not know. */
export function learnSource(from: End, to: End): void {
  const conf = from.kernel.maps()?.pathConf.get(from.handle)
  const known = to.kernel.maps()?.pathConf.get(to.handle)
  if (!conf || !known || known.family !== ABI_FAMILY_NONE) return
  const ifindex =
    to.kernel
      .maps()
      ?.pathConf.entries()
      .find(([, other]) => other.family !== ABI_FAMILY_NONE)?.[1].ifindex ?? 0
  to.kernel.emit({
    ...eventCodec.decode(new Uint8Array(eventCodec.size)),
    type: eventType.EVENT_PATH_MOVED,
    ifindex,
    handle: to.handle,
    family: conf.family,
    srcPort: conf.localPort,
    dstPort: conf.remotePort,
    src: conf.local,
    dst: conf.remote,
  })
}

/** What bpf/path/trigger.h makes of a reply. */
function largestOf(probed: number, round: number, size: number): number {
  const largest = probed >>> 16 === round ? Math.max(size, probed & 0xffff) : size
  return ((round << 16) | largest) >>> 0
}

function stateOf({ kernel, handle }: End): PathState | undefined {
  return kernel.maps()?.pathState.get(handle)
}

function put({ kernel, handle }: End, state: PathState): void {
  kernel.maps()?.pathState.set(handle, state)
}

function sent(state: PathState | undefined): PathState | undefined {
  return state && { ...state, txNumber: state.txNumber + 1n, txBytes: state.txBytes + BigInt(SMALLEST_PROBE) }
}

function arrived(state: PathState, number: bigint, nowNs: bigint): PathState {
  return {
    ...state,
    lastRxNs: nowNs,
    rxHighest: number > state.rxHighest ? number : state.rxHighest,
    rxPackets: state.rxPackets + 1n,
    rxBytes: state.rxBytes + BigInt(SMALLEST_PROBE),
  }
}
