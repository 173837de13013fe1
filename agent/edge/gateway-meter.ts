/**
 * How good the way to one gateway is: one figure in ms, smoothed.
 *
 *   of a path: round trip + 2 x jitter + 100 ms for each per cent of packets lost; of a gateway: its best path's
 *
 * After the usual simplification of ITU-T G.107 (E-model): jitter counts twice, as a playout buffer makes it delay, and 1 % loss costs 2.5 points of
 * R, as much as 100 ms more delay.
 */
import type { Loss, PathMeter } from '../paths/meter.ts'

/** What is known of one path. */
export interface Way {
  /** Undefined: not measured yet. */
  roundTripMs: number | undefined
  jitterMs: number
  /** Of packets lately, in the worse direction, 0 to 1; 0 while nothing is known. */
  lost: number
}

/** Time constant of the figure, ms. */
const SMOOTHING_MS = 5000
const MS_PER_LOST_PERCENT = 100
/** Fewer packets tell nothing of loss; that many may be between the two counters when they are read. */
const LEAST_PACKETS = 50
const SLACK_PACKETS = 2

export function wayOf(meter: Pick<PathMeter, 'figures' | 'timing'>): Way {
  const { srttMs, jitterMs = 0 } = meter.timing
  const lately = meter.figures('ten')
  return { roundTripMs: srttMs, jitterMs, lost: Math.max(share(lately.out), share(lately.in)) }
}

function share({ packets, lost }: Loss = { packets: 0, lost: 0 }): number {
  return packets < LEAST_PACKETS ? 0 : Math.max(0, lost - SLACK_PACKETS) / packets
}

export class GatewayMeter {
  #taken: number | undefined
  #value: number | undefined

  /** ms; undefined: not measured yet. */
  get value(): number | undefined {
    return this.#value
  }

  /** @param now ms, monotonic. @param ways those that can be relied on now */
  take(now: number, ways: readonly Way[]): void {
    const passed = this.#taken === undefined ? Number.POSITIVE_INFINITY : Math.max(0, now - this.#taken)
    this.#taken = now
    const costs = ways.flatMap(({ roundTripMs, jitterMs, lost }) =>
      roundTripMs === undefined ? [] : [roundTripMs + 2 * jitterMs + MS_PER_LOST_PERCENT * 100 * lost],
    )
    if (costs.length === 0) return
    const cost = Math.min(...costs)
    const weight = 1 - Math.exp(-passed / SMOOTHING_MS)
    this.#value = this.#value === undefined ? cost : this.#value + weight * (cost - this.#value)
  }

  /** The gateway fell silent: what was measured before says nothing of what comes after. */
  reset(): void {
    this.#taken = undefined
    this.#value = undefined
  }
}
