import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Scaler, share, usedShare, wish } from './scaler.ts'

const config = { capacityMbps: 100, threshold: 0.8, settleMs: 10_000 }
const load = (mbps: number) => ({ mbps, connections: 0 })

describe('what is needed', () => {
  it('is nothing without load, and one instance for anything below the threshold', () => {
    expect(new Scaler(config).needed(load(0), 0, 5000)).toBe(0)
    expect(new Scaler(config).needed(load(79), 0, 5000)).toBe(1)
    expect(new Scaler(config).needed(load(81), 0, 5000)).toBe(2)
  })

  it('looks ahead by as long as a start takes', () => {
    const scaler = new Scaler(config)
    // 10 Mb/s more each second: 60 now, and 110 when an instance that is started now is ready.
    const answers = [0, 1, 2, 3].map(second => scaler.needed(load(30 + 10 * second), 1000 * second, 5000))
    expect(answers).toEqual([1, 1, 2, 2])
    expect(new Scaler(config).needed(load(60), 3000, 5000)).toBe(1)
  })

  it('falls only when load was low for settleMs', () => {
    const scaler = new Scaler(config)
    scaler.needed(load(300), 0, 0)
    expect(scaler.needed(load(10), 5000, 0)).toBe(4)
    expect(scaler.needed(load(10), 9999, 0)).toBe(4)
    expect(scaler.needed(load(10), 10_001, 0)).toBe(1)
  })

  it('counts connections where an instance can hold only so many', () => {
    const scaler = new Scaler({ ...config, capacityConnections: 1000 })
    expect(scaler.needed({ mbps: 10, connections: 3000 }, 0, 0)).toBe(4)
    expect(usedShare({ mbps: 50, connections: 100 }, { ...config, capacityConnections: 1000 })).toBe(0.5)
  })
})

it('an enterprise gets what it needs, within its limits, and warm ones beside', () => {
  const limits = { min: 1, warm: 2, perEnterprise: 4 }
  expect([0, 1, 2, 3, 9].map(needed => wish(needed, limits))).toEqual([
    { active: 1, total: 3 },
    { active: 1, total: 3 },
    { active: 2, total: 4 },
    { active: 3, total: 4 },
    { active: 4, total: 4 },
  ])
})

describe('sharing', () => {
  it('leaves the small wish whole and cuts the large one', () => {
    expect(share(10, [2, 100])).toEqual([2, 8])
    expect(share(10, [4, 4, 4])).toEqual([4, 3, 3])
    expect(share(1000, [500, 500])).toEqual([500, 500])
    expect(share(0, [1, 2])).toEqual([0, 0])
  })

  it('is fair and wastes nothing', () => {
    fc.assert(
      fc.property(fc.nat(2000), fc.array(fc.nat(1500), { maxLength: 40 }), (available, wanted) => {
        const given = share(available, wanted)
        const sum = (numbers: number[]) => numbers.reduce((total, each) => total + each, 0)
        expect(sum(given)).toBe(Math.min(available, sum([...wanted])))
        given.forEach((mine, place) => {
          expect(mine).toBeLessThanOrEqual(wanted[place] ?? 0)
          // Who was cut has no less than anybody else, but for the last one that was left.
          if (mine < (wanted[place] ?? 0)) for (const other of given) expect(other).toBeLessThanOrEqual(mine + 1)
        })
      }),
    )
  })
})
