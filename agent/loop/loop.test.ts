import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { LoopDelay } from './delay.ts'
import { Slices } from './slices.ts'

function block(ms: number): void {
  for (const end = performance.now() + ms; performance.now() < end; );
}

test('a stall is seen, by how long it was, and stays the longest when the window is over', async () => {
  const loop = new LoopDelay()
  await sleep(50)
  block(120)
  await sleep(50)
  const { maxMs } = loop.read()
  // The timer was due at some time of its interval when the stall began.
  expect(maxMs).toBeGreaterThan(105)
  loop.reset()
  expect(loop.read()).toEqual({ p50Ms: 0, p99Ms: 0, maxMs: 0 })
  expect(loop.status().longestMs).toBe(maxMs)
  loop.close()
})

test('long work in slices lets timers run', async () => {
  let ticks = 0
  const timer = setInterval(() => ticks++, 1)
  const slices = new Slices()
  let rests = 0
  for (const end = performance.now() + 100; performance.now() < end; ) {
    block(1)
    if (!slices.over) continue
    rests += 1
    await slices.rest()
  }
  clearInterval(timer)
  expect(rests).toBeGreaterThan(3)
  expect(ticks).toBeGreaterThanOrEqual(rests - 1)
})
