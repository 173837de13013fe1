import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { formatPage, PAGE, readRecord } from './docs.ts'
import { judge, ratioAtMost } from './figure.ts'
import { formatRecord, mergeRecord, parseRecord, type SuiteRun } from './record.ts'
import { suiteNames } from './suite.ts'

const machine = { kernel: '6.12.1', cpu: 'A | B', cpus: 2, memoryGiB: 24, node: '24.0.0', hypervisor: true }
const run = (suite: string, date: string, figures: SuiteRun['figures'] = []): SuiteRun => ({
  suite,
  about: 'ours beside theirs',
  date,
  rounds: 15,
  machine,
  figures,
})
const hit = (x: number, value: number) =>
  judge('flows', {
    name: `hit at ${x}`,
    unit: 'ns',
    value,
    peer: { name: 'HASH', value: value * 4 },
    bar: ratioAtMost(0.2),
    curve: { name: 'flow hit', x, over: 'flows' },
  })

describe('the record', () => {
  it('survives being written and read', () => {
    const runs = [run('flows', '2026-11-21', [hit(1, 20), hit(1000, 30)]), run('tag', '2026-11-21')]
    expect(parseRecord(formatRecord(runs))).toEqual(runs)
  })

  it('takes the new run of a suite, keeps the others, and drops what is no suite any more', () => {
    const before = [run('floor', '2026-01-01'), run('gone', '2026-01-01'), run('tag', '2026-01-01')]
    const merged = mergeRecord(before, [run('tag', '2026-02-02')], ['floor', 'tag', 'fib'])
    expect(merged.map(({ suite, date }) => [suite, date])).toEqual([
      ['floor', '2026-01-01'],
      ['tag', '2026-02-02'],
    ])
  })
})

describe('the page', () => {
  const page = formatPage([run('flows', '2026-11-21', [hit(1_000_000, 80), hit(1, 20), hit(1000, 30)])])

  it('says when, where, and how to repeat it', () => {
    expect(page).toContain('2026-11-21, virtual machine, 2 x A | B, 24 GiB, Linux 6.12.1, Node 24.0.0, 15 rounds')
    expect(page).toContain('`npm run bench -- flows`')
  })

  it('shows a missed bar', () => {
    expect(page).toContain('| hit at 1 | 20 ns | HASH | 80 ns | 0.250x | <= 0.200x | MISSED |')
  })

  it('draws a curve of three points, x ascending, ours first', () => {
    expect(page).toContain('x-axis "flows" ["1", "1,000", "1,000,000"]')
    expect(page).toContain('  line [20, 30, 80]\n  line [80, 120, 320]\n')
    expect(formatPage([run('flows', '2026-11-21', [hit(1, 20), hit(1000, 30)])])).not.toContain('mermaid')
  })

  it('in docs/ is what its record makes', () => {
    const record = readRecord()
    expect(record.length).toBeGreaterThan(0)
    expect(record.map(({ suite }) => suite).filter(name => !suiteNames().includes(name))).toEqual([])
    expect(readFileSync(PAGE, 'utf8')).toBe(formatPage(record))
  })
})
