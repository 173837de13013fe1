import { expect, test } from 'vitest'
import { Backoff } from './backoff.ts'

test('doubles to a limit, with jitter of half a step, and starts over after success', () => {
  const late = new Backoff(() => 1)
  const steps = Array.from({ length: 9 }, () => late.next())
  expect(steps).toEqual([250, 500, 1000, 2000, 4000, 8000, 15_000, 15_000, 15_000])
  late.reset()
  expect(late.next()).toBe(250)
  const early = new Backoff(() => 0)
  expect([early.next(), early.next()]).toEqual([125, 250])
})

test('a node that is refused asks once a minute at last', () => {
  const backoff = new Backoff(() => 1)
  backoff.slow()
  const steps = Array.from({ length: 10 }, () => backoff.next())
  expect(steps.at(-1)).toBe(60_000)
})
