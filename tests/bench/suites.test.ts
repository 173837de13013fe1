/** Every benchmark suite on its own: its programs load, and what has to hold whatever the speed holds. */
import { describe, expect, it } from 'vitest'
import type { Figure } from '../../scripts/bench/figure.ts'
import { verifySuite } from '../../scripts/bench/run.ts'
import { loadSuite, suiteNames } from '../../scripts/bench/suite.ts'

const seed = Number(process.env.FUZZ_SEED ?? Math.floor(Math.random() * 2 ** 31))
console.log(`seed ${seed} (repeat with FUZZ_SEED=${seed})`)

describe.each(suiteNames())('%s', name => {
  it('says its name, what it compares, and how long it may take', async () => {
    const suite = await loadSuite(name)
    expect(suite.name).toBe(name)
    expect(suite.about.length).toBeGreaterThan(20)
    expect(suite.minutes).toBeGreaterThan(0)
  })

  it('holds what it takes for granted', async ({ signal }) => {
    const figures: Figure[] = []
    await verifySuite(await loadSuite(name), { seed, signal, onFigure: figure => figures.push(figure) })
    expect(figures.filter(({ ok }) => ok !== true)).toEqual([])
  })
})
