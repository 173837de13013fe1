/** A figure: one measured value, the peer's from the same run beside it, and the bar that it has to meet. */
import type { Sample } from './sample.ts'

/** What a figure is held against. `ratio` is `value / peerValue`, or `peerValue / value` where less is better and a factor is asked for. */
export interface Bar {
  readonly on: 'value' | 'ratio'
  readonly is: 'at-most' | 'at-least' | 'exactly'
  readonly limit: number
  readonly ratioIs: RatioIs
}

export type RatioIs = 'value/peer' | 'peer/value'

const bar = (on: Bar['on'], is: Bar['is'], limit: number, ratioIs: RatioIs = 'value/peer'): Bar => ({
  on,
  is,
  limit,
  ratioIs,
})
/** "≤ 30 ns" */
export const valueAtMost = (limit: number) => bar('value', 'at-most', limit)
/** "≥ 1,000 per second" */
export const valueAtLeast = (limit: number) => bar('value', 'at-least', limit)
/** "all 376" */
export const exactly = (limit: number) => bar('value', 'exactly', limit)
/** "at most 2.0 times the peer's" */
export const ratioAtMost = (limit: number) => bar('ratio', 'at-most', limit)
/** "at least 0.95 of the peer's" */
export const ratioAtLeast = (limit: number) => bar('ratio', 'at-least', limit)
/** "4 times as fast as the peer", both given as times: the peer's divided by ours. */
export const timesFaster = (limit: number) => bar('ratio', 'at-least', limit, 'peer/value')

/** What a suite reports. A number stands for itself; a sample for its median, with its extremes beside it. */
export interface Measured {
  readonly name: string
  readonly value: Sample | number
  /** ns, pps, Gb/s, ms, MB, 1 for a plain count ... */
  readonly unit: string
  readonly peer?: { readonly name: string; readonly value: Sample | number }
  readonly bar?: Bar
  /** Without a bar: how the ratio is to be read. Default value/peer. */
  readonly ratioIs?: RatioIs
  /** Figures of one curve are drawn together, over x. */
  readonly curve?: Curve
}

export interface Curve {
  readonly name: string
  readonly x: number
  /** What x counts: flows, routes, VRFs, edges. */
  readonly over: string
}

/** One line of `--json`. The first nine keys are always there. */
export interface Figure {
  readonly suite: string
  readonly name: string
  readonly value: number
  readonly unit: string
  readonly peer: string | null
  readonly peerValue: number | null
  readonly ratio: number | null
  readonly bar: number | null
  /** null: nothing is asked of it. */
  readonly ok: boolean | null
  readonly barOn?: Bar['on']
  readonly barIs?: Bar['is']
  readonly ratioIs?: RatioIs
  readonly min?: number
  readonly max?: number
  readonly peerMin?: number
  readonly peerMax?: number
  readonly curve?: Curve
}

/** Judges: the ratio is that of the medians, so that whoever reads the line can do the sum again. */
export function judge(suite: string, { name, value, unit, peer, bar, ratioIs, curve }: Measured): Figure {
  const ours = middle(value)
  const theirs = peer === undefined ? null : middle(peer.value)
  const reading = bar?.ratioIs ?? ratioIs ?? 'value/peer'
  const ratio = theirs === null ? null : reading === 'value/peer' ? ours / theirs : theirs / ours
  return {
    suite,
    name,
    value: rounded(ours),
    unit,
    peer: peer?.name ?? null,
    peerValue: theirs === null ? null : rounded(theirs),
    ratio: ratio === null ? null : rounded(ratio),
    bar: bar?.limit ?? null,
    ok: bar === undefined ? null : meets(bar, bar.on === 'value' ? ours : ratio),
    ...(bar && { barOn: bar.on, barIs: bar.is }),
    ...(ratio !== null && { ratioIs: reading }),
    ...(typeof value !== 'number' && { min: rounded(value.min), max: rounded(value.max) }),
    ...(peer &&
      typeof peer.value !== 'number' && { peerMin: rounded(peer.value.min), peerMax: rounded(peer.value.max) }),
    ...(curve && { curve }),
  }
}

function meets({ is, limit }: Bar, found: number | null): boolean {
  if (found === null || !Number.isFinite(found)) return false
  if (is === 'exactly') return found === limit
  return is === 'at-most' ? found <= limit : found >= limit
}

const middle = (value: Sample | number) => (typeof value === 'number' ? value : value.median)

/** Five significant digits: what a measurement can carry, and counts below 100,000 as they are. */
export function rounded(value: number): number {
  return Number.isInteger(value) ? value : Number(value.toPrecision(5))
}
