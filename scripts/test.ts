/**
 * node scripts/test.ts [--list] [tier…]    (npm test -- [tier…])
 * Runs the tiers of scripts/testing/tiers.ts, prints a table of what each came to and how long it took, and ends with the line
 * `N passed, N failed`. Exit code 1 when something failed or a tier could not run, 2 for a wrong argument.
 */

import { parseArgs } from 'node:util'
import { addCounts, type Counts, NONE, type StepResult } from './testing/result.ts'
import { runTier } from './testing/run-tier.ts'
import { selectTiers, TIERS, type Tier } from './testing/tiers.ts'

type Row = { readonly tier: Tier; readonly result: StepResult; readonly seconds: number }

const { tiers, list } = readArguments()
if (list) {
  for (const tier of TIERS) console.log(`${tier.name.padEnd(14)}${tier.about}`)
} else {
  process.exitCode = await runAll(tiers)
}

async function runAll(selected: readonly Tier[]): Promise<number> {
  const interrupt = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => interrupt.abort(new Error(signal)))
  const rows: Row[] = []
  for (const tier of selected) {
    console.log(`\n=== ${tier.name}: ${tier.about}`)
    const begin = performance.now()
    const result = await runTier(tier, interrupt.signal)
    rows.push({ tier, result, seconds: (performance.now() - begin) / 1000 })
    if (result.problem !== null) console.log(`${tier.name}: ${result.problem}`)
    if (interrupt.signal.aborted) break
  }
  const total = rows.reduce<Counts>((sum, row) => addCounts(sum, row.result), NONE)
  printTable(rows)
  console.log(`${total.passed} passed, ${total.failed} failed`)
  return total.failed > 0 ? 1 : 0
}

function printTable(rows: readonly Row[]): void {
  console.log('\ntier            time   passed  failed  skipped')
  for (const { tier, result, seconds } of rows) {
    const cells = [
      `${seconds.toFixed(1)} s`.padStart(8),
      ...[result.passed, result.failed, result.skipped].map(n => String(n).padStart(7)),
    ]
    console.log(`${tier.name.padEnd(12)}${cells.join(' ')}${result.problem === null ? '' : `   ${result.problem}`}`)
  }
}

function readArguments(): { tiers: readonly Tier[]; list: boolean } {
  try {
    const { values, positionals } = parseArgs({
      options: { list: { type: 'boolean', default: false } },
      allowPositionals: true,
    })
    return { tiers: selectTiers(positionals), list: values.list }
  } catch (error) {
    console.error(error instanceof Error ? error.message : String(error))
    process.exit(2)
  }
}
