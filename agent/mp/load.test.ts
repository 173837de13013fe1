import { describe, expect, it } from 'vitest'
import { Load } from './load.ts'

const yes = () => true
const no = () => false

function load(change: Partial<ConstructorParameters<typeof Load>[0]> = {}) {
  const clock = { now: 0 }
  return {
    clock,
    load: new Load({ now: () => clock.now, rate: 10, burst: 5, sourceRate: 1, sourceBurst: 2, ...change }),
  }
}

describe('Load', () => {
  it('asks nobody for proof while there are tokens', () => {
    const { clock, load: gate } = load()
    const neverAsked = () => {
      throw new Error('asked')
    }
    for (let i = 0; i < 5; i++) expect(gate.admit('192.0.2.1', neverAsked)).toBe('ok')
    expect(gate.admit('192.0.2.1', no)).toBe('cookie')
    clock.now += 100
    expect(gate.admit('192.0.2.1', neverAsked)).toBe('ok')
    expect(gate.admit('192.0.2.1', no)).toBe('cookie')
    clock.now += 60_000
    expect(Array.from({ length: 6 }, () => gate.admit('192.0.2.1', no))).toEqual([...Array(5).fill('ok'), 'cookie'])
  })

  it('gives each proven address its own share, an IPv6 /64 together', () => {
    const { clock, load: gate } = load({ burst: 0, rate: 0 })
    const ask = (address: string) => [1, 2, 3].map(() => gate.admit(address, yes))
    const limited = ['ok', 'ok', 'rate-limited']
    expect([ask('192.0.2.1'), ask('192.0.2.2'), ask('2001:db8::1')]).toEqual([limited, limited, limited])
    expect(gate.admit('2001:db8::ffff:1', yes)).toBe('rate-limited')
    expect(gate.admit('2001:db8:0:1::1', yes)).toBe('ok')
    clock.now += 1000
    expect([gate.admit('192.0.2.1', yes), gate.admit('192.0.2.1', yes)]).toEqual(['ok', 'rate-limited'])
  })

  it('remembers proven addresses only, and a bounded number of them', () => {
    const { load: gate } = load({ burst: 0, rate: 0, sources: 100 })
    for (let i = 0; i < 1000; i++) gate.admit(`10.0.${i >> 8}.${i & 255}`, no)
    expect(gate.size).toBe(0)
    for (let i = 0; i < 1000; i++) gate.admit(`10.0.${i >> 8}.${i & 255}`, yes)
    expect(gate.size).toBe(100)
  })

  it('fills nothing when the clock goes back', () => {
    const { clock, load: gate } = load({ burst: 1, rate: 1 })
    clock.now = 10_000
    expect(gate.admit('192.0.2.1', no)).toBe('ok')
    clock.now = 0
    expect(gate.admit('192.0.2.1', no)).toBe('cookie')
    clock.now = 1_000
    expect(gate.admit('192.0.2.1', no)).toBe('ok')
  })
})
