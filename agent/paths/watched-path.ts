/** One path as this node follows it over sessions: measured, judged, and asked at the pace that its condition calls for. */
import type { PathCounters } from '../kernel/path-counters.ts'
import type { Choosable } from './chooser.ts'
import { faultOf, signOf } from './faults.ts'
import { type Change, type Condition, type JudgeTimers, PathJudge } from './judge.ts'
import { lossRate, provenLoss } from './loss.ts'
import { PathMeter } from './meter.ts'
import { largeEvery, type Pacing, paceMs } from './pace.ts'
import { UsualRtt } from './usual.ts'

/** What is not in the counters. */
export interface Surroundings {
  present: boolean
  silenceMs: number
  choice: boolean
  metered: boolean
  probeMs: number
  /** A path that is heard without being asked is not asked while its silence is shorter, ms; 0: asked always. */
  quietMs: number
}

export interface Next {
  change: Change | undefined
  /** Which probe to send now. */
  probe: 'none' | 'small' | 'large'
}

const TIER: Readonly<Record<Condition, number>> = { good: 0, suspect: 0, degraded: 1, left: 2, down: 3 }

/** Of a path that nothing is known of: neither better nor worse than most, ms. */
const UNKNOWN_RTT_MS = 100
/** Packets from which their loss is a rate. */
const ENOUGH = 50
/** Without a measured round trip, ms. */
const PATIENCE_MS = 300
/** Beside what RFC 6298 allows: the program's clock tick and the look itself. */
const PATIENCE_MORE_MS = 20
/** A path that carries more in either direction is busy: 40 kbit/s. */
const BUSY_MBPS = 0.04
/** Looks between two probes of a path that is heard without being asked: they measure its round trip. */
const ROUND_TRIP_EVERY = 32

export class WatchedPath {
  readonly path: number
  readonly link: string
  readonly meter = new PathMeter()
  readonly judge: PathJudge
  /** Bytes cost money. */
  metered = false
  /** Only when no other path lives. */
  backup = false
  readonly #usual = new UsualRtt()
  /** Since the last reply. */
  #unanswered = 0
  #askedMs = 0
  #replies = 0
  #heardNs = 0
  #handle = 0
  #probes = 0
  #looks: number
  #nextMs = 0

  /** @param spread any number: paths with different ones measure their round trips in different rounds */
  constructor(path: number, link: string, timers: JudgeTimers, spread: number) {
    this.path = path
    this.link = link
    this.judge = new PathJudge(timers)
    this.#looks = spread % ROUND_TRIP_EVERY
  }

  /** When it is to be looked at again, ms. */
  get nextMs(): number {
    return this.#nextMs
  }

  /** At the next opportunity. */
  hurry(): void {
    this.#nextMs = 0
  }

  look(nowMs: number, counters: PathCounters, around: Surroundings): Next {
    this.meter.add(nowMs, counters)
    this.#settle(counters)
    const { timing } = this.meter
    const figures = this.meter.figures('second')
    const observed = { figures, timing, usualRttMs: this.#usual.ms }
    const change = this.judge.look({
      nowMs,
      present: around.present,
      silenceMs: around.silenceMs,
      unanswered: this.#unanswered,
      unansweredMs: this.#unanswered > 0 ? nowMs - this.#askedMs : 0,
      patienceMs: this.patienceMs,
      left: counters.left,
      fault: faultOf(observed),
      sign: signOf(observed),
    })
    if (timing.srttMs !== undefined) this.#usual.add(nowMs, timing.srttMs)
    const pacing = this.#pacing(nowMs, around, Math.max(figures.mbpsIn, figures.mbpsOut) > BUSY_MBPS)
    this.#nextMs = nowMs + paceMs(pacing)
    return { change, probe: this.#probe(nowMs, pacing, around) }
  }

  /** ms after which a reply is late. */
  get patienceMs(): number {
    const { srttMs, rttvarMs } = this.meter.timing
    if (srttMs === undefined) return PATIENCE_MS
    return srttMs + 4 * (rttvarMs ?? srttMs / 2) + PATIENCE_MORE_MS
  }

  /** Round trip without queues, as far as it can be known, ms. */
  get usualRttMs(): number | undefined {
    return this.#usual.ms
  }

  /** For the choice among paths. @param mbps that it carries; undefined: unknown */
  choosable(mbps: number | undefined): Choosable {
    const { srttMs = UNKNOWN_RTT_MS, jitterMs = 0, transitUs } = this.meter.timing
    const { out, delayP99Ms = 2 * jitterMs } = this.meter.figures('ten')
    const lately = out && out.packets >= ENOUGH ? (lossRate(out) ?? 0) : provenLoss(out)
    const loss = Math.max(lately, provenLoss(this.meter.figures('second').out))
    const { path, tier, backup, metered } = this
    const busy = this.meter.figures('second').mbpsIn > BUSY_MBPS
    return { path, tier, backup, metered, loss, rttMs: srttMs, jitterMs, mbps, transitUs, queuedMs: delayP99Ms, busy }
  }

  /** A path is used while there is none of a lower tier. */
  get tier(): number {
    return TIER[this.judge.condition]
  }

  /** What has been answered meanwhile. A program that does not count replies counts as answering while it is heard. */
  #settle(counters: PathCounters): void {
    const moved = counters.handle !== this.#handle
    const answered =
      counters.probeReplies > 0
        ? moved || counters.probeReplies !== this.#replies
        : moved || counters.lastRxNs !== this.#heardNs
    if (answered) this.#unanswered = 0
    this.#handle = counters.handle
    this.#replies = counters.probeReplies
    this.#heardNs = counters.lastRxNs
  }

  #pacing(nowMs: number, { choice, metered, probeMs }: Surroundings, busy: boolean): Pacing {
    const { condition, sinceMs = nowMs } = this.judge
    return { condition, forMs: nowMs - sinceMs, busy, choice, metered, probeMs }
  }

  #probe(nowMs: number, pacing: Pacing, { present, silenceMs, quietMs }: Surroundings): Next['probe'] {
    this.#looks += 1
    if (!present) return 'none'
    const asked = silenceMs >= quietMs || this.#looks % ROUND_TRIP_EVERY === 0
    if (!asked && this.judge.condition === 'good' && !(pacing.busy && pacing.choice)) return 'none'
    if (this.#unanswered === 0) this.#askedMs = nowMs
    this.#unanswered += 1
    this.#probes += 1
    return this.#probes % largeEvery(pacing) === 0 ? 'large' : 'small'
  }
}
