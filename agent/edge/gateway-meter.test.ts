import { expect, test } from 'vitest'
import type { Figures, Loss } from '../paths/meter.ts'
import { PathMeter } from '../paths/meter.ts'
import { GatewayMeter, wayOf } from './gateway-meter.ts'

const way = (roundTripMs: number | undefined, jitterMs = 0, lost = 0) => ({ roundTripMs, jitterMs, lost })

test('round trip, twice the jitter, and 100 ms for each per cent lost; of several paths the best counts', () => {
  const meter = new GatewayMeter()
  meter.take(0, [])
  expect(meter.value).toBeUndefined()
  meter.take(0, [way(undefined)])
  expect(meter.value).toBeUndefined()
  meter.take(0, [way(40, 2.5), way(90), way(1, 0, 0.02)])
  expect(meter.value).toBeCloseTo(45)
  const lossy = new GatewayMeter()
  lossy.take(0, [way(30, 0, 0.02)])
  expect(lossy.value).toBeCloseTo(230)
})

test('is smoothed over time, however often it is asked', () => {
  const after = (everyMs: number) => {
    const meter = new GatewayMeter()
    meter.take(0, [way(20)])
    for (let now = everyMs; now <= 5000; now += everyMs) meter.take(now, [way(120)])
    return meter.value
  }
  expect(after(1000)).toBeCloseTo(120 - 100 / Math.E, 6)
  expect(after(100)).toBeCloseTo(after(1000) ?? 0, 6)
})

test('begins anew after a silence', () => {
  const meter = new GatewayMeter()
  meter.take(0, [way(30)])
  meter.reset()
  expect(meter.value).toBeUndefined()
  meter.take(60_000, [way(90)])
  expect(meter.value).toBeCloseTo(90)
})

test.each<[string, Loss | undefined, Loss | undefined, number]>([
  ['nothing known', undefined, undefined, 0],
  ['the worse direction', { packets: 1000, lost: 12 }, { packets: 500, lost: 102 }, 0.2],
  ['few packets tell nothing', { packets: 49, lost: 40 }, undefined, 0],
  ['two may be on their way', { packets: 50, lost: 2 }, { packets: 50, lost: 1 }, 0],
])('loss of a path: %s', (_, out, into, lost) => {
  const figures = (): Figures => ({ ...new PathMeter().figures('ten'), out, in: into })
  const timing = { rttMs: 9, srttMs: 8, rttvarMs: 1, jitterMs: undefined, transitUs: undefined }
  expect(wayOf({ figures, timing })).toEqual({ roundTripMs: 8, jitterMs: 0, lost })
})
