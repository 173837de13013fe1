/** Faults of a link that still carries something, and the two black holes of one direction. */
import { DIRECTIONS, type Direction, type ProfileInput } from './impairment/profile.ts'

export interface GrayFault {
  readonly name: string
  /** Added to what the link suffers anyway, in these directions. */
  readonly profile: ProfileInput
  readonly directions: readonly Direction[]
  /** Traffic of these directions must be off the link by then. */
  readonly limitMs: number
  /** Over by itself; default: when it has been watched. */
  readonly lastsMs?: number
  /** Does nothing where the tunnels are clear. */
  readonly esp?: true
}

const HOLE_MS = 1000
const GRAY_MS = 3000
/** Protocol of the inner IPv4 header, behind the 40 bytes of MP (bpf/wire.h). */
const ESP = { match: { offset: 49, mask: 0xff, value: 50 } }

/** @param delayMs one way, of the good link */
export function grayFaults(delayMs: number): readonly GrayFault[] {
  const gray = (name: string, directions: readonly Direction[], profile: ProfileInput) => ({
    ...{ name, directions, profile, limitMs: GRAY_MS },
  })
  return [
    // First: with --count 1 the guest tells what no kernel without ESP can.
    { ...gray('ESP lost', DIRECTIONS, { blackhole: true, only: ESP }), esp: true },
    { ...gray('black hole out', ['out'], { blackhole: true }), limitMs: HOLE_MS },
    { ...gray('black hole in', ['in'], { blackhole: true }), limitMs: HOLE_MS },
    gray('20 % lost out', ['out'], { loss: 0.2 }),
    gray('20 % lost in', ['in'], { loss: 0.2 }),
    gray('packets above 1000 bytes lost', DIRECTIONS, { blackhole: true, only: { largerThan: 1000 } }),
    gray('300 ms more delay', DIRECTIONS, { delayMs: delayMs + 300 }),
    gray('80 ms of jitter', DIRECTIONS, { delayMs: delayMs + 80, jitterMs: 80 }),
    gray('200 kbit/s', DIRECTIONS, { rate: 200_000, queueMs: 500 }),
    { ...gray('60 % lost for 3 s', DIRECTIONS, { loss: 0.6 }), lastsMs: 3000 },
    gray('5 % lost both ways', DIRECTIONS, { loss: 0.05 }),
    gray('30 % reordered', DIRECTIONS, { delayMs: delayMs + 25, reorder: 0.3, reorderByMs: 25 }),
  ]
}
