import { expect, test } from 'vitest'
import { placeOf } from '../kernel/named-map.ts'
import { SidPool } from './sid-pool.ts'

const seed = Number(process.env.FUZZ_SEED ?? Math.floor(Math.random() * 2 ** 31))
console.log(`sid pool: repeat with FUZZ_SEED=${seed}`)

/** xorshift32: uniform enough, and the same for a seed. */
function numbers(start: number): (below: number) => number {
  let state = start || 1
  return below => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) % below
  }
}

const places = (sid: number, paths: number) => Array.from({ length: paths }, (_, path) => placeOf(sid + path))

test('no two sessions share a place, and none leaves the arrays', () => {
  const random = numbers(seed)
  const size = 128
  const pool = new SidPool(size, random)
  const live = new Map<number, number>()
  const inKernel = new Set<number>()
  let full = 0
  for (let turn = 0; turn < 20_000; turn++) {
    if (random(2) === 0) {
      const paths = 1 + random(16)
      const sid = pool.take(paths)
      if (sid === undefined) {
        full++
        continue
      }
      expect(sid % 16).toBe(0)
      expect(sid).toBeGreaterThan(0xfffff)
      expect(Math.max(...places(sid, paths))).toBeLessThan(size)
      const taken = new Set([...live].flatMap(([other, length]) => places(other, length)))
      expect(places(sid, paths).filter(place => taken.has(place))).toEqual([])
      live.set(sid, paths)
      inKernel.add(sid)
    } else {
      const [sid] = [...live.keys()].slice(random(Math.max(1, live.size)))
      if (sid === undefined) continue
      // The kernel lets go of some late: their places stay taken until then.
      if (random(3) > 0) inKernel.delete(sid)
      pool.giveBack(sid, () => !inKernel.has(sid))
      if (!inKernel.has(sid)) live.delete(sid)
    }
  }
  expect(full).toBeGreaterThan(0)
})

test('a place rests while there is room elsewhere', () => {
  const random = numbers(seed)
  const pool = new SidPool(64, random)
  const gone = () => true
  const first = pool.take(1) ?? 0
  pool.giveBack(first, gone)
  for (let turn = 0; turn < 15; turn++) {
    const sid = pool.take(1) ?? 0
    expect(placeOf(sid)).not.toBe(placeOf(first))
    pool.giveBack(sid, gone)
  }
})

test('a full pool says so, and takes what rests before it does', () => {
  const pool = new SidPool(4)
  const sids = Array.from({ length: 4 }, () => pool.take(1) ?? 0)
  expect(new Set(sids.map(placeOf)).size).toBe(4)
  expect(pool.take(1)).toBeUndefined()
  const [, second = 0] = sids
  let kernelHasIt = true
  pool.giveBack(second, () => !kernelHasIt)
  expect(pool.take(1)).toBeUndefined()
  kernelHasIt = false
  expect(placeOf(pool.take(1) ?? 0)).toBe(placeOf(second))
  expect(pool.take(5)).toBeUndefined()
})

test('what a former agent left stays taken until it is gone, and is not lost when adopted', () => {
  const pool = new SidPool(2)
  pool.adopt(0x100000, 2)
  pool.giveBack(0x100000, () => true)
  pool.adopt(0x100000, 2)
  expect(pool.take(1)).toBeUndefined()
})
