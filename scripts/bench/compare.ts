/** Contenders measured side by side: in each round every one of them once, in an order that changes. */
import { setImmediate } from 'node:timers/promises'
import type { Random } from './random.ts'
import { type Sample, sample } from './sample.ts'

/** One round of one contender; what it answers is the round's value (ns, packets per second, ...). */
export type Contender = (round: number) => number | Promise<number>

export interface Rounds {
  readonly rounds: number
  /** Orders the contenders of each round, so that none always runs behind the same other. */
  readonly random: Random
  /** Rounds before that are thrown away. Default 1. */
  readonly warmUp?: number
  readonly signal?: AbortSignal
}

/** @returns a sample of `rounds` values for each contender; values of one index are from one round */
export async function compare<Name extends string>(
  contenders: Readonly<Record<Name, Contender>>,
  { rounds, random, warmUp = 1, signal }: Rounds,
): Promise<Record<Name, Sample>> {
  const entries = Object.entries(contenders) as [Name, Contender][]
  const values = new Map<Name, number[]>(entries.map(([name]) => [name, []]))
  for (let round = -warmUp; round < rounds; round++) {
    for (const [name, contender] of random.shuffle([...entries])) {
      // Ctrl-C arrives here even when every contender is one long system call.
      await setImmediate()
      signal?.throwIfAborted()
      const value = await contender(round)
      if (round >= 0) values.get(name)?.push(value)
    }
  }
  return Object.fromEntries([...values].map(([name, list]) => [name, sample(list)])) as Record<Name, Sample>
}
