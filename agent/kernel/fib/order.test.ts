import fc from 'fast-check'
import { expect, test } from 'vitest'
import { addressOrder, inOrder } from './order.ts'
import { ROUTE_WORDS } from './route.ts'

/** Numbers that agree in some digits and differ in others. */
const word = fc.oneof(fc.integer({ min: 0, max: 3 }), fc.integer({ min: 0, max: 0xffffffff }), fc.constant(0x0a000000))
const record = fc.tuple(fc.integer({ min: 0, max: 16383 }), word, word, word, word, word)

test('records come by VRF and address, and as they were where these are equal', () => {
  fc.assert(
    fc.property(fc.array(record, { maxLength: 300 }), fc.boolean(), (all, oneVrf) => {
      const list = all.map(words => (oneVrf ? [7, ...words.slice(1)] : words))
      const records = Uint32Array.from(list.flat())
      const expected = list
        .map((words, index) => ({ vrf: words[0] ?? 0, address: words[3] ?? 0, index }))
        .sort((a, b) => a.vrf - b.vrf || a.address - b.address || a.index - b.index)
        .map(({ index }) => index)
      const order = addressOrder(records)
      expect([...order]).toEqual(expected)
      expect([...inOrder(records, order)]).toEqual(expected.flatMap(index => list[index] ?? []))
    }),
  )
})

test('nothing has an order, and one record', () => {
  expect([...addressOrder(new Uint32Array(0))]).toEqual([])
  expect([...addressOrder(new Uint32Array(ROUTE_WORDS))]).toEqual([0])
})
