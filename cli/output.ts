/** What commands print: text for people, or with --json one document (or one line each while something goes on). */
import type { Command } from 'commander'

export interface Output {
  json: boolean
  /** @param text built only when a person reads it */
  print(value: unknown, text: () => string): void
}

export interface GlobalOptions {
  json?: boolean
  dataDir?: string
  url?: string
  socket?: string
}

export function outputOf(command: Command): Output {
  const json = command.optsWithGlobals<GlobalOptions>().json === true
  return {
    json,
    print: (value, text) => process.stdout.write(json ? `${JSON.stringify(value)}\n` : ensureNewline(text())),
  }
}

function ensureNewline(text: string): string {
  return text === '' || text.endsWith('\n') ? text : `${text}\n`
}

export type Cell = string | number | boolean | null | undefined

/** Columns as wide as their widest cell; numbers to the right. Nothing but `empty` when there are no rows. */
export function table(headings: readonly string[], rows: readonly (readonly Cell[])[], empty: string): string {
  if (rows.length === 0) return empty
  const texts = rows.map(row => row.map(cellText))
  const widths = headings.map((heading, column) =>
    Math.max(heading.length, ...texts.map(row => row[column]?.length ?? 0)),
  )
  const right = headings.map((_, column) => rows.every(row => typeof row[column] === 'number'))
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, column) => (right[column] ? cell.padStart(widths[column] ?? 0) : cell.padEnd(widths[column] ?? 0)))
      .join('  ')
      .trimEnd()
  return [line(headings), ...texts.map(line)].join('\n')
}

function cellText(cell: Cell): string {
  if (cell === null || cell === undefined || cell === '') return '-'
  if (typeof cell === 'boolean') return cell ? 'yes' : 'no'
  return String(cell)
}

/** `3 d`, `2 h`, `5 min`, `12 s`, `250 ms`: one figure is enough for people. */
export function span(ms: number | null | undefined): string {
  if (ms === null || ms === undefined) return '-'
  if (ms < 1000) return `${Math.round(ms)} ms`
  for (const [unit, size] of [
    ['d', 86_400_000],
    ['h', 3_600_000],
    ['min', 60_000],
  ] as const) {
    if (ms >= 2 * size) return `${Math.floor(ms / size)} ${unit}`
  }
  return `${Math.round(ms / 1000)} s`
}

export function megabytes(bytes: number): string {
  return `${Math.round(bytes / 1_000_000)} MB`
}

/** Local time to the second. */
export function when(time: string | number | Date | null): string {
  if (time === null) return '-'
  const date = new Date(time)
  const two = (value: number) => String(value).padStart(2, '0')
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`
  return `${day} ${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`
}
