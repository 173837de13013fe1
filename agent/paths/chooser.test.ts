import { describe, expect, test } from 'vitest'
import { spread, trafficClass } from '../../schema/abi.gen.ts'
import { type Choosable, Chooser, type ClassPlan } from './chooser.ts'
import { exchangesPerSecond, rFactor, throughput } from './score.ts'

const path = (id: number, change: Partial<Choosable> = {}): Choosable => ({
  path: id,
  tier: 0,
  backup: false,
  metered: false,
  loss: 0,
  rttMs: 20,
  jitterMs: 1,
  mbps: undefined,
  transitUs: undefined,
  queuedMs: 2,
  busy: false,
  ...change,
})

const plan = (change: Partial<ClassPlan> = {}): ClassPlan => ({ spread: 'best', fec: false, playoutMs: 100, ...change })
/** All classes alike. */
const chooser = (change: Partial<ClassPlan> = {}) => new Chooser(Array.from({ length: 4 }, () => plan(change)))
const { CLASS_DEFAULT, CLASS_REALTIME, CLASS_TRANSACTIONAL, CLASS_BULK } = trafficClass

/** Of one class, at once. */
function word(klass: number, paths: Choosable[], change: Partial<ClassPlan> = {}) {
  return chooser(change).choose(0, paths)?.[klass]
}

describe('who is used', () => {
  test('nobody when there is no path', () => {
    expect(chooser().choose(0, [])).toBeUndefined()
  })

  test.each<[string, number, Choosable[], { best: number; mask: number }]>([
    ['the only one', CLASS_DEFAULT, [path(3)], { best: 3, mask: 8 }],
    ['of equals the first', CLASS_DEFAULT, [path(0), path(1)], { best: 0, mask: 3 }],
    [
      'voice: low loss before low delay',
      CLASS_REALTIME,
      [path(0, { loss: 0.03 }), path(1, { rttMs: 80 })],
      { best: 1, mask: 3 },
    ],
    [
      'voice: low delay among clean ones',
      CLASS_REALTIME,
      [path(0, { rttMs: 300 }), path(1, { rttMs: 40 })],
      { best: 1, mask: 3 },
    ],
    [
      'exchanges: the quick one, though it loses a little',
      CLASS_TRANSACTIONAL,
      [path(0, { rttMs: 80 }), path(1, { loss: 0.001 })],
      { best: 1, mask: 3 },
    ],
    [
      'bulk: the wide one, though it is slower',
      CLASS_BULK,
      [path(0, { mbps: 10 }), path(1, { mbps: 50, rttMs: 40 })],
      { best: 1, mask: 3 },
    ],
    [
      'a degraded one not, however quick',
      CLASS_DEFAULT,
      [path(0, { tier: 1, rttMs: 1 }), path(1, { rttMs: 200 })],
      { best: 1, mask: 2 },
    ],
    [
      'degraded ones when there are no others',
      CLASS_DEFAULT,
      [path(0, { tier: 1 }), path(1, { tier: 2 })],
      { best: 0, mask: 1 },
    ],
    ['a backup link not', CLASS_DEFAULT, [path(0, { backup: true }), path(1, { rttMs: 500 })], { best: 1, mask: 2 }],
    [
      'not even for a degraded one',
      CLASS_DEFAULT,
      [path(0, { backup: true }), path(1, { tier: 1 })],
      { best: 1, mask: 2 },
    ],
    [
      'but for one that was left',
      CLASS_DEFAULT,
      [path(0, { backup: true }), path(1, { tier: 2 })],
      { best: 0, mask: 1 },
    ],
    ['a metered one not by bulk', CLASS_BULK, [path(0, { metered: true }), path(1)], { best: 1, mask: 2 }],
    [
      'a metered one by voice',
      CLASS_REALTIME,
      [path(0, { metered: true, rttMs: 20 }), path(1, { rttMs: 600 })],
      { best: 0, mask: 3 },
    ],
  ])('%s', (_name, klass, paths, expected) => {
    expect(word(klass, paths)).toMatchObject(expected)
  })
})

