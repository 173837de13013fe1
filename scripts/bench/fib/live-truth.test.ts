import { expect, it } from 'vitest'
import { recordsOf } from './churn.ts'
import { LiveTruth } from './live-truth.ts'
import type { Question } from './probe.ts'
import type { Words } from './tables.ts'

const TEN = 0x0a000000
const question = (address: number): Question & { words: Words } => ({ vrf: 1, family: 4, words: [address, 0, 0, 0] })
const route = (address: string, prefixLength: number, nexthop: number) => ({ vrf: 1, address, prefixLength, nexthop })

function truthOf(questions: readonly number[]) {
  const table = recordsOf([
    { ...question(TEN), length: 8, nexthop: 1 },
    { ...question(TEN + 0x100), length: 24, nexthop: 2 },
    { ...question(TEN + 0x105), length: 32, nexthop: 3 },
  ])
  const truth = new LiveTruth(table, questions.map(question))
  const right = () => questions.map((_, index) => [0, 1, 2, 3, 4, 5].filter(answer => truth.allows(index, answer)))
  return { truth, right }
}

it('allows what holds, and beside it what is under way, until that holds', () => {
  const { truth, right } = truthOf([TEN + 1, TEN + 0x106, TEN + 0x105])
  expect(right()).toEqual([[1], [2], [3]])
  truth.begin([route('10.0.1.0', 24, 4)])
  expect(right()).toEqual([[1], [2, 4], [3]])
  truth.end()
  expect(right()).toEqual([[1], [4], [3]])
})

it('has what covers a route answer when it goes, though the table had a route of the same host', () => {
  const { truth, right } = truthOf([TEN + 0x105])
  truth.begin([route('10.0.1.5', 32, 5)])
  expect(right()).toEqual([[3, 5]])
  truth.end()
  truth.begin([route('10.0.1.5', 32, 0), route('10.0.1.0', 24, 4)])
  expect(right()).toEqual([[4, 5]])
  truth.end()
  expect(right()).toEqual([[4]])
})

it('allows nothing between two changes of one batch', () => {
  const { truth, right } = truthOf([TEN + 0x106])
  truth.begin([route('10.0.1.0', 24, 5), route('10.0.1.0', 24, 4)])
  expect(right()).toEqual([[2, 4]])
})
