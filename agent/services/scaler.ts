/**
 * How many instances of a function an enterprise needs: its load and where it is going, against what one instance carries. Growth is followed at once,
 * and ahead of time by as long as an instance takes to start; shrinking waits until the load has been low for a while. Pure but for the history it keeps.
 */
import type { FunctionConfig } from './config.ts'

export interface Load {
  mbps: number
  connections: number
}

export type Capacity = Pick<FunctionConfig, 'capacityMbps' | 'capacityConnections' | 'threshold'>

/** Share of an instance's capacity in use, 0 and up: of bandwidth or of connections, whichever is more. */
export function usedShare({ mbps, connections }: Load, capacity: Omit<Capacity, 'threshold'>): number {
  const held = capacity.capacityConnections === undefined ? 0 : connections / capacity.capacityConnections
  return Math.max(mbps / capacity.capacityMbps, held)
}

interface Sample {
  atMs: number
  /** Load in instances' capacities. */
  used: number
  needed: number
}

/** What a trend is taken from: shorter follows noise, longer comes too late. */
const TREND_MS = 15_000
/** A trend of less than that is none yet. */
const TREND_SAMPLES = 3

export class Scaler {
  readonly #config: Capacity & Pick<FunctionConfig, 'settleMs'>
  #samples: Sample[] = []

  constructor(config: Capacity & Pick<FunctionConfig, 'settleMs'>) {
    this.#config = config
  }

  /**
   * @param load of all instances together, now
   * @param aheadMs how long an instance takes to start
   * @returns instances that should take connections, 0 and up; the caller knows the limits
   */
  needed(load: Load, nowMs: number, aheadMs: number): number {
    const used = usedShare(load, this.#config)
    const growth = Math.max(0, this.#slope(used, nowMs))
    const needed = Math.ceil((used + growth * aheadMs) / this.#config.threshold)
    this.#samples.push({ atMs: nowMs, used, needed })
    const oldest = nowMs - Math.max(TREND_MS, this.#config.settleMs)
    this.#samples = this.#samples.filter(({ atMs }) => atMs >= oldest)
    return Math.max(...this.#since(nowMs - this.#config.settleMs).map(sample => sample.needed))
  }

  /** Least squares over the last samples, in capacities a millisecond. */
  #slope(used: number, nowMs: number): number {
    const points = [...this.#since(nowMs - TREND_MS), { atMs: nowMs, used }]
    if (points.length < TREND_SAMPLES) return 0
    const meanX = points.reduce((sum, { atMs }) => sum + atMs - nowMs, 0) / points.length
    const meanY = points.reduce((sum, point) => sum + point.used, 0) / points.length
    let above = 0
    let below = 0
    for (const point of points) {
      const dx = point.atMs - nowMs - meanX
      above += dx * (point.used - meanY)
      below += dx * dx
    }
    return below === 0 ? 0 : above / below
  }

  #since(fromMs: number): Sample[] {
    return this.#samples.filter(({ atMs }) => atMs >= fromMs)
  }
}

export interface Wish {
  /** Enough for nobody to wait: of these, `active` are to take connections. */
  active: number
  /** With those that are warm. */
  total: number
}

/** An enterprise's need within what the operator allows one enterprise. */
export function wish(
  needed: number,
  { min, warm, perEnterprise }: Pick<FunctionConfig, 'min' | 'warm' | 'perEnterprise'>,
): Wish {
  const active = Math.min(Math.max(needed, min), perEnterprise)
  return { active, total: Math.min(active + warm, perEnterprise) }
}

/**
 * Max-min fair: what there is goes round in ones, until everyone has what it asked for or nothing is left. So one enterprise's load takes nothing from
 * the share of another.
 * @returns in the order of `wanted`
 */
export function share(available: number, wanted: readonly number[]): number[] {
  const given = wanted.map(() => 0)
  let left = available
  for (;;) {
    const open = wanted.flatMap((want, place) => (want > (given[place] ?? 0) ? [place] : []))
    if (open.length === 0 || left <= 0) return given
    const step = Math.max(1, Math.min(Math.floor(left / open.length), ...open.map(place => remaining(place))))
    for (const place of open) {
      if (left < step) return given
      given[place] = (given[place] ?? 0) + step
      left -= step
    }
  }

  function remaining(place: number): number {
    return (wanted[place] ?? 0) - (given[place] ?? 0)
  }
}
