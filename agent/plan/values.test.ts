import { expect, test } from 'vitest'
import { spread } from '../../schema/abi.gen.ts'
import { plainSteering, within } from './values.ts'

const word = { mode: spread.SPREAD_TWICE, best: 2, second: 3, fec: 5, mask: 0b1100, playoutMs: 60 }

test.each<[string, number, Partial<typeof word>]>([
  ['all of them', 0b1111, {}],
  ['without the second', 0b0111, { second: 2, mask: 0b0100 }],
  ['without the best', 0b1010, { best: 1, mask: 0b1000 }],
  ['without any that was named', 0b0011, { best: 0, second: 0, mask: 0b0011 }],
  ['the highest path there is', 0x8000, { best: 15, second: 15, mask: 0x8000 }],
  ['none at all', 0, { best: 0, second: 0, mask: 0 }],
])('steering within %s', (_name, mask, change) => {
  expect(within([word], mask)).toEqual([{ ...word, ...change }])
})

test('plain steering is within its own mask', () => {
  expect(within(plainSteering(1, 0b10), 0b10)).toEqual(plainSteering(1, 0b10))
})
