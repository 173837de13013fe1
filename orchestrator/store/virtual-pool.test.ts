import { expect, test } from 'vitest'
import { parsePrefix, prefixContains, prefixesOverlap } from '../../schema/address.ts'
import { virtualPool } from './virtual-pool.ts'

test('256 pools cover 100.64.0.0/10 and share no address', () => {
  const range = parsePrefix('100.64.0.0/10')
  const pools = Array.from({ length: 256 }, (_, index) => parsePrefix(virtualPool(index)))
  expect(virtualPool(0)).toBe('100.64.0.0/18')
  expect(virtualPool(255)).toBe('100.127.192.0/18')
  pools.forEach((pool, index) => {
    const next = pools[index + 1]
    expect(range && pool && prefixContains(range, pool)).toBe(true)
    if (pool && next) expect(prefixesOverlap(pool, next)).toBe(false)
  })
})
