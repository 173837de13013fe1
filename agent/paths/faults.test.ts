import { expect, test } from 'vitest'
import { faultOf, type Observed, signOf } from './faults.ts'
import type { Figures, Timing } from './meter.ts'
import { paceMs } from './pace.ts'
import { UsualRtt } from './usual.ts'

const quiet: Figures = {
  spanMs: 1000,
  out: { packets: 100, lost: 0 },
  in: { packets: 100, lost: 0 },
  reordered: 0,
  mbpsOut: 1,
  mbpsIn: 1,
  delayP50Ms: 1,
  delayP95Ms: 2,
  delayP99Ms: 2,
}
const near: Timing = { rttMs: 20, srttMs: 20, rttvarMs: 2, jitterMs: 1, transitUs: undefined }

function observed(figures: Partial<Figures>, timing: Partial<Timing> = {}, usualRttMs?: number): Observed {
  return { figures: { ...quiet, ...figures }, timing: { ...near, ...timing }, usualRttMs }
}

test.each<[string, Observed, string | undefined, string | undefined]>([
  ['a good path', observed({}), undefined, undefined],
  ['1 % loss', observed({ out: { packets: 100, lost: 1 } }), undefined, undefined],
  ['3 of 100', observed({ out: { packets: 100, lost: 3 } }), undefined, 'loses packets out'],
  ['5 %', observed({ out: { packets: 200, lost: 10 } }), 'loss out 5 %', 'loses packets out'],
  ['20 % of few', observed({ out: { packets: 20, lost: 4 } }), 'loss out 20 %', 'loses packets out'],
  ['one of two', observed({ out: { packets: 2, lost: 1 } }), 'loss out 50 %', undefined],
  ['what the peer loses', observed({ in: { packets: 100, lost: 50 } }), undefined, undefined],
  ['80 ms more', observed({}, { rttMs: 100, srttMs: 100 }, 20), undefined, 'a round trip of 100 ms'],
  [
    '300 ms more',
    observed({}, { rttMs: 320, srttMs: 320 }, 20),
    'round trip 320 ms, usually 20',
    'a round trip of 320 ms',
  ],
  ['150 ms more on a satellite', observed({}, { rttMs: 700, srttMs: 700 }, 550), undefined, 'a round trip of 700 ms'],
  ['jitter', observed({}, { jitterMs: 80 }), 'jitter in 80 ms', undefined],
  ['jitter of what is sent', observed({}, { rttvarMs: 80 }), 'round trips vary by 80 ms', undefined],
  ['reordering', observed({ reordered: 0.3 }), 'reordered 30 %', undefined],
  ['reordering of few', observed({ reordered: 0.3, in: { packets: 10, lost: 0 } }), undefined, undefined],
  [
    'nothing known',
    {
      figures: { ...quiet, out: undefined, in: undefined, reordered: undefined },
      timing: { ...near, rttMs: undefined, srttMs: undefined, rttvarMs: undefined, jitterMs: undefined },
      usualRttMs: undefined,
    },
    undefined,
    undefined,
  ],
])('%s', (_name, input, fault, sign) => {
  expect(faultOf(input)).toBe(fault)
  expect(signOf(input)).toBe(sign)
})

test('the usual round trip follows a shorter one at once, a longer one in minutes', () => {
  const usual = new UsualRtt()
  for (let now = 0; now < 10_000; now += 100) usual.add(now, 50)
  usual.add(10_000, 20)
  expect(usual.ms).toBe(20)
  for (let now = 10_100; now <= 13_000; now += 100) usual.add(now, 320)
  expect(usual.ms).toBeLessThan(30)
  for (let now = 13_100; now <= 400_000; now += 100) usual.add(now, 320)
  expect(usual.ms).toBeGreaterThan(290)
})

test('the pace follows what is at stake', () => {
  const common = { forMs: 30_000, busy: false, choice: true, metered: false, probeMs: 500 }
  expect(paceMs({ ...common, condition: 'suspect' })).toBe(50)
  expect(paceMs({ ...common, condition: 'left', forMs: 0 })).toBe(50)
  expect(paceMs({ ...common, condition: 'left' })).toBe(200)
  expect(paceMs({ ...common, condition: 'good', forMs: 1000 })).toBe(100)
  expect(paceMs({ ...common, condition: 'good', busy: true })).toBe(200)
  expect(paceMs({ ...common, condition: 'good', busy: true, choice: false })).toBe(500)
  expect(paceMs({ ...common, condition: 'good' })).toBe(500)
  expect(paceMs({ ...common, condition: 'good', forMs: 90_000 })).toBe(1000)
  expect(paceMs({ ...common, condition: 'good', forMs: 90_000, metered: true })).toBe(2000)
})
