import { expect, test } from 'vitest'
import { AddressPool } from './address-pool.ts'

test('the first address is the gateway’s own, each other is lent once', () => {
  const pool = new AddressPool('100.64.0.0/29')
  expect(pool.own).toBe('100.64.0.1')
  expect([pool.lend(), pool.lend(), pool.lend(), pool.lend()]).toEqual([
    '100.64.0.2',
    '100.64.0.3',
    '100.64.0.4',
    '100.64.0.5',
  ])
  expect(pool.lend()).toBeUndefined()
  pool.giveBack('100.64.0.3')
  expect(pool.lend()).toBe('100.64.0.3')
})

test('an edge gets its former address while it is free', () => {
  const pool = new AddressPool('100.64.0.0/24')
  expect(pool.lend('100.64.0.77')).toBe('100.64.0.77')
  expect(pool.lend('100.64.0.77')).toBe('100.64.0.2')
  expect(pool.lend('100.65.0.5')).toBe('100.64.0.3')
  expect(pool.lend('100.64.0.1')).toBe('100.64.0.4')
})

test('a pool must be an IPv4 prefix with room', () => {
  expect(() => new AddressPool('100.64.0.0/31')).toThrow('must be an IPv4 prefix')
  expect(() => new AddressPool('fd00::/64')).toThrow('must be an IPv4 prefix')
})
