/**
 * How good the way to one gateway is, from what the programs count and measure of its paths: one figure in ms, smoothed.
 *
 *   of a path: round trip + 2 x jitter + 100 ms for each per cent of packets lost; of a gateway: its best path's
 *
 * After the usual simplification of ITU-T G.107 (E-model): jitter counts twice, as a playout buffer makes it delay, and 1 % loss costs 2.5 points of
 * R, as much as 100 ms more delay.
 */
import type { PathState } from '../../schema/abi.gen.ts'

/** Time constant of the figure, and of the counts that loss is reckoned from, ms. */
const SMOOTHING_MS = 5000
const LOSS_MEMORY_MS = 10_000
/** Fewer packets tell nothing of loss. */
const LEAST_PACKETS = 50
/** What may be on its way from one counter to the other when both are read. */
const SLACK_PACKETS = 2
const MS_PER_LOST_PERCENT = 100
/** `jitter_us` is kept times 16 (RFC 3550, A.8). */
const JITTER_SCALE = 16

/** What a direction's receiver counted: the highest number, and how many came. */
interface Count {
  highest: bigint
  packets: bigint
}

/** Share of packets lost lately, of one direction of one path. */
class Loss {
  #last: Count | undefined
  #sent = 0
  #came = 0

  /** @param keep what is left of the older counts, 0 to 1 */
  take(count: Count, keep: number): void {
    const last = this.#last
    this.#last = count
    if (!last || count.highest < last.highest) return
    this.#sent = this.#sent * keep + Number(count.highest - last.highest)
    this.#came = this.#came * keep + Number(count.packets - last.packets)
  }

  /** 0 to 1; 0 while nothing is known. */
  get share(): number {
    const missing = this.#sent - this.#came - SLACK_PACKETS
    return this.#sent < LEAST_PACKETS ? 0 : Math.min(1, Math.max(0, missing / this.#sent))
  }
}

export class GatewayMeter {
  readonly #losses = new Map<number, { out: Loss; in: Loss }>()
  #taken: number | undefined
  #value: number | undefined
  #replies = 0
  #fresh = false

  /** ms; undefined: not measured yet. */
  get value(): number | undefined {
    return this.#value
  }

  /** A path has answered a probe between the last two looks. */
  get fresh(): boolean {
    return this.#fresh
  }

  /** @param now ms, monotonic. @param states of the paths that are in use; what is not among them any more is forgotten */
  take(now: number, states: readonly PathState[]): void {
    const passed = this.#taken === undefined ? Number.POSITIVE_INFINITY : Math.max(0, now - this.#taken)
    this.#taken = now
    const replies = states.reduce((sum, { probeReplies }) => sum + probeReplies, 0)
    this.#fresh = replies !== this.#replies
    this.#replies = replies
    const keep = Math.exp(-passed / LOSS_MEMORY_MS)
    for (const handle of this.#losses.keys())
      if (!states.some(state => state.handle === handle)) this.#losses.delete(handle)
    const costs = states.flatMap(state => this.#cost(state, keep) ?? [])
    if (costs.length === 0) return
    const cost = Math.min(...costs)
    const weight = 1 - Math.exp(-passed / SMOOTHING_MS)
    this.#value = this.#value === undefined ? cost : this.#value + weight * (cost - this.#value)
  }

  #cost(state: PathState, keep: number): number | undefined {
    const losses = this.#losses.get(state.handle) ?? { out: new Loss(), in: new Loss() }
    this.#losses.set(state.handle, losses)
    losses.out.take({ highest: state.toldHighest, packets: state.toldPackets }, keep)
    losses.in.take({ highest: state.rxHighest, packets: state.rxPackets }, keep)
    const roundTripUs = state.srttUs || state.rttUs
    if (roundTripUs === 0) return undefined
    const lostPercent = 100 * Math.max(losses.out.share, losses.in.share)
    return (roundTripUs + (2 * state.jitterUs) / JITTER_SCALE) / 1000 + MS_PER_LOST_PERCENT * lostPercent
  }

  /** The gateway fell silent: what was measured before says nothing of what comes after. */
  reset(): void {
    this.#losses.clear()
    this.#taken = undefined
    this.#value = undefined
  }
}
