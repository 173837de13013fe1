/** Runs one suite: packages, what has to hold, what is measured. */
import { compare } from './compare.ts'
import { exactly, type Figure, judge, type Measured } from './figure.ts'
import { installPackages } from './packages.ts'
import { random } from './random.ts'
import type { Bench, Suite, Verify } from './suite.ts'

export interface RunOptions {
  readonly rounds: number
  readonly quick: boolean
  readonly seed: number
  readonly signal: AbortSignal
  onFigure(figure: Figure): void
  onNote(text: string): void
}

/** @throws what the suite threw: what was reported until then stands */
export async function runSuite(suite: Suite, options: RunOptions): Promise<void> {
  const deadline = AbortSignal.timeout(suite.minutes * 60_000)
  const bench = makeBench(suite, { ...options, signal: AbortSignal.any([options.signal, deadline]) })
  installPackages(suite.packages ?? [])
  await suite.verify?.(bench)
  await suite.measure(bench)
}

/** Only what needs no timing. @throws as runSuite */
export async function verifySuite(
  suite: Suite,
  options: Pick<RunOptions, 'seed' | 'signal' | 'onFigure'>,
): Promise<void> {
  await suite.verify?.(makeBench(suite, { ...options, rounds: 1, quick: true, onNote: () => {} }) satisfies Verify)
}

function makeBench(suite: Suite, { rounds, quick, seed, signal, onFigure, onNote }: RunOptions): Bench {
  const numbers = random(seed)
  const figure = (measured: Measured) => onFigure(judge(suite.name, measured))
  return {
    rounds,
    quick,
    signal,
    random: numbers,
    figure,
    note: onNote,
    check: (name, found, expected, unit = '1') => figure({ name, value: found, unit, bar: exactly(expected) }),
    compare: (contenders, wanted = rounds) => compare(contenders, { rounds: wanted, random: numbers, signal }),
  }
}
