/** One path whose width the test knows: which sizes it lets through, and how many probes it loses on top. */
import { describe, expect, it } from 'vitest'
import { MtuSearch, type Range } from './mtu-search.ts'

const ETHERNET: Range = { least: 576, most: 1500 }

interface Path {
  width: number
  /** Whether the next probe, there or back, is lost for another reason. */
  loses?: () => boolean
}

/** One round over the path: the largest size that came back. */
function ask(search: MtuSearch, { width, loses = () => false }: Path, now = 0): { sizes: number[] } {
  const sizes = search.round()
  const answered = sizes.filter(size => size <= width && !loses())
  search.judge(answered.length > 0 ? Math.max(...answered) : undefined, now)
  return { sizes }
}

/** Rounds until it has settled. */
function settle(search: MtuSearch, path: Path, now = 0): number {
  for (let rounds = 0; rounds < 100; rounds++) {
    if (!search.due(now)) return rounds
    ask(search, path, now)
  }
  throw new Error(`not settled after 100 rounds, at ${search.mtu}`)
}

describe('a path of its links’ width', () => {
  it('is proven by one round', () => {
    const search = new MtuSearch(ETHERNET)
    expect(search.round()).toEqual([1500, 0])
    expect(settle(search, { width: 1500 })).toBe(1)
    expect(search.mtu).toBe(1500)
    expect(search.due(1e12)).toBe(false)
  })

  it('is asked no more than it may carry', () => {
    const search = new MtuSearch({ least: 1280, most: 1400 }, 9000)
    expect(search.mtu).toBe(1400)
    expect(settle(search, { width: 9000 })).toBe(1)
    expect(search.mtu).toBe(1400)
  })
})

describe.each<[string, Range]>([
  ['IPv4', ETHERNET],
  ['IPv6', { least: 1280, most: 1500 }],
  ['jumbo frames', { least: 576, most: 9000 }],
])('%s: a router in the middle', (_name, range) => {
  const widths = Array.from({ length: range.most - range.least + 1 }, (_, index) => range.least + index)

  it('of every width is found within 8 bytes, and never too large', () => {
    for (const width of widths) {
      const search = new MtuSearch(range)
      const rounds = settle(search, { width })
      expect(search.mtu, `width ${width}`).toBeLessThanOrEqual(width)
      expect(search.mtu, `width ${width}`).toBeGreaterThan(width - 8)
      expect(rounds, `width ${width}`).toBeLessThanOrEqual(24)
    }
  })

  it('carries something that fits after three rounds, while the search goes on', () => {
    for (const width of widths) {
      const search = new MtuSearch(range)
      for (let round = 0; round < 3; round++) ask(search, { width })
      expect(search.mtu, `width ${width}`).toBeLessThanOrEqual(width)
      expect(search.mtu, `width ${width}`).toBeGreaterThanOrEqual(range.least)
    }
  })
})

it('finds the MTUs that networks have to the byte', () => {
  for (const width of [1492, 1480, 1420, 1400, 1280, 576]) {
    const search = new MtuSearch(ETHERNET)
    settle(search, { width })
    expect(search.mtu).toBe(width)
  }
})

describe('doubt', () => {
  it('asks for what is in use, and nothing changes when it comes back', () => {
    const search = new MtuSearch(ETHERNET)
    settle(search, { width: 1420 })
    search.doubt()
    expect(search.due(0)).toBe(true)
    expect(search.round()).toEqual([1420, 0])
    search.judge(1420, 0)
    expect(search.due(0)).toBe(false)
    expect(search.mtu).toBe(1420)
  })

  it('one or two lost probes change nothing', () => {
    const search = new MtuSearch(ETHERNET)
    settle(search, { width: 1500 })
    search.doubt()
    ask(search, { width: 100 })
    ask(search, { width: 100 })
    ask(search, { width: 1500 })
    expect(search.mtu).toBe(1500)
    expect(search.due(0)).toBe(false)
  })

  it('a path that has become narrow is left with what got through in three rounds', () => {
    const search = new MtuSearch(ETHERNET)
    settle(search, { width: 1500 })
    search.doubt()
    for (let round = 0; round < 3; round++) ask(search, { width: 1300 })
    expect(search.mtu).toBe(1280)
    settle(search, { width: 1300 })
    expect(search.mtu).toBeGreaterThan(1292)
  })

  it('asks for the size in doubt more often each round', () => {
    const search = new MtuSearch(ETHERNET)
    for (const times of [1, 2, 3])
      expect(ask(search, { width: 576 }).sizes.filter(size => size === 1500).length).toBe(times)
  })
})

it('a path on which nothing comes back is not a narrow one', () => {
  const search = new MtuSearch(ETHERNET)
  for (let round = 0; round < 50; round++) ask(search, { width: -1 })
  expect(search.mtu).toBe(1500)
  expect(search.due(0)).toBe(true)
})

describe('a path below the least', () => {
  it('is of no use, and is when it has become wider', () => {
    const search = new MtuSearch(ETHERNET)
    settle(search, { width: 575 })
    expect(search.mtu).toBe(0)
    expect(settle(search, { width: 575 }, 5000)).toBeGreaterThan(0)
    expect(search.mtu).toBe(0)
    settle(search, { width: 1500 }, 20_000)
    expect(search.mtu).toBe(1500)
  })
})

describe('upwards again', () => {
  it('after 5 s, then each time after twice as long, at last every 10 minutes', () => {
    const search = new MtuSearch(ETHERNET)
    settle(search, { width: 1400 })
    const pauses: number[] = []
    for (let now = 0, before = 0; pauses.length < 10; now += 1000) {
      if (!search.due(now)) continue
      settle(search, { width: 1400 }, now)
      expect(search.mtu).toBe(1400)
      pauses.push((now - before) / 1000)
      before = now
    }
    expect(pauses).toEqual([5, 10, 20, 40, 80, 160, 320, 600, 600, 600])
  })

  it('finds a wider path, and tries 5 s after that again', () => {
    const search = new MtuSearch(ETHERNET)
    settle(search, { width: 1400 })
    settle(search, { width: 1400 }, 5000)
    settle(search, { width: 1452 }, 15_000)
    expect(search.mtu).toBe(1452)
    expect(search.due(19_999)).toBe(false)
    expect(search.due(20_000)).toBe(true)
  })

  it('keeps to what is in use meanwhile, and notices when that is lost', () => {
    const search = new MtuSearch(ETHERNET)
    settle(search, { width: 1400 })
    expect(search.due(5000)).toBe(true)
    for (let round = 0; round < 3; round++) ask(search, { width: 1280 }, 5000)
    expect(search.mtu).toBe(1280)
  })
})

it('is right in the end whatever is lost: 5 % in each direction, paths that change', () => {
  const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31))
  const random = generator(seed)
  let wrong = 0
  for (let run = 0; run < 500; run++) {
    const search = new MtuSearch(ETHERNET)
    let now = 0
    for (let change = 0; change < 4; change++) {
      const path = { width: 576 + Math.floor(random() * 925), loses: () => random() < 1 - 0.95 ** 2 }
      // Traffic doubts twice a second, for half a minute.
      for (let look = 0; look < 60; look++, now += 500) {
        search.doubt()
        for (let rounds = 0; rounds < 60 && search.due(now); rounds++) ask(search, path, now)
        if (look >= 4 && search.mtu > path.width) wrong += 1
      }
      expect(search.mtu, `seed ${seed}`).toBeLessThanOrEqual(path.width)
    }
  }
  expect(wrong, `seed ${seed}`).toBe(0)
})

/** mulberry32 */
function generator(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