describe('a move', () => {
  const [slow, quick] = [path(0, { rttMs: 50 }), path(1, { rttMs: 20 })]

  test('waits for two seconds of being better', () => {
    const choice = chooser()
    const best = (now: number, paths: Choosable[]) => choice.choose(now, paths)?.[CLASS_TRANSACTIONAL]?.best
    expect(best(0, [slow, path(1, { rttMs: 50 })])).toBe(0)
    expect(best(500, [slow, quick])).toBe(0)
    expect(best(2000, [slow, quick])).toBe(0)
    expect(best(2500, [slow, quick])).toBe(1)
  })

  test('begins to wait anew when the other was not better meanwhile', () => {
    const choice = chooser()
    const best = (now: number, paths: Choosable[]) => choice.choose(now, paths)?.[CLASS_TRANSACTIONAL]?.best
    best(0, [slow, path(1, { rttMs: 50 })])
    best(500, [slow, quick])
    best(2000, [slow, path(1, { rttMs: 48 })])
    expect(best(2600, [slow, quick])).toBe(0)
    expect(best(4600, [slow, quick])).toBe(1)
  })

  test('is not made for less than a fifth', () => {
    const choice = chooser()
    for (let now = 0; now < 60_000; now += 500) {
      const words = choice.choose(now, [path(0, { rttMs: 50 }), path(1, { rttMs: now === 0 ? 60 : 43 })])
      expect(words?.[CLASS_TRANSACTIONAL]?.best).toBe(0)
    }
  })

  test('is made at once when the path in use falls behind by its condition', () => {
    const choice = chooser()
    choice.choose(0, [path(0), path(1)])
    expect(choice.choose(1, [path(0, { tier: 1 }), path(1)])?.[CLASS_DEFAULT]?.best).toBe(1)
  })
})

