/**
 * Which path each class uses, and how: figures of the paths -> steering words (struct steering). Pure but for what it remembers of its own choice.
 *
 *   paths -> those of the best standing (alive before degraded before left, backup links last) -> mask
 *         -> the best of them by the class's score, with a margin and a delay before anything moves -> best, second
 *         -> mode as configured, as far as the paths allow; FEC as measured
 *   paths -> how late the peer's packets come -> playout
 */
import { type Steering, spread, trafficClass } from '../../schema/abi.gen.ts'
import { type Quality, score } from './score.ts'

export interface Choosable extends Quality {
  path: number
  /** WatchedPath.tier: 0 in order, 1 degraded, 2 left. */
  tier: number
  backup: boolean
  metered: boolean
  /** Least arrival minus timestamp of what comes from the peer, µs modulo 2^32; undefined: nothing came yet. */
  transitUs: number | undefined
  /** How much later than that nearly all come, ms. */
  queuedMs: number
  /** More comes than probes: the peer uses it. */
  busy: boolean
}

/** How a class is spread. `auto`: on the best path, and twice while that one loses. */
export type SpreadName = 'auto' | 'best' | 'flows' | 'packets' | 'twice'

/** One parity for so many packets. So many losses in a row are one of each group: 1, 2 or 4, as the encoder has columns (bpf/maps.h). */
export interface FecCode {
  packets: number
  depth: number
}

export interface ClassPlan {
  spread: SpreadName
  /** true: as the path loses */
  fec: boolean | FecCode
  /** Longest time that packets are held back to be put in order, ms. */
  playoutMs: number
}

/** What is better by less moves nothing, nor what is better for less long. */
const MARGIN = 1.2
const PATIENCE_MS = 2000
/** Loss from which real-time packets are sent twice, if the class says `auto`. */
const TWICE_LOSS = 0.01
/** Packets per parity by the loss they are to hide: of a group of k + 1, two lost ones are lost for good. */
const FEC: readonly (readonly [loss: number, k: number])[] = [
  [0.1, 3],
  [0.05, 5],
  [0.02, 7],
  [0.01, 10],
  [0.002, 20],
]

/** What is held back for is that much longer than what was seen lately, and is seen to be too long when it is so often as long. */
const PLAYOUT_MARGIN = 1.2
const PLAYOUT_TOO_LONG = 2.5

/** MP_FEC_DEPTH_SHIFT of bpf/wire.h. */
const FEC_DEPTH_SHIFT = 5

interface Standing {
  best: number
  /** Another one is better by the margin since, ms. */
  challenger: number
  sinceMs: number
}

export class Chooser {
  readonly #plans: readonly ClassPlan[]
  readonly #standings: (Standing | undefined)[] = []
  #playoutMs = 0

  /** @param plans by class */
  constructor(plans: readonly ClassPlan[]) {
    this.#plans = plans
  }

  /** @param paths that are there, ordered by id. @returns a word for each class; undefined: there is no path */
  choose(nowMs: number, paths: readonly Choosable[]): Steering[] | undefined {
    if (paths.length === 0) return undefined
    const latest = latenessMs(paths)
    if (latest > this.#playoutMs || PLAYOUT_TOO_LONG * latest < this.#playoutMs)
      this.#playoutMs = Math.ceil(PLAYOUT_MARGIN * latest)
    return this.#plans.map((plan, klass) => this.#word(nowMs, klass, plan, paths))
  }

  #word(nowMs: number, klass: number, plan: ClassPlan, paths: readonly Choosable[]): Steering {
    const ranked = paths.toSorted((a, b) => score(klass, b) - score(klass, a) || a.path - b.path)
    const standing = Math.min(...ranked.map(path => standingOf(path, klass)))
    const group = ranked.filter(path => standingOf(path, klass) === standing)
    const best = this.#best(nowMs, klass, group)
    const second = group.find(({ path }) => path !== best.path) ?? spare(ranked, best)
    const copied = second === best ? held(ranked, best) : second
    const mode = modeOf(plan, best, copied, group)
    return {
      mode,
      best: best.path,
      second: (mode === spread.SPREAD_TWICE ? copied : second).path,
      fec: mode === spread.SPREAD_BEST ? fecOf(plan.fec, best.loss) : 0,
      mask: group.reduce((mask, { path }) => mask | (1 << path), 0),
      playoutMs: Math.min(plan.playoutMs, this.#playoutMs),
    }
  }

  /** The one in use, unless it is not among them or another one has been better for long enough. */
  #best(nowMs: number, klass: number, group: readonly Choosable[]): Choosable {
    const [first] = group as [Choosable]
    const before = this.#standings[klass]
    const held = group.find(({ path }) => path === before?.best)
    if (!before || !held) {
      this.#standings[klass] = { best: first.path, challenger: first.path, sinceMs: nowMs }
      return first
    }
    if (score(klass, first) <= MARGIN * score(klass, held)) before.challenger = held.path
    else if (before.challenger !== first.path) Object.assign(before, { challenger: first.path, sinceMs: nowMs })
    else if (nowMs - before.sinceMs >= PATIENCE_MS) {
      before.best = first.path
      return first
    }
    return held
  }
}

