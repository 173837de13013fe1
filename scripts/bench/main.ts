/**
 * npm run bench [-- suite…] [--json] [--quick] [--rounds N] [--seed N] [--write-docs] [--list]
 * Measures ours and the peer side by side, interleaved in one run, and says which bars are met. `--json`: one line per figure on standard
 * output, everything else on standard error. Exit codes: 0 all bars met, 1 a bar missed, 2 an error, 130 or 143 ended by a signal.
 */
import { parseArgs } from 'node:util'
import { writeDocs } from './docs.ts'
import { BenchError, explain } from './error.ts'
import type { Figure } from './figure.ts'
import { describeMachine, machine } from './machine.ts'
import { printHeading, printLine } from './print.ts'
import type { SuiteRun } from './record.ts'
import { runSuite } from './run.ts'
import { loadSuite, type Suite, suiteNames } from './suite.ts'

const ROUNDS = 15
const QUICK_ROUNDS = 3

const USAGE = `usage: npm run bench [-- suite…] [options]
  --json        one line per figure on standard output (npm run -s bench)
  --quick       few rounds, small tables: does it work?
  --rounds N    default ${ROUNDS}; suites whose rounds are long take fewer
  --seed N      repeats the random order and numbers of an earlier run
  --write-docs  puts the figures of the suites that were run into docs/benchmarks.md
  --list        the suites
exit codes: 0 all bars met, 1 a bar missed (MISSED), 2 an error, 130 or 143 ended by a signal`

const interrupt = new AbortController()
for (const [signal, code] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const)
  process.on(signal, () => {
    process.exitCode = code
    interrupt.abort(new BenchError(`ended by ${signal}`))
  })

// Who reads no further (`| head`) has seen enough.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error
  process.exitCode = 0
  interrupt.abort(new BenchError('nobody reads the output'))
})

try {
  const { values, suites } = await readArguments()
  if (values.help) console.log(USAGE)
  else if (values.list) for (const suite of suites) console.log(`${suite.name.padEnd(12)}${suite.about}`)
  else process.exitCode = await runAll(suites, values)
} catch (error) {
  console.error(`bench: ${explain(error)}`)
  process.exitCode ??= 2
}

async function runAll(suites: readonly Suite[], options: Options): Promise<number> {
  if (process.getuid?.() !== 0) throw new BenchError('root is needed for BPF and namespaces; run it with sudo')
  const show = (line: string) => (options.json ? console.error(line) : console.log(line))
  const here = machine()
  show(`${describeMachine(here)}\nseed ${options.seed}`)
  const runs: SuiteRun[] = []
  let code = 0
  for (const suite of suites) {
    const figures: Figure[] = []
    show(`\n${suite.name}: ${suite.about}\n${printHeading()}`)
    try {
      await runSuite(suite, {
        ...options,
        signal: interrupt.signal,
        onNote: show,
        onFigure: figure => {
          figures.push(figure)
          show(printLine(figure))
          if (options.json) console.log(JSON.stringify(figure))
        },
      })
      runs.push({
        suite: suite.name,
        about: suite.about,
        date: today(),
        rounds: options.rounds,
        machine: here,
        figures,
      })
      if (figures.some(({ ok }) => ok === false)) code = Math.max(code, 1)
    } catch (error) {
      // An interrupted run has its own exit code, and no more suites.
      interrupt.signal.throwIfAborted()
      console.error(`bench: ${suite.name}: ${explain(error)}`)
      code = 2
    }
  }
  if (options.writeDocs) writeDocs(runs)
  show(`\nrepeat with: npm run bench -- ${suites.map(({ name }) => name).join(' ')} --seed ${options.seed}`)
  return code
}

/** yyyy-mm-dd */
function today(): string {
  return new Date().toISOString().slice(0, 10)
}

interface Options {
  readonly json: boolean
  readonly quick: boolean
  readonly rounds: number
  readonly seed: number
  readonly writeDocs: boolean
  readonly list: boolean
  readonly help: boolean
}

async function readArguments(): Promise<{ values: Options; suites: Suite[] }> {
  const parsed = parse()
  const { values } = parsed
  const whole = (text: string | undefined, otherwise: number, name: string, least: number) => {
    const given = text === undefined ? otherwise : Number(text)
    if (!Number.isSafeInteger(given) || given < least) throw new BenchError(`--${name} ${text}: not a number\n${USAGE}`)
    return given
  }
  // Few rounds on small tables are not what the page should show.
  if (values.quick && values['write-docs']) throw new BenchError('--write-docs takes a whole run, not --quick')
  const names = parsed.positionals.length === 0 ? suiteNames() : parsed.positionals
  return {
    values: {
      ...values,
      rounds: whole(values.rounds, values.quick ? QUICK_ROUNDS : ROUNDS, 'rounds', 1),
      seed: whole(values.seed, Math.floor(Math.random() * 2 ** 31), 'seed', 0),
      writeDocs: values['write-docs'],
    },
    suites: await Promise.all(names.map(loadSuite)),
  }
}

function parse() {
  const flag = { type: 'boolean', default: false } as const
  try {
    return parseArgs({
      options: {
        json: flag,
        quick: flag,
        list: flag,
        help: flag,
        'write-docs': flag,
        rounds: { type: 'string' },
        seed: { type: 'string' },
      },
      allowPositionals: true,
    })
  } catch (error) {
    throw new BenchError(`${error instanceof Error ? error.message : String(error)}\n${USAGE}`, { cause: error })
  }
}
