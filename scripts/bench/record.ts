/**
 * docs/benchmarks.jsonl: the last whole run of every suite, from which docs/benchmarks.md is made. A line per suite (without figures), each
 * followed by its figures as `--json` prints them.
 */
import type { Figure } from './figure.ts'
import type { Machine } from './machine.ts'

export interface SuiteRun {
  readonly suite: string
  readonly about: string
  /** yyyy-mm-dd */
  readonly date: string
  readonly rounds: number
  readonly machine: Machine
  readonly figures: readonly Figure[]
}

export function formatRecord(runs: readonly SuiteRun[]): string {
  const lines = runs.flatMap(({ figures, ...run }) => [run, ...figures])
  return lines.map(line => `${JSON.stringify(line)}\n`).join('')
}

export function parseRecord(text: string): SuiteRun[] {
  const runs: (SuiteRun & { figures: Figure[] })[] = []
  for (const line of text.split('\n').filter(line => line !== '')) {
    const value = JSON.parse(line) as Figure | Omit<SuiteRun, 'figures'>
    if ('machine' in value) runs.push({ ...value, figures: [] })
    else runs.at(-1)?.figures.push(value)
  }
  return runs
}

/** The suites that were run in place of their earlier runs, all in the order of `names`; what is no suite any more goes. */
export function mergeRecord(
  before: readonly SuiteRun[],
  now: readonly SuiteRun[],
  names: readonly string[],
): SuiteRun[] {
  return names.flatMap(name => now.findLast(run => run.suite === name) ?? before.find(run => run.suite === name) ?? [])
}
