/**
 * The condition of one path, as a state machine over looks at it. Pure: the clock is in the looks.
 *
 *            sign                fault
 *   good <----------> suspect -----------> degraded ---+
 *    ^  |                                              | silent while in use, or its probes unanswered
 *    |  +------------------------------------------> left ---- silent, or its link is gone ----> down
 *    |                                                 ^                                          |
 *    +---- nothing wrong for the hold time ------------+------------------ heard again -----------+
 *
 * To worse at once, to better only by way of the hold time (dampening.ts): whoever sends cannot be in two minds.
 */
import { Dampening, type Hold } from './dampening.ts'

/**
 * suspect: in use, looked at more closely; degraded: used when there is no better path; left: does not carry packets now, or did not lately: used when
 * there is no other; down: not there.
 */
export type Condition = 'good' | 'suspect' | 'degraded' | 'left' | 'down'

/** Worse is higher. */
export const RANK: Readonly<Record<Condition, number>> = { good: 0, suspect: 1, degraded: 2, left: 3, down: 4 }

export interface Look {
  nowMs: number
  /** The link is up, has an address, and leads to the peer. */
  present: boolean
  /** Since the last packet of the path, ms. */
  silenceMs: number
  /** Probes since the last reply, and how long ago the first of them went, ms. */
  unanswered: number
  unansweredMs: number
  /** A reply that takes longer is late, ms. */
  patienceMs: number
  /** The programs found it silent while packets were sent on it (bpf/path/liveness.h). */
  left: boolean
  /** faults.ts */
  fault: string | undefined
  sign: string | undefined
}

export interface Change {
  from: Condition
  to: Condition
  reason: string
}

/** One lost probe is no sign of a hole, two may be bad luck. */
const HOLE_PROBES = 3
/** With so many lost in a row, nobody is there. */
const DOWN_PROBES = 10
const DOWN_PATIENCES = 6
/** ms; also the least that makes a silent path one that is down. */
const DOWN_MS = 500

/** Of the configuration, ms. */
export interface JudgeTimers extends Hold {
  /** A path that did not answer for so long is down, if not found out earlier. */
  silentMs: number
}

export class PathJudge {
  readonly #silentMs: number
  readonly #dampening: Dampening
  #goodSinceMs: number | undefined
  /** When it was last left, and when it was last heard. */
  #leftMs = 0
  #heardMs = 0
  /** Nothing was ever wrong with a path that has not been there yet: it comes without a hold time. */
  #proved = false
  condition: Condition = 'good'
  /** Of the condition; empty while it is good. */
  reason = ''
  sinceMs: number | undefined

  constructor({ silentMs, ...hold }: JudgeTimers) {
    this.#silentMs = silentMs
    this.#dampening = new Dampening(hold)
  }

  /** @returns what changed, if anything did */
  look(look: Look): Change | undefined {
    this.sinceMs ??= look.nowMs
    this.#heardMs = look.nowMs - look.silenceMs
    const found = this.#found(look)
    if (found.to === 'good') return this.#better(look.nowMs)
    if (found.to === 'suspect') {
      // Signs do not prolong an absence: they are what closer looks are for.
      if (this.condition === 'good') return this.#enter(look.nowMs, 'suspect', found.reason)
      return this.condition === 'suspect' ? undefined : this.#better(look.nowMs)
    }
    this.#goodSinceMs = undefined
    if (this.condition === 'down' && found.to !== 'down') return this.#enter(look.nowMs, 'left', 'heard again')
    if (RANK[found.to] > RANK[this.condition]) return this.#enter(look.nowMs, found.to, found.reason)
    this.reason = found.to === this.condition ? found.reason : this.reason
    return undefined
  }

  /**
   * There is no better path: the hold time would help nobody. Only what was heard since it was left comes back by this; a look at which no probe
   * is late yet shows nothing.
   */
  needed(nowMs: number): Change | undefined {
    if (this.condition !== 'left' || this.#goodSinceMs === undefined || this.#heardMs <= this.#leftMs) return undefined
    return this.#return(nowMs, 'no other path')
  }

  /** ms until the path may be used again; undefined: something is wrong with it, or nothing was. */
  waitMs(nowMs: number): number | undefined {
    return RANK[this.condition] < RANK.degraded || this.#goodSinceMs === undefined
      ? undefined
      : this.#dampening.waitMs(nowMs, this.#goodSinceMs)
  }

  #found(look: Look): { to: Condition; reason: string } {
    const { silenceMs, unanswered, unansweredMs, patienceMs } = look
    if (!look.present) return { to: 'down', reason: 'no link' }
    const late = unansweredMs > patienceMs
    const gone =
      (unanswered >= 2 && silenceMs > Math.max(this.#silentMs, patienceMs)) ||
      (unanswered >= DOWN_PROBES && silenceMs > Math.max(DOWN_MS, DOWN_PATIENCES * patienceMs))
    if (gone) return { to: 'down', reason: `silent for ${Math.round(silenceMs)} ms` }
    // Once left, the mark stays until the path is used again: then its answers count.
    if (look.left && RANK[this.condition] < RANK.left) return { to: 'left', reason: 'silent while in use' }
    if (unanswered >= HOLE_PROBES && late) return { to: 'left', reason: `${unanswered} probes unanswered` }
    if (look.fault) return { to: 'degraded', reason: look.fault }
    if (unanswered > 0 && late) return { to: 'suspect', reason: 'a probe is unanswered' }
    return look.sign ? { to: 'suspect', reason: look.sign } : { to: 'good', reason: '' }
  }

  #better(nowMs: number): Change | undefined {
    const first = !this.#proved
    this.#proved = true
    if (this.condition === 'good') return undefined
    if (this.condition === 'suspect' || first) return this.#enter(nowMs, 'good', '')
    this.#goodSinceMs ??= nowMs
    if (this.condition === 'down') return this.#enter(nowMs, 'left', 'heard again')
    return this.#dampening.waitMs(nowMs, this.#goodSinceMs) > 0 ? undefined : this.#return(nowMs, '')
  }

  #return(nowMs: number, reason: string): Change {
    this.#dampening.returned(nowMs)
    this.#goodSinceMs = undefined
    return this.#enter(nowMs, 'good', reason)
  }

  #enter(nowMs: number, to: Condition, reason: string): Change {
    const from = this.condition
    if (this.#proved && RANK[from] < RANK.degraded && RANK[to] >= RANK.degraded) this.#dampening.left(nowMs)
    if (RANK[from] < RANK.left && RANK[to] >= RANK.left) this.#leftMs = nowMs
    this.condition = to
    this.reason = reason
    this.sinceMs = nowMs
    return { from, to, reason }
  }
}
