import { expect, test } from 'vitest'
import { parsePrefix, prefixesOverlap } from '../../schema/address.ts'
import { OverlapIndex } from './overlap-index.ts'

const parse = (text: string) => {
  const prefix = parsePrefix(text)
  if (!prefix) throw new TypeError(text)
  return prefix
}

/** mulberry32: the same prefixes every time. */
function numbers(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

test('finds the same overlaps as a look at every prefix, while they come and go', () => {
  const random = numbers(11)
  const index = new OverlapIndex()
  const present = new Set<string>()
  // A small address space, so that many overlap.
  const draw = () => {
    const length = 8 + Math.floor(random() * 17)
    const address = (0x0a000000 + Math.floor(random() * 2 ** 12) * 2 ** 8) >>> 0
    const network = (address & (-1 << (32 - length))) >>> 0
    return `${network >>> 24}.${(network >>> 16) & 255}.${(network >>> 8) & 255}.${network & 255}/${length}`
  }
  let hits = 0
  for (let step = 0; step < 2000; step++) {
    const text = draw()
    const expected = [...present].filter(other => other !== text && prefixesOverlap(parse(other), parse(text)))
    hits += expected.length
    expect([...index.overlapping(parse(text))].toSorted()).toEqual(expected.toSorted())
    if (present.has(text) || random() < 0.1) {
      index.remove(text)
      present.delete(text)
    } else {
      index.add(text, parse(text))
      present.add(text)
    }
  }
  expect(hits).toBeGreaterThan(10_000)
})

test('families do not meet', () => {
  const index = new OverlapIndex()
  index.add('10.0.0.0/8', parse('10.0.0.0/8'))
  index.add('2001:db8::/32', parse('2001:db8::/32'))
  expect([...index.overlapping(parse('2001:db8:1::/48'))]).toEqual(['2001:db8::/32'])
  expect([...index.overlapping(parse('a00::/8'))]).toEqual([])
})
