/** What a suite is. One file each in suites/, named after it, that exports `suite`. */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Contender } from './compare.ts'
import { BenchError } from './error.ts'
import type { Measured } from './figure.ts'
import type { AptPackage } from './packages.ts'
import type { Random } from './random.ts'
import type { Sample } from './sample.ts'

export interface Suite {
  readonly name: string
  /** One line for the heading: what is compared with what. */
  readonly about: string
  /** What the suite needs beside scripts/setup's packages. */
  readonly packages?: readonly AptPackage[]
  /** The whole suite is ended with an error after this. */
  readonly minutes: number
  /** What has to hold whatever the speed: answers equal, forgeries refused. No timing in here; the test tier `bench` runs it too. */
  verify?(bench: Verify): void | Promise<void>
  measure(bench: Bench): void | Promise<void>
}

export interface Verify {
  readonly random: Random
  /** Aborts at the suite's time limit or on Ctrl-C. */
  readonly signal: AbortSignal
  /** A figure that has to be exactly `expected`. */
  check(name: string, found: number, expected: number, unit?: string): void
}

export interface Bench extends Verify {
  /** A short run to see that everything works: fewer rounds, and suites take smaller tables and shorter transfers. */
  readonly quick: boolean
  readonly rounds: number
  /** compare() with this run's rounds, random order and signal. `rounds` where a round is long and fewer must do. */
  compare<Name extends string>(
    contenders: Readonly<Record<Name, Contender>>,
    rounds?: number,
  ): Promise<Record<Name, Sample>>
  figure(measured: Measured): void
  /** A line for people, not part of the record. */
  note(text: string): void
}

/** The order in which they are run and stand in docs/benchmarks.md; one that is not named here comes last. */
const ORDER = ['floor', 'tag', 'fec', 'fastpath', 'fib', 'flows', 'chain', 'tunnel', 'ipsec', 'handshake', 'control']
const FOLDER = join(import.meta.dirname, 'suites')

export function suiteNames(): string[] {
  const rank = (name: string) => (ORDER.includes(name) ? ORDER.indexOf(name) : ORDER.length)
  // Parts that a suite is split into have a dash in their names.
  const names = readdirSync(FOLDER).flatMap(file => /^(\w+)\.ts$/.exec(file)?.[1] ?? [])
  return names.toSorted((a, b) => rank(a) - rank(b) || a.localeCompare(b))
}

/** @throws BenchError for a name that no file has */
export async function loadSuite(name: string): Promise<Suite> {
  if (!suiteNames().includes(name)) throw new BenchError(`no suite ${name}; there are: ${suiteNames().join(' ')}`)
  const { suite } = (await import(join(FOLDER, `${name}.ts`))) as { suite: Suite }
  return suite
}
