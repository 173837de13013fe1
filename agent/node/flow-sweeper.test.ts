import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import type { FlowTable } from '../kernel/port.ts'
import { silent } from '../log.ts'
import { FlowSweeper } from './flow-sweeper.ts'

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

/** A table in which every line holds one flow; it notes which lines were swept. */
function table(lines: number) {
  const swept: [number, number][] = []
  const flows: FlowTable = {
    lines,
    entries: () => [],
    clear: () => {},
    sweep: (line, count) => {
      swept.push([line, count])
      return { live: Math.min(count, lines - line), freed: 0 }
    },
  }
  return { flows, swept }
}

it.each([2, 64, 131_072])('goes through all of %i lines in half a minute, over and over', async lines => {
  const { flows, swept } = table(lines)
  const sweeper = new FlowSweeper(flows, silent)
  expect(sweeper.live).toBeUndefined()
  await vi.advanceTimersByTimeAsync(32_500)
  expect(sweeper.live).toBe(lines)
  const seen = new Set(swept.flatMap(([line, count]) => Array.from({ length: count }, (_, index) => line + index)))
  for (let line = 0; line < lines; line++) if (!seen.has(line)) expect.fail(`line ${line} was not swept`)
  expect(Math.max(...swept.map(([, count]) => count))).toBeLessThanOrEqual(Math.ceil(lines / 32))
  sweeper.stop()
  const { length } = swept
  await vi.advanceTimersByTimeAsync(5000)
  expect(swept.length).toBe(length)
})
