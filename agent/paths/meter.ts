/**
 * What a path is like, by what the programs count of it (struct path_state). Counters of successive looks become figures over the last second, ten
 * seconds and minute. A path outlives the sessions that use it: with a new one its counters begin at zero, and the figures go on.
 *
 * Nothing counted is unknown, not zero: an idle path has no loss rate.
 */
import type { PathCounters } from '../kernel/path-counters.ts'
import { delayQuantileMs } from './delay.ts'
import { SlidingWindow, type Totals } from './sliding-window.ts'

/** Packets that one end numbered, and those of them that the other has not seen. */
export interface Loss {
  packets: number
  lost: number
}

export interface Figures {
  /** What they cover, ms; less than the window when the path is younger. */
  spanMs: number
  /** From this node to the peer, as the peer's reports tell. */
  out: Loss | undefined
  in: Loss | undefined
  /** Share of the received packets that came behind a later one. */
  reordered: number | undefined
  /** Bits per second / 10^6, with outer headers as the programs count them. */
  mbpsOut: number
  mbpsIn: number
  /** Of received packets, above the quickest of the path. */
  delayP50Ms: number | undefined
  delayP95Ms: number | undefined
  delayP99Ms: number | undefined
}

/** Of the newest look; smoothed by the programs. Undefined: not measured yet. */
export interface Timing {
  rttMs: number | undefined
  /** RFC 6298. */
  srttMs: number | undefined
  rttvarMs: number | undefined
  /** RFC 3550, 6.4.1; of what is received. */
  jitterMs: number | undefined
  /** Least arrival minus timestamp, µs modulo 2^32: of two clocks, so only its difference to another path's says something. */
  transitUs: number | undefined
}

/** What the windows are: ms, and how many looks back each remembers. */
const WINDOWS = { second: [1000, 5], ten: [10_000, 10], minute: [60_000, 6] } as const
export type WindowName = keyof typeof WINDOWS

/** ms. Longer than a search for the path's MTU waits for an answer. */
const EXCUSED_MS = 4000

