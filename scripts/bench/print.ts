/** Figures for people: a table line each, and the text forms that the page shares. */
import type { Figure } from './figure.ts'

/** Three significant digits, thousands apart: 0.934, 28.1, 1,240. */
export function number(value: number): string {
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : Math.abs(value) >= 1 ? 2 : 3
  if (Number.isInteger(value)) return value.toLocaleString('en-GB')
  return value.toLocaleString('en-GB', { minimumFractionDigits: digits, maximumFractionDigits: digits })
}

export function quantity(value: number, unit: string): string {
  return unit === '1' ? number(value) : `${number(value)} ${unit}`
}

/** "28.0-31.0", empty where there was one round. */
export function range(min: number | undefined, max: number | undefined): string {
  return min === undefined || max === undefined ? '' : `${number(min)}-${number(max)}`
}

export function ratioText({ ratio, ratioIs }: Figure): string {
  if (ratio === null) return ''
  return ratioIs === 'peer/value' ? `${number(ratio)}x as fast` : `${number(ratio)}x`
}

export function barText({ bar, barOn, barIs, unit }: Figure): string {
  if (bar === null) return ''
  const sign = barIs === 'exactly' ? '=' : barIs === 'at-most' ? '<=' : '>='
  return `${sign} ${barOn === 'ratio' ? `${number(bar)}x` : quantity(bar, unit)}`
}

export function okText({ ok }: Figure): string {
  return ok === null ? '' : ok ? 'ok' : 'MISSED'
}

const WIDTHS = [48, 16, 15, 34, 15, 16, 15, 6]

export function printHeading(columns: readonly string[] = HEADING): string {
  return columns
    .map((cell, at) => cell.padEnd(WIDTHS[at] ?? 0))
    .join(' ')
    .trimEnd()
}

const HEADING = ['what', 'median', 'min-max', 'peer', "peer's", 'ratio', 'bar', '']

export function printLine(figure: Figure): string {
  const { name, value, unit, min, max, peer, peerValue } = figure
  return printHeading([
    name,
    quantity(value, unit),
    range(min, max),
    peer ?? '',
    peerValue === null ? '' : quantity(peerValue, unit),
    ratioText(figure),
    barText(figure),
    okText(figure),
  ])
}
