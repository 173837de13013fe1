import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { compare } from './compare.ts'
import { random } from './random.ts'
import { difference, per, quantile, sample } from './sample.ts'

const seed = Number(process.env.FUZZ_SEED ?? Math.floor(Math.random() * 2 ** 31))
console.log(`fast-check seed ${seed} (repeat with FUZZ_SEED=${seed})`)

describe('sample', () => {
  it('has the median of an odd and of an even number of rounds', () => {
    expect(sample([9, 1, 5])).toMatchObject({ median: 5, min: 1, max: 9 })
    expect(sample([9, 1, 5, 6])).toMatchObject({ median: 5.5, min: 1, max: 9 })
  })

  it('keeps the rounds in their order', () => {
    expect(sample([3, 1, 2]).values).toEqual([3, 1, 2])
  })

  it('refuses what is no measurement', () => {
    expect(() => sample([])).toThrow(RangeError)
    expect(() => sample([1, Number.NaN])).toThrow(RangeError)
  })

  it('has as many rounds below its median as above', () => {
    fc.assert(
      fc.property(fc.array(fc.integer(), { minLength: 1 }), values => {
        const { median, min, max } = sample(values)
        expect(values.filter(value => value < median).length).toBeLessThanOrEqual(values.length / 2)
        expect(values.filter(value => value > median).length).toBeLessThanOrEqual(values.length / 2)
        expect(min <= median && median <= max).toBe(true)
      }),
      { seed },
    )
  })

  it('takes quantiles between neighbours', () => {
    expect([0, 0.25, 0.99, 1].map(q => quantile([0, 10, 20], q))).toEqual([0, 5, 19.8, 20])
  })
})

describe('difference', () => {
  it('is taken round by round, so that what moves both does not show', () => {
    const withIt = sample([130, 230, 330])
    const without = sample([100, 200, 300])
    expect(difference(withIt, without)).toMatchObject({ median: 30, min: 30, max: 30 })
    expect(() => difference(withIt, sample([1]))).toThrow(RangeError)
  })

  it('is divided by what a run does several times', () => {
    expect(per(sample([16, 32]), 16)).toMatchObject({ min: 1, max: 2 })
  })
})

describe('compare', () => {
  it('gives every contender each round once and throws the first away', async () => {
    const calls: string[] = []
    const contender = (name: string) => (round: number) => {
      calls.push(name)
      return round
    }
    const samples = await compare({ a: contender('a'), b: contender('b') }, { rounds: 40, random: random(seed) })
    expect(samples.a.values).toEqual(Array.from({ length: 40 }, (_, round) => round))
    const rounds = Array.from({ length: 41 }, (_, round) => calls.slice(round * 2, round * 2 + 2).join(''))
    expect(new Set(rounds)).toEqual(new Set(['ab', 'ba']))
  })

  it('ends between two contenders when it is told to', async () => {
    const stop = new AbortController()
    const contender = (round: number) => {
      if (round === 2) stop.abort(new Error('enough'))
      return round
    }
    const running = compare({ a: contender }, { rounds: 5, random: random(1), signal: stop.signal })
    await expect(running).rejects.toThrow('enough')
  })
})

describe('random', () => {
  it('repeats itself for a seed and for no other', () => {
    const numbers = (from: number) => Array.from({ length: 8 }, random(from).u32)
    expect(numbers(7)).toEqual(numbers(7))
    expect(numbers(7)).not.toEqual(numbers(8))
  })

  it('shuffles to a permutation, and every place sees every item', () => {
    const { shuffle } = random(seed)
    const seen = Array.from({ length: 500 }, () => shuffle([0, 1, 2, 3]))
    for (const items of seen) expect(items.toSorted()).toEqual([0, 1, 2, 3])
    for (let place = 0; place < 4; place++) expect(new Set(seen.map(items => items[place])).size).toBe(4)
  })
})