export class PathMeter {
  readonly #windows: Record<WindowName, SlidingWindow>
  #last: PathCounters | undefined
  /** Packets that may be lost without telling anything, and until when. */
  #excused = 0
  #excusedUntilMs = 0
  #totals: Totals = {
    atMs: 0,
    sentBytes: 0,
    receivedBytes: 0,
    expected: 0,
    received: 0,
    toldExpected: 0,
    toldReceived: 0,
    reordered: 0,
    delay: [],
  }

  constructor() {
    this.#windows = {
      second: new SlidingWindow(...WINDOWS.second),
      ten: new SlidingWindow(...WINDOWS.ten),
      minute: new SlidingWindow(...WINDOWS.minute),
    }
  }

  /** @param atMs monotonic; a look that is not later than the one before starts the windows anew */
  add(atMs: number, read: PathCounters): void {
    const before = this.#last
    const counters = before ? withNewestReport(before, read) : read
    this.#last = counters
    if (before && atMs <= this.#totals.atMs) for (const window of Object.values(this.#windows)) window.clear()
    this.#totals = before
      ? this.#pardon(grown(this.#totals, before, counters, atMs), this.#totals)
      : { ...this.#totals, atMs, delay: counters.delay.map(() => 0) }
    for (const window of Object.values(this.#windows)) window.push(this.#totals)
  }

  /** So many packets are on their way to find out whether they get through: their loss is no fault of the path. Below 0: of so many it would be. */
  excuse(packets: number, nowMs: number): void {
    this.#excused = Math.max(0, this.#excused + packets)
    if (packets > 0) this.#excusedUntilMs = nowMs + EXCUSED_MS
  }

  /** Leaves out of what the peer was told what was to be expected. */
  #pardon(totals: Totals, before: Totals): Totals {
    if (totals.atMs > this.#excusedUntilMs) this.#excused = 0
    const lost = totals.toldExpected - before.toldExpected - (totals.toldReceived - before.toldReceived)
    const pardoned = Math.max(0, Math.min(lost, this.#excused))
    this.#excused -= pardoned
    return { ...totals, toldExpected: totals.toldExpected - pardoned }
  }

  /** Where the window begins, ms, monotonic; undefined: nothing was counted yet. */
  beginMs(name: WindowName): number | undefined {
    return this.#windows[name].base?.atMs
  }

  figures(name: WindowName): Figures {
    const base = this.#windows[name].base
    const now = this.#totals
    const spanMs = base ? now.atMs - base.atMs : 0
    if (!base || spanMs <= 0) return { ...NOTHING }
    const received = now.received - base.received
    const mbps = (bytes: number) => (bytes * 8) / 1000 / spanMs
    const delay = now.delay.map((count, bucket) => count - (base.delay[bucket] ?? 0))
    return {
      spanMs,
      out: loss(now.toldExpected - base.toldExpected, now.toldReceived - base.toldReceived),
      in: loss(now.expected - base.expected, received),
      reordered: received > 0 ? (now.reordered - base.reordered) / received : undefined,
      mbpsOut: mbps(now.sentBytes - base.sentBytes),
      mbpsIn: mbps(now.receivedBytes - base.receivedBytes),
      delayP50Ms: delayQuantileMs(delay, 0.5),
      delayP95Ms: delayQuantileMs(delay, 0.95),
      delayP99Ms: delayQuantileMs(delay, 0.99),
    }
  }

  get timing(): Timing {
    const { rttUs = 0, srttUs = 0, rttvarUs = 0, jitterUs = 0, rxPackets = 0, transitEpoch = 0 } = this.#last ?? {}
    return {
      rttMs: rttUs > 0 ? rttUs / 1000 : undefined,
      // A peer whose program does not smooth yet: the newest round trip is better than nothing.
      srttMs: srttUs > 0 ? srttUs / 1000 : rttUs > 0 ? rttUs / 1000 : undefined,
      rttvarMs: srttUs > 0 ? rttvarUs / 1000 : undefined,
      jitterMs: rxPackets > 1 ? jitterUs / 16_000 : undefined,
      transitUs: transitEpoch > 0 ? this.#last?.transitUs : undefined,
    }
  }
}

const NOTHING: Figures = {
  spanMs: 0,
  out: undefined,
  in: undefined,
  reordered: undefined,
  mbpsOut: 0,
  mbpsIn: 0,
  delayP50Ms: undefined,
  delayP95Ms: undefined,
  delayP99Ms: undefined,
}

/** Late packets of an earlier span may make more received than expected. */
function loss(packets: number, received: number): Loss | undefined {
  return packets > 0 ? { packets, lost: Math.max(0, packets - received) } : undefined
}

/** Replies overtake each other: a report that is older than the one before says nothing new. */
function withNewestReport(before: PathCounters, now: PathCounters): PathCounters {
  if (isFresh(before, now) || now.toldHighest >= before.toldHighest) return now
  return { ...now, toldHighest: before.toldHighest, toldPackets: before.toldPackets }
}

/** Another session, or counters that were made anew: all that they show is new. */
function isFresh(before: PathCounters, now: PathCounters): boolean {
  return now.handle !== before.handle || now.txNumber < before.txNumber || now.rxPackets < before.rxPackets
}

function grown(totals: Totals, before: PathCounters, now: PathCounters, atMs: number): Totals {
  const fresh = isFresh(before, now)
  const more = (count: number, since: number) => (fresh ? count : Math.max(0, count - since))
  const wrapped = (count: number, since: number) => (fresh ? count : (count - since) >>> 0)
  return {
    atMs,
    sentBytes: totals.sentBytes + more(now.txBytes, before.txBytes),
    receivedBytes: totals.receivedBytes + more(now.rxBytes, before.rxBytes),
    expected: totals.expected + more(now.rxHighest, before.rxHighest),
    received: totals.received + more(now.rxPackets, before.rxPackets),
    toldExpected: totals.toldExpected + more(now.toldHighest, before.toldHighest),
    toldReceived: totals.toldReceived + more(now.toldPackets, before.toldPackets),
    reordered: totals.reordered + wrapped(now.reordered, before.reordered),
    delay: now.delay.map((count, bucket) => (totals.delay[bucket] ?? 0) + wrapped(count, before.delay[bucket] ?? 0)),
  }
}
