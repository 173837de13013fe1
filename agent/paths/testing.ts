/** Paths for tests: counters as the programs would leave them after so much traffic. Not part of the product. */
import { ABI_DELAY_BUCKETS } from '../../schema/abi.gen.ts'
import type { PathCounters } from '../kernel/path-counters.ts'

export const HANDLE = 0x00100170

export function counters(change: Partial<PathCounters> = {}): PathCounters {
  return {
    handle: HANDLE,
    left: false,
    delay: Array.from({ length: ABI_DELAY_BUCKETS }, () => 0),
    txNumber: 0,
    txBytes: 0,
    rxHighest: 0,
    rxPackets: 0,
    rxBytes: 0,
    lastRxNs: 0,
    toldHighest: 0,
    toldPackets: 0,
    rttUs: 0,
    srttUs: 0,
    rttvarUs: 0,
    probeReplies: 0,
    jitterUs: 0,
    reordered: 0,
    transitUs: 0,
    transitEpoch: 0,
    ...change,
  }
}

/** A path by what the network does to it: `step` makes that much time pass at a packet rate. */
export class TestPath {
  now = 0
  readonly counters = counters()
  lossOut = 0
  lossIn = 0
  #owedOut = 0
  #owedIn = 0

  /** @param packets in each direction, of 1000 bytes; what is lost is spread evenly, so every run is the same */
  step(ms: number, packets: number): PathCounters {
    const { counters: now } = this
    this.now += ms
    this.#owedOut += packets * this.lossOut
    this.#owedIn += packets * this.lossIn
    const [lostOut, lostIn] = [Math.floor(this.#owedOut), Math.floor(this.#owedIn)]
    this.#owedOut -= lostOut
    this.#owedIn -= lostIn
    now.txNumber += packets
    now.txBytes += 1000 * packets
    now.toldHighest += packets
    now.toldPackets += packets - lostOut
    now.rxHighest += packets
    now.rxPackets += packets - lostIn
    now.rxBytes += 1000 * (packets - lostIn)
    now.lastRxNs = this.now * 1e6
    return { ...now, delay: [...now.delay] }
  }

  /** A new session: everything is counted from zero. */
  rekey(): void {
    Object.assign(this.counters, counters({ handle: this.counters.handle + 0x100 }))
  }
}