describe('how', () => {
  test.each<
    [string, Partial<ClassPlan>, Choosable[], { mode: number; second?: number; fec?: number; playoutMs?: number }]
  >([
    ['best', {}, [path(0), path(1)], { mode: spread.SPREAD_BEST, second: 1, fec: 0, playoutMs: 3 }],
    ['auto, clean', { spread: 'auto' }, [path(0), path(1)], { mode: spread.SPREAD_BEST }],
    [
      'auto, all lose',
      { spread: 'auto', fec: true },
      [path(0, { loss: 0.02 }), path(1, { loss: 0.02 })],
      { mode: spread.SPREAD_TWICE, second: 1, fec: 0, playoutMs: 3 },
    ],
    [
      'auto, alone',
      { spread: 'auto', fec: true },
      [path(0, { loss: 0.02 })],
      { mode: spread.SPREAD_BEST, second: 0, fec: 7, playoutMs: 0 },
    ],
    [
      'twice over a degraded one',
      { spread: 'twice' },
      [path(0), path(1, { tier: 1 })],
      { mode: spread.SPREAD_TWICE, second: 1 },
    ],
    [
      'twice over one that is held back, where there is no other',
      { spread: 'twice' },
      [path(0), path(1, { tier: 2 })],
      { mode: spread.SPREAD_TWICE, second: 1 },
    ],
    [
      'twice over a degraded one rather',
      { spread: 'twice' },
      [path(0), path(1, { tier: 2 }), path(2, { tier: 1, rttMs: 300 })],
      { mode: spread.SPREAD_TWICE, second: 2 },
    ],
    ['never parity over it', { fec: true }, [path(0, { loss: 0.02 }), path(1, { tier: 2 })], { mode: 0, second: 0 }],
    [
      'never twice over a metered one',
      { spread: 'twice' },
      [path(0), path(1, { tier: 1, metered: true })],
      { mode: spread.SPREAD_BEST },
    ],
    [
      'even if it is held back',
      { spread: 'twice' },
      [path(0), path(1, { tier: 2, metered: true })],
      { mode: spread.SPREAD_BEST },
    ],
    ['nor over a backup', { spread: 'twice' }, [path(0), path(1, { backup: true })], { mode: spread.SPREAD_BEST }],
    [
      'by packets',
      { spread: 'packets' },
      [path(0, { mbps: 10 }), path(1, { mbps: 30, rttMs: 80 })],
      { mode: spread.SPREAD_PACKETS, playoutMs: 39 },
    ],
    [
      'by packets, rates unknown',
      { spread: 'packets' },
      [path(0, { mbps: 10 }), path(1)],
      { mode: spread.SPREAD_BEST },
    ],
    [
      'held back no longer than allowed',
      { spread: 'packets', playoutMs: 20 },
      [path(0, { mbps: 10 }), path(1, { mbps: 30, rttMs: 80 })],
      { mode: spread.SPREAD_PACKETS, playoutMs: 20 },
    ],
    ['by flows', { spread: 'flows' }, [path(0), path(1)], { mode: spread.SPREAD_FLOWS }],
  ])('%s', (_name, change, paths, expected) => {
    expect(word(CLASS_DEFAULT, paths, change)).toMatchObject(expected)
  })

  test('packets are held back for what comes late, however it is sent from here, and for less when that is far too long', () => {
    const choice = chooser()
    const playoutMs = (transitUs: number, queuedMs: number) =>
      choice.choose(0, [path(0, { transitUs: 0xffff_fc18, queuedMs: 4 }), path(1, { transitUs, queuedMs })])?.[
        CLASS_BULK
      ]?.playoutMs
    // The first path's transit is -1 ms: clocks differ, and times wrap round.
    expect(playoutMs(34_000, 5)).toBe(48)
    expect(playoutMs(34_000, 12)).toBe(48)
    expect(playoutMs(34_000, 14)).toBe(59)
    expect(playoutMs(20_000, 4)).toBe(59)
    expect(playoutMs(9000, 4)).toBe(17)
  })

  test.each([
    ['is left', { tier: 2 }, 0],
    ['is left, but the peer uses it', { tier: 2, busy: true }, 27],
    ['is a backup', { backup: true }, 0],
    ['is a backup that the peer uses', { backup: true, busy: true }, 27],
  ])('nothing waits for a slow path that nobody uses: one that %s', (_name, change, playoutMs) => {
    expect(word(CLASS_DEFAULT, [path(0), path(1, { rttMs: 60, ...change })])?.playoutMs).toBe(playoutMs)
  })

  test.each([
    [0, 0],
    [0.001, 0],
    [0.002, 20],
    [0.01, 10],
    [0.03, 7],
    [0.05, 5],
    [0.3, 3],
  ])('loss of %f: one parity for %i packets', (loss, k) => {
    expect(word(CLASS_DEFAULT, [path(0, { loss })], { fec: true })?.fec).toBe(k)
  })

  test.each([0, 0.3])('loss of %f: the code is as configured', loss => {
    const fec = { packets: 6, depth: 4 }
    expect(word(CLASS_DEFAULT, [path(0, { loss })], { fec })?.fec).toBe((2 << 5) | 6)
    expect(word(CLASS_DEFAULT, [path(0), path(1)], { fec, spread: 'twice' })?.fec).toBe(0)
  })
})

test('scores are those of their sources', () => {
  // G.107's default of 93.2; Cole and Rosenbluth's delay knee at 177.3 ms; G.113: 2 % random loss of G.711 with concealment costs 7.
  expect(rFactor({ loss: 0, rttMs: 0, jitterMs: 0, mbps: undefined })).toBe(93.2)
  expect(rFactor({ loss: 0, rttMs: 400, jitterMs: 0, mbps: undefined })).toBeCloseTo(93.2 - 4.8 - 2.497, 2)
  expect(rFactor({ loss: 0.02, rttMs: 0, jitterMs: 0, mbps: undefined })).toBeCloseTo(93.2 - 7.01, 1)
  expect(throughput({ loss: 0.01, rttMs: 100, jitterMs: 0, mbps: undefined })).toBeCloseTo(1.37, 2)
  expect(throughput({ loss: 0, rttMs: 10, jitterMs: 0, mbps: 20 })).toBe(20)
  expect(exchangesPerSecond({ loss: 0, rttMs: 99, jitterMs: 0, mbps: undefined })).toBe(10)
})
