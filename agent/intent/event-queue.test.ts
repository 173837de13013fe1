import { setTimeout as delay } from 'node:timers/promises'
import { expect, test } from 'vitest'
import type { NodeEvent } from '../../schema/node-state.ts'
import { EventQueue } from './event-queue.ts'

const event = (time: number): NodeEvent => ({ time, severity: 'info', code: 'x', message: String(time) })

test('waits until it may send, then sends in order and in batches', async () => {
  const batches: number[][] = []
  const queue = new EventQueue(async batch => {
    batches.push(batch.map(entry => entry.time))
  })
  for (let at = 0; at < 250; at++) queue.add(event(at))
  await delay(5)
  expect(batches).toEqual([])
  queue.resume()
  await delay(5)
  expect(batches.map(batch => batch.length)).toEqual([100, 100, 50])
  expect(batches.flat()).toEqual(Array.from({ length: 250 }, (_, at) => at))
})

test('what was under way when the connection went is sent again', async () => {
  const sent: number[] = []
  let broken = true
  const queue = new EventQueue(async batch => {
    if (broken) throw new Error('connection lost')
    sent.push(...batch.map(entry => entry.time))
  })
  queue.resume()
  queue.add(event(1))
  await delay(5)
  queue.pause()
  broken = false
  queue.add(event(2))
  queue.resume()
  await delay(5)
  expect(sent).toEqual([1, 2])
})

test('full, it loses the oldest and counts them', async () => {
  const sent: number[] = []
  const queue = new EventQueue(async batch => {
    sent.push(...batch.map(entry => entry.time))
  })
  for (let at = 0; at < 1010; at++) queue.add(event(at))
  queue.resume()
  await delay(10)
  expect(queue.lost).toBe(10)
  expect(sent).toHaveLength(1000)
  expect(sent[0]).toBe(10)
})
