import { describe, expect, test } from 'vitest'
import { delayQuantileMs } from './delay.ts'
import { provenLoss } from './loss.ts'
import { PathMeter } from './meter.ts'
import { counters, TestPath } from './testing.ts'

/** Steps of 100 ms. */
function run(meter: PathMeter, path: TestPath, steps: number, packets = 10): void {
  for (let step = 0; step < steps; step++) meter.add(path.now + 100, path.step(100, packets))
}

describe('figures', () => {
  test('of a path that nothing was sent on are unknown, not zero', () => {
    const [meter, path] = [new PathMeter(), new TestPath()]
    run(meter, path, 20, 0)
    expect(meter.figures('second')).toMatchObject({ out: undefined, in: undefined, reordered: undefined, mbpsOut: 0 })
    expect(meter.timing).toEqual({ rttMs: undefined, srttMs: undefined, rttvarMs: undefined, jitterMs: undefined })
  })

  test('begin with the first look, whatever was counted before', () => {
    const [meter, path] = [new PathMeter(), new TestPath()]
    path.lossOut = 0.5
    path.step(1000, 10_000)
    path.lossOut = 0
    run(meter, path, 10)
    expect(meter.figures('minute')).toMatchObject({ spanMs: 900, out: { packets: 90, lost: 0 } })
  })

  test('are of each direction, and of each window', () => {
    const [meter, path] = [new PathMeter(), new TestPath()]
    run(meter, path, 100)
    path.lossOut = 0.2
    run(meter, path, 10)
    // A window may begin up to a fifth of its span earlier.
    const { out, in: received } = meter.figures('second')
    expect([out?.lost, received?.lost]).toEqual([20, 0])
    expect(out?.packets).toBeGreaterThanOrEqual(100)
    expect(out?.packets).toBeLessThanOrEqual(120)
    expect(meter.figures('ten').out?.lost).toBe(20)
    expect(meter.figures('ten').out?.packets).toBeGreaterThanOrEqual(1000)
    expect(meter.figures('second').mbpsOut).toBeCloseTo(0.8)
    expect(meter.figures('second').mbpsIn).toBeCloseTo(0.8)
    path.lossOut = 0
    run(meter, path, 12)
    expect(meter.figures('second').out?.lost).toBe(0)
  })

  test('go on over a new session, whose counters begin at zero', () => {
    const [meter, path] = [new PathMeter(), new TestPath()]
    run(meter, path, 8)
    path.rekey()
    path.lossIn = 0.5
    run(meter, path, 2)
    expect(meter.figures('second')).toMatchObject({ out: { packets: 90, lost: 0 }, in: { packets: 90, lost: 10 } })
  })

  test('of counters that were made anew under the same name count from zero as well', () => {
    const meter = new PathMeter()
    meter.add(0, counters({ txNumber: 500, rxHighest: 500, rxPackets: 400 }))
    meter.add(100, counters({ txNumber: 10, rxHighest: 10, rxPackets: 9 }))
    expect(meter.figures('second').in).toEqual({ packets: 10, lost: 1 })
  })

  test('begin anew when the clock stands still or goes back', () => {
    const [meter, path] = [new PathMeter(), new TestPath()]
    run(meter, path, 10)
    path.now -= 3_600_000
    run(meter, path, 1)
    expect(meter.figures('minute').spanMs).toBe(0)
    run(meter, path, 5)
    expect(meter.figures('second')).toMatchObject({ spanMs: 500, out: { packets: 50, lost: 0 } })
  })

  test('of reports that overtook each other: an older one says nothing', () => {
    const meter = new PathMeter()
    meter.add(0, counters({ toldHighest: 0, toldPackets: 0 }))
    meter.add(100, counters({ toldHighest: 100, toldPackets: 99 }))
    meter.add(200, counters({ toldHighest: 90, toldPackets: 90 }))
    meter.add(300, counters({ toldHighest: 120, toldPackets: 119 }))
    expect(meter.figures('second').out).toEqual({ packets: 120, lost: 1 })
  })

  test('leave out what was sent to find out whether it gets through, and no more than that', () => {
    const [meter, path] = [new PathMeter(), new TestPath()]
    run(meter, path, 5)
    meter.excuse(8, path.now)
    path.lossOut = 0.1
    run(meter, path, 5)
    expect(meter.figures('second').out?.lost).toBe(0)
    run(meter, path, 5)
    expect(meter.figures('second').out?.lost).toBe(2)
    meter.excuse(8, path.now - 10_000)
    run(meter, path, 5)
    expect(meter.figures('ten').out?.lost).toBe(7)
  })

  test('leave out none of those that turned out to fit', () => {
    const [meter, path] = [new PathMeter(), new TestPath()]
    run(meter, path, 5)
    meter.excuse(9, path.now)
    meter.excuse(-8, path.now)
    path.lossOut = 0.1
    run(meter, path, 5)
    expect(meter.figures('second').out?.lost).toBe(4)
    meter.excuse(-8, path.now)
    meter.excuse(1, path.now)
    run(meter, path, 5)
    expect(meter.figures('second').out?.lost).toBe(8)
  })

  test('count 32-bit counters on when they wrap', () => {
    const meter = new PathMeter()
    const delay = (count: number) => counters().delay.map((_, bucket) => (bucket === 3 ? count : 0))
    meter.add(0, counters({ reordered: 2 ** 32 - 2, delay: delay(2 ** 32 - 10), rxPackets: 0 }))
    meter.add(100, counters({ reordered: 3, delay: delay(90), rxPackets: 100, rxHighest: 100 }))
    const figures = meter.figures('second')
    expect(figures.reordered).toBeCloseTo(0.05)
    expect(figures.delayP95Ms).toBeGreaterThan(0.5)
    expect(figures.delayP95Ms).toBeLessThan(1)
  })
})

test.each<[string, number[], number, number | undefined]>([
  ['nothing', [0, 0, 0], 0.5, undefined],
  ['half of the first bucket', [100], 0.5, 0.0625],
  ['the end of a bucket', [50, 50], 0.5, 0.125],
  ['within a later one', [50, 0, 50], 0.75, 0.375],
  ['the last, open one', [...Array.from({ length: 15 }, () => 0), 10], 1, 4096],
])('delay quantile: %s', (_name, counts, share, expected) => {
  const quantile = delayQuantileMs(counts, share)
  if (expected === undefined) expect(quantile).toBeUndefined()
  else expect(quantile).toBeCloseTo(expected, 6)
})

test.each<[number, number, number, number]>([
  [0, 0, 0, 0],
  [100, 0, 0, 0],
  [4, 1, 0.05, 0.08],
  [60, 3, 0.019, 0.022],
  [100, 1, 0.001, 0.004],
  [200, 10, 0.029, 0.032],
  [100_000, 5000, 0.048, 0.05],
  [10, 10, 0.7, 1],
])('of %i packets %i are lost: proves %f to %f', (packets, lost, low, high) => {
  const proven = provenLoss({ packets, lost })
  expect(proven).toBeGreaterThanOrEqual(low)
  expect(proven).toBeLessThanOrEqual(high)
})
