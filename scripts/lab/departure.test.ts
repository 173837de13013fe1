import { expect, it } from 'vitest'
import { departure } from './departure.ts'

/** Packets in steps of 100 ms, the first three before the fault. */
function counts(...packets: number[]) {
  const sum = (end: number) => packets.slice(0, end).reduce((total, more) => total + more, 0)
  return [0, ...packets].map((_more, index) => ({ ms: 100 * (index - 3), packets: sum(index) }))
}

it.each([
  ['leaves after five steps', counts(10, 10, 10, 10, 10, 10, 10, 10, 1, 0, 2, 1, 0), { offMs: 600, returns: 0 }],
  ['was not there', counts(0, 0, 0, 0, 1, 0, 1, 0, 1), { offMs: 0, returns: 0 }],
  ['stays, with pauses', counts(10, 10, 10, 10, 10, 0, 20, 10, 10, 0, 20), { offMs: undefined, returns: 0 }],
  ['comes back once and stays', counts(10, 10, 10, 10, 0, 0, 0, 0, 10, 10, 10), { offMs: 200, returns: 1 }],
  [
    'comes and goes',
    counts(10, 10, 10, 10, 0, 0, 0, 10, 10, 10, 0, 0, 0, 0, 10, 10, 0, 0, 0),
    { offMs: 200, returns: 2 },
  ],
])('traffic that %s', (_what, given, expected) => {
  expect(departure(given, 50)).toEqual(expected)
})
