/** docs/benchmarks.md: tables and curves out of the record. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import type { Curve, Figure } from './figure.ts'
import { describeMachine } from './machine.ts'
import { barText, number, okText, quantity, range, ratioText } from './print.ts'
import { formatRecord, mergeRecord, parseRecord, type SuiteRun } from './record.ts'
import { suiteNames } from './suite.ts'

const DOCS = resolve(import.meta.dirname, '../../docs')
export const RECORD = join(DOCS, 'benchmarks.jsonl')
export const PAGE = join(DOCS, 'benchmarks.md')

export function readRecord(): SuiteRun[] {
  return existsSync(RECORD) ? parseRecord(readFileSync(RECORD, 'utf8')) : []
}

/** Replaces the figures of the suites that were run and keeps the others. */
export function writeDocs(runs: readonly SuiteRun[]): void {
  const merged = mergeRecord(readRecord(), runs, suiteNames())
  writeFileSync(RECORD, formatRecord(merged))
  writeFileSync(PAGE, formatPage(merged))
}

const INTRODUCTION = `# Benchmarks

Made by \`npm run bench -- --write-docs\`; do not edit. Ours and the peer are measured in one run: in every round each of them once, in random
order, from a random place in its data. A figure is the median of the rounds, with the extremes beside it; a ratio is that of the two medians,
so it can be compared between machines where the figures cannot. A bar is what we promise; a missed one makes the command end with 1.
`

export function formatPage(runs: readonly SuiteRun[]): string {
  return `${[INTRODUCTION.trim(), ...runs.map(section)].join('\n\n')}\n`
}

function section({ suite, about, date, rounds, machine, figures }: SuiteRun): string {
  const head = `## ${suite}\n\n${about[0]?.toUpperCase()}${about.slice(1)}.\n\n${date}, ${describeMachine(machine)}, ${rounds} rounds: \`npm run bench -- ${suite}\``
  return [head, table(figures), ...curves(figures)].join('\n\n')
}

function table(figures: readonly Figure[]): string {
  const rows = figures.map(figure => {
    const { name, value, unit, min, max, peer, peerValue, peerMin, peerMax } = figure
    const theirs = peerValue === null ? '' : beside(quantity(peerValue, unit), range(peerMin, peerMax))
    return [
      name,
      beside(quantity(value, unit), range(min, max)),
      peer ?? '',
      theirs,
      ratioText(figure),
      barText(figure),
      okText(figure),
    ]
  })
  return markdown([['what', 'median (min-max)', 'peer', "peer's", 'ratio', 'bar', ''], ...rows])
}

const beside = (value: string, extremes: string) => (extremes === '' ? value : `${value} (${extremes})`)

function markdown(rows: readonly (readonly string[])[]): string {
  const [head = [], ...body] = rows.map(cells => `| ${cells.map(cell => cell.replaceAll('|', '\\|')).join(' | ')} |`)
  return [head, `|${' --- |'.repeat(rows[0]?.length ?? 0)}`, ...body].join('\n')
}

type OnCurve = Figure & { readonly curve: Curve }

/** A chart for every curve of three points or more: ours, then each peer. */
function curves(figures: readonly Figure[]): string[] {
  const on = figures.filter((figure): figure is OnCurve => figure.curve !== undefined)
  return [...Map.groupBy(on, ({ curve }) => curve.name).values()]
    .map(points => points.toSorted((a, b) => a.curve.x - b.curve.x))
    .filter(points => new Set(points.map(({ curve }) => curve.x)).size >= 3)
    .map(chart)
}

function chart(points: readonly OnCurve[]): string {
  const [first] = points
  if (first === undefined) return ''
  const xs = [...new Set(points.map(({ curve }) => curve.x))]
  const peers = [...new Set(points.flatMap(({ peer }) => peer ?? []))]
  const at = (x: number) => points.filter(({ curve }) => curve.x === x)
  const lines = [
    xs.map(x => at(x)[0]?.value ?? 0),
    ...peers.map(peer => xs.map(x => at(x).find(point => point.peer === peer)?.peerValue ?? 0)),
  ]
  const drawn = lines.map(line => `  line [${line.join(', ')}]`).join('\n')
  const names = ['ours', ...peers]
  const key = names.length > 1 ? `, lines in this order: ${names.join(', ')}` : ''
  return `${first.curve.name}, ${first.unit} over ${first.curve.over}${key}

\`\`\`mermaid
xychart-beta
  title "${first.curve.name}"
  x-axis "${first.curve.over}" [${xs.map(x => `"${number(x)}"`).join(', ')}]
  y-axis "${first.unit}"
${drawn}
\`\`\``
}