/** Lower is used first. */
function standingOf({ tier, backup, metered }: Choosable, klass: number): number {
  const costs = metered && klass === trafficClass.CLASS_BULK
  return (tier >= 2 ? 8 : 0) + (backup ? 4 : 0) + (tier === 1 ? 2 : 0) + (costs ? 1 : 0)
}

/** When the best standing has one path alone: another that costs nothing; else there is none. */
function spare(ranked: readonly Choosable[], best: Choosable): Choosable {
  return costless(ranked, best).find(({ tier }) => tier < 2) ?? best
}

/** For copies, where there is none of these: one that was left. For the most part it carries again, and is only held back. */
function held(ranked: readonly Choosable[], best: Choosable): Choosable {
  return costless(ranked, best)[0] ?? best
}

function costless(ranked: readonly Choosable[], best: Choosable): Choosable[] {
  return ranked.filter(({ path, backup, metered }) => path !== best.path && !backup && !metered)
}

function modeOf({ spread: name }: ClassPlan, best: Choosable, copied: Choosable, group: readonly Choosable[]): number {
  const two = copied.path !== best.path
  if (name === 'twice' || (name === 'auto' && best.loss > TWICE_LOSS))
    return two ? spread.SPREAD_TWICE : spread.SPREAD_BEST
  if (name === 'flows') return spread.SPREAD_FLOWS
  // Who does not know how fast a path is cannot know where a packet arrives first.
  if (name === 'packets' && group.length > 1 && group.every(({ mbps }) => mbps !== undefined))
    return spread.SPREAD_PACKETS
  return spread.SPREAD_BEST
}

/** As in the MP header (bpf/wire.h). */
function fecOf(plan: ClassPlan['fec'], loss: number): number {
  if (plan === false) return 0
  if (plan === true) return FEC.find(([least]) => loss >= least)?.[1] ?? 0
  return (Math.log2(plan.depth) << FEC_DEPTH_SHIFT) | plan.packets
}

/**
 * How much later than the quickest could have come nearly all packets from the peer come; 0: they cannot overtake each other. Which of the paths the
 * peer spreads a class over, and whether, is its own choice; its packets say so.
 */
function latenessMs(paths: readonly Choosable[]): number {
  const used = paths.filter(({ backup, tier, busy }) => busy || (!backup && tier < 2))
  const [first] = used
  if (!first || used.length < 2) return 0
  const offsets = used.map(path => offsetMs(path, first))
  const least = Math.min(...offsets)
  return Math.max(...used.map(({ queuedMs }, index) => (offsets[index] ?? 0) - least + queuedMs))
}

/** How much longer than the other a way is: as seen here, else half of the difference there and back. */
function offsetMs(path: Choosable, other: Choosable): number {
  if (path.transitUs === undefined || other.transitUs === undefined) return (path.rttMs - other.rttMs) / 2
  return ((path.transitUs - other.transitUs) | 0) / 1000
}
