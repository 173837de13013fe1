import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { LoopDelay } from './delay.ts'
import { WorkQueue } from './queue.ts'
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

test('a queue does its work in order, a slice in each turn of the loop', async () => {
  const queue = new WorkQueue()
  const done: number[] = []
  let turns = 0
  const beside = () => {
    turns += 1
    turn = setImmediate(beside)
  }
  let turn = setImmediate(beside)
  for (let index = 0; index < 40; index++)
    queue.add(() => {
      block(1)
      done.push(index)
    })
  expect(queue.empty).toBe(false)
  while (!queue.empty) await sleep(1)
  clearImmediate(turn)
  expect(done).toEqual(Array.from({ length: 40 }, (_, index) => index))
  expect(turns).toBeGreaterThan(4)
})

test('a queue that is cleared does nothing more', async () => {
  const queue = new WorkQueue()
  let done = 0
  queue.add(() => done++)
  queue.clear()
  await sleep(5)
  expect([done, queue.empty]).toEqual([0, true])
})
