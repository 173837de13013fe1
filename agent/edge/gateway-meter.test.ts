import { expect, test } from 'vitest'
import type { PathState } from '../../schema/abi.gen.ts'
import { zeroPathState } from '../plan/values.ts'
import { GatewayMeter } from './gateway-meter.ts'

const path = (change: Partial<PathState>): PathState => ({ ...zeroPathState(), handle: 0x10, ...change })
const rtt = (ms: number, change: Partial<PathState> = {}) => path({ srttUs: 1000 * ms, ...change })

/** A path that carries 1,000 packets a second each way, of which the given shares are lost. */
function* busy(handle: number, rttMs: number, lostOut: number, lostIn: number): Generator<PathState, never> {
  for (let second = 1; ; second++) {
    const came = (share: number) => BigInt(Math.round(1000 * second * (1 - share)))
    const sent = BigInt(1000 * second)
    const told = { toldHighest: sent, toldPackets: came(lostOut) }
    yield rtt(rttMs, { handle, ...told, rxHighest: sent, rxPackets: came(lostIn) })
  }
}

test('round trip and twice the jitter; of several paths the best counts', () => {
  const meter = new GatewayMeter()
  meter.take(0, [])
  expect(meter.value).toBeUndefined()
  meter.take(0, [path({})])
  expect(meter.value).toBeUndefined()
  meter.take(0, [rtt(40, { jitterUs: 16 * 2500 }), rtt(90, { handle: 0x11 })])
  expect(meter.value).toBeCloseTo(45)
  // Until it is smoothed, the newest round trip is what is known.
  const other = new GatewayMeter()
  other.take(0, [path({ rttUs: 7000 })])
  expect(other.value).toBeCloseTo(7)
})

test('is smoothed over time, however often it is asked', () => {
  const after = (everyMs: number) => {
    const meter = new GatewayMeter()
    meter.take(0, [rtt(20)])
    for (let now = everyMs; now <= 5000; now += everyMs) meter.take(now, [rtt(120)])
    return meter.value
  }
  expect(after(1000)).toBeCloseTo(120 - 100 / Math.E, 6)
  expect(after(100)).toBeCloseTo(after(1000) ?? 0, 6)
})

test.each([
  ['out', 0.02, 0],
  ['in', 0, 0.02],
])('2 %% loss %s costs 200 ms', (_, out, into) => {
  const meter = new GatewayMeter()
  const states = busy(0x10, 30, out, into)
  for (let now = 0; now < 60_000; now += 1000) meter.take(now, [states.next().value])
  expect(meter.value).toBeGreaterThan(225)
  expect(meter.value).toBeLessThan(235)
})

test('few packets tell nothing of loss, and new keys do not look like one', () => {
  const meter = new GatewayMeter()
  meter.take(0, [rtt(30, { toldHighest: 1n, toldPackets: 1n })])
  meter.take(1000, [rtt(30, { toldHighest: 45n, toldPackets: 2n })])
  expect(meter.value).toBeCloseTo(30)
  const states = busy(0x10, 30, 0, 0)
  for (let now = 2000; now < 4000; now += 1000) meter.take(now, [states.next().value])
  // Another session of the same paths begins at nothing.
  const renewed = busy(0x20, 30, 0, 0)
  for (let now = 4000; now < 8000; now += 1000) meter.take(now, [renewed.next().value])
  expect(meter.value).toBeLessThan(31)
})

test('tells when its round trip is an old one', () => {
  const meter = new GatewayMeter()
  const fresh = [1, 1, 2, 0].map((probeReplies, second) => {
    meter.take(1000 * second, [rtt(30, { probeReplies })])
    return meter.fresh
  })
  // The last is of a new session, which begins at nothing.
  expect(fresh).toEqual([true, false, true, true])
})

test('begins anew after a silence', () => {
  const meter = new GatewayMeter()
  meter.take(0, [rtt(30)])
  meter.reset()
  expect(meter.value).toBeUndefined()
  meter.take(60_000, [rtt(90)])
  expect(meter.value).toBeCloseTo(90)
})
