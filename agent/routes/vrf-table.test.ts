import { describe, expect, test } from 'vitest'
import { VrfTable } from './vrf-table.ts'

const A = 'edge-a'
const B = 'edge-b'
const table = (limit?: number) => new VrfTable({ ownerName: owner => owner, ...(limit === undefined ? {} : { limit }) })
const on = (...prefixes: string[]) => prefixes.map(prefix => ({ prefix, reachable: true }))

describe('VRF table of a gateway', () => {
  test('an announcement adds, a second one changes the flag only when it differs', () => {
    const vrf = table()
    expect(vrf.announce(A, on('10.1.0.0/24', '2001:db8:a::/48'), true).changed).toEqual([
      '10.1.0.0/24',
      '2001:db8:a::/48',
    ])
    expect(vrf.announce(A, on('10.1.0.0/24', '2001:db8:a::/48'), true).changed).toEqual([])
    expect(vrf.announce(A, [{ prefix: '10.1.0.0/24', reachable: false }], false).changed).toEqual(['10.1.0.0/24'])
    expect(vrf.get('10.1.0.0/24')).toMatchObject({ owner: A, reachable: false })
    expect(vrf.get('2001:db8:a::/48')?.reachable).toBe(true)
  })

  test('a full announcement withdraws what it does not name', () => {
    const vrf = table()
    vrf.announce(A, on('10.1.0.0/24', '10.1.1.0/24'), true)
    expect(vrf.announce(A, on('10.1.1.0/24'), true).changed).toEqual(['10.1.0.0/24'])
    expect(vrf.size).toBe(1)
  })

  test.each([
    ['the same', '10.1.0.0/24', '10.1.0.0/24'],
    ['a part', '10.1.0.0/16', '10.1.7.0/24'],
    ['a whole', '10.1.7.0/24', '10.1.0.0/16'],
    ['an IPv6 part', '2001:db8::/32', '2001:db8:7::/48'],
  ])('%s of another owner is refused and both owners are named', (_, first, second) => {
    const vrf = table()
    vrf.announce(A, on(first), true)
    const { changed, refused } = vrf.announce(B, on(second, '10.9.0.0/24'), true)
    expect(changed).toEqual(['10.9.0.0/24'])
    expect(refused).toHaveLength(1)
    expect(refused[0]?.message).toContain(A)
    expect(refused[0]?.message).toContain(B)
    expect(vrf.get(first)?.owner).toBe(A)
  })

  test('one owner may announce a prefix and a part of it', () => {
    const vrf = table()
    expect(vrf.announce(A, on('10.1.0.0/16', '10.1.7.0/24'), true).refused).toEqual([])
  })

  test('what was withdrawn is free for another owner', () => {
    const vrf = table()
    vrf.announce(A, on('10.1.0.0/24'), true)
    expect(vrf.withdrawAll(A)).toEqual(['10.1.0.0/24'])
    expect(vrf.withdraw(A, ['10.1.0.0/24'])).toEqual([])
    expect(vrf.announce(B, on('10.1.0.0/25'), true).refused).toEqual([])
  })

  test('nobody withdraws what another owns', () => {
    const vrf = table()
    vrf.announce(A, on('10.1.0.0/24'), true)
    expect(vrf.withdraw(B, ['10.1.0.0/24'])).toEqual([])
    expect(vrf.size).toBe(1)
  })

  test('only stale routes are swept', () => {
    const vrf = table()
    vrf.announce(A, on('10.1.0.0/24', '10.1.1.0/24'), true)
    vrf.markStale(A)
    vrf.announce(A, on('10.1.1.0/24'), false)
    expect(vrf.sweepStale(A)).toEqual(['10.1.0.0/24'])
    expect(vrf.get('10.1.1.0/24')?.stale).toBe(false)
  })

  test('a full table refuses and keeps what it has', () => {
    const vrf = table(1)
    const { changed, refused } = vrf.announce(A, on('10.1.0.0/24', '10.2.0.0/24'), true)
    expect(changed).toEqual(['10.1.0.0/24'])
    expect(refused).toMatchObject([{ prefix: '10.2.0.0/24', code: 'full' }])
  })
})

describe('a prefix that was refused for an overlap', () => {
  test('is taken when the other owner withdraws, first come first served', () => {
    const vrf = table()
    vrf.announce(A, on('10.1.0.0/16'), true)
    vrf.announce(B, on('10.1.7.0/24', '10.2.0.0/24'), true)
    vrf.announce('edge-c', on('10.1.0.0/17'), true)
    expect(vrf.reconsider()).toEqual([])
    vrf.withdraw(A, ['10.1.0.0/16'])
    expect(vrf.reconsider()).toEqual([{ owner: B, prefix: '10.1.7.0/24' }])
    expect(vrf.waitingOf('edge-c')).toEqual(on('10.1.0.0/17'))
    vrf.withdrawAll(B)
    expect(vrf.reconsider()).toEqual([{ owner: 'edge-c', prefix: '10.1.0.0/17' }])
  })

  test('comes with the flag that was announced last', () => {
    const vrf = table()
    vrf.announce(A, on('10.1.0.0/24'), true)
    vrf.announce(B, on('10.1.0.0/24'), false)
    vrf.announce(B, [{ prefix: '10.1.0.0/24', reachable: false }], false)
    vrf.withdrawAll(A)
    vrf.reconsider()
    expect(vrf.get('10.1.0.0/24')).toMatchObject({ owner: B, reachable: false })
  })

  test.each([
    ['withdraws it', (vrf: VrfTable) => vrf.withdraw(B, ['10.1.0.0/24'])],
    ['leaves', (vrf: VrfTable) => vrf.withdrawAll(B)],
    ['does not name it again', (vrf: VrfTable) => vrf.announce(B, [], true)],
    ['loses its route session', (vrf: VrfTable) => vrf.markStale(B)],
  ])('is forgotten when its owner %s', (_, happens) => {
    const vrf = table()
    vrf.announce(A, on('10.1.0.0/24'), true)
    vrf.announce(B, on('10.1.0.0/24'), true)
    happens(vrf)
    vrf.withdrawAll(A)
    expect(vrf.reconsider()).toEqual([])
    expect(vrf.size).toBe(0)
  })
})
