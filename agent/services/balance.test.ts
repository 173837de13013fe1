import { describe, expect, it } from 'vitest'
import { balance } from '../../schema/abi.gen.ts'
import { fillSlots, type Member } from './balance.ts'

const member = (adapter: number, change: Partial<Member> = {}): Member => ({
  adapter,
  name: `nat-${adapter}`,
  spare: 1,
  connections: 0,
  sufficient: true,
  ...change,
})
const three = [member(1), member(2), member(3)]

describe('turns', () => {
  it('gives equals one slot each', () => {
    expect(fillSlots('turns', three)).toEqual({ balance: balance.BALANCE_TURNS, slots: [1, 2, 3] })
    expect(fillSlots('turns', [member(1, { spare: 0.45 }), member(2, { spare: 0.5 })]).slots).toEqual([1, 2])
  })

  it('gives who has more left more turns, spread over the table', () => {
    const { slots } = fillSlots('turns', [member(1), member(2, { spare: 0.5 }), member(3, { spare: 0.25 })])
    const count = (adapter: number) => slots.filter(each => each === adapter).length
    expect([count(1), count(2), count(3)]).toEqual([8, 4, 2])
    expect(slots.join(' ')).not.toContain('1 1 1')
  })

  it('passes over who has no sufficient bandwidth, unless nobody has', () => {
    const full = { spare: 0.1, sufficient: false }
    expect(fillSlots('turns', [member(1, full), member(2)]).slots).toEqual([2])
    expect(fillSlots('turns', [member(1, full), member(2, full)]).slots).toEqual([1, 2])
  })

  it('fits a thousand members', () => {
    const many = Array.from({ length: 1000 }, (_, index) => member(index + 1, { spare: (index % 10) / 10 }))
    const { slots } = fillSlots('turns', many)
    expect(new Set(slots).size).toBe(1000)
    expect(slots.length).toBeLessThanOrEqual(4096)
  })
})

describe('least', () => {
  it('offers the 64 with the fewest connections, in an order that counts do not change', () => {
    const many = Array.from({ length: 100 }, (_, index) => member(index + 1, { connections: index < 36 ? 5 : 1 }))
    expect(fillSlots('least', many).slots).toEqual(Array.from({ length: 64 }, (_, index) => index + 37))
  })
})

it('hash keeps to all members, whatever they carry', () => {
  const { slots, balance: kind } = fillSlots('hash', [...three, member(4, { sufficient: false })])
  expect(kind).toBe(balance.BALANCE_HASH)
  expect(new Set(slots)).toEqual(new Set([1, 2, 3, 4]))
})

it.each(['turns', 'least', 'hash'] as const)('%s without members has no slots', name => {
  expect(fillSlots(name, []).slots).toEqual([])
})
