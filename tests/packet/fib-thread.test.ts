/**
 * The FIB's worker thread over real maps, and what packets see while it works, dies, and is followed by another:
 *
 *   FibThread -- worker.ts: FibEngine -- maps -- program `ask` (bpf/bench/fib.bpf.c), which this thread runs at the same time
 */
import { readdirSync, readFileSync } from 'node:fs'
import { afterEach, expect, it, vi } from 'vitest'
import { FibThread } from '../../agent/kernel/fib/thread.ts'
import { fibFds } from '../../agent/kernel/maps.ts'
import type { FibRoute } from '../../agent/kernel/port.ts'
import { formatBe32 } from '../../schema/address.ts'
import { liveChanges } from '../../scripts/bench/fib/live.ts'
import { FibProbe, type Question } from '../../scripts/bench/fib/probe.ts'
import { randomTable } from '../../scripts/bench/fib/tables.ts'
import { random } from '../../scripts/bench/random.ts'

const seed = Number(process.env.FUZZ_SEED ?? Math.floor(Math.random() * 2 ** 31))
console.log(`seed ${seed} (repeat with FUZZ_SEED=${seed})`)
const rng = random(seed)

const closers: (() => void)[] = []
afterEach(() => {
  for (const close of closers.splice(0).reverse()) close()
})

function setUp() {
  const probe = new FibProbe({ fib_routes: 200_001, fib: 2 ** 25 })
  closers.push(() => probe[Symbol.dispose]())
  return { probe, thread: open(probe) }
}

function open(probe: FibProbe) {
  const faults: Error[] = []
  const thread = new FibThread(fibFds(probe.object.maps))
  thread.onFault(error => faults.push(error))
  closers.push(() => thread.close())
  return Object.assign(thread, { faults })
}

/** 10.0.0.0/24 and on. */
const subnet = (index: number, nexthop: number): FibRoute => ({
  vrf: 1,
  address: formatBe32(0x0a000000 + index * 256),
  prefixLength: 24,
  nexthop,
})
const hosts = (count: number): Question[] =>
  Array.from({ length: count }, (_, index) => ({ vrf: 1, family: 4, words: [0x0a000001 + index * 256, 0, 0, 0] }))

function answers(probe: FibProbe, count: number): number[] {
  probe.ask(count)
  return Array.from({ length: count }, (_, index) => probe.answer(index))
}

const turn = () => new Promise(resolve => setImmediate(resolve))

it('shows packets every change when it says so', async () => {
  const { probe, thread } = setUp()
  for (const [index, question] of hosts(100).entries()) probe.put(index, question)
  for (let nexthop = 1; nexthop < 50; nexthop++) {
    await thread.apply(Array.from({ length: 100 }, (_, index) => subnet(index, nexthop)))
    expect(new Set(answers(probe, 100))).toEqual(new Set([nexthop]))
  }
  await thread.apply(Array.from({ length: 100 }, (_, index) => subnet(index, 0)))
  expect(new Set(answers(probe, 100))).toEqual(new Set([0]))
  expect(thread.faults).toEqual([])
})

it('that dies in the middle of a large change leaves the old answers, and its successor makes the change', async () => {
  const { probe, thread } = setUp()
  const count = 100_000
  for (const [index, question] of hosts(1000).entries()) probe.put(index, question)
  await thread.apply(Array.from({ length: 1000 }, (_, index) => subnet(index, 1)))
  const change = thread.apply(Array.from({ length: count }, (_, index) => subnet(index, 2)))
  await new Promise(resolve => setTimeout(resolve, 30))
  await thread.kill()
  expect(answers(probe, 1000).every(answer => answer === 1 || answer === 2)).toBe(true)
  const small = thread.apply([subnet(0, 3)])
  let done = false
  change.then(
    () => {
      done = true
    },
    () => {},
  )
  while (!done) {
    expect(answers(probe, 1000).filter(answer => answer !== 1 && answer !== 2 && answer !== 3)).toEqual([])
    await turn()
  }
  expect(await change).toEqual(new Map())
  await small
  expect(answers(probe, 1000)).toEqual([3, ...Array.from({ length: 999 }, () => 2)])
  expect(thread.faults).toMatchObject([{ code: 'EIO' }])
  expect((await thread.usage()).routes).toBe(count)
}, 60_000)

it('gives a change up over which workers die again and again', async () => {
  const { thread } = setUp()
  await thread.apply([subnet(0, 1)])
  const outcome = thread
    .apply(Array.from({ length: 150_000 }, (_, index) => subnet(index, 2)))
    .catch((error: unknown) => error)
  let over = false
  outcome.then(
    () => {
      over = true
    },
    () => {},
  )
  while (!over) {
    await thread.kill()
    await new Promise(resolve => setTimeout(resolve, 5))
  }
  expect(await outcome).toMatchObject({ code: 'EIO' })
  expect(thread.faults.length).toBeGreaterThanOrEqual(3)
  expect(await thread.apply([subnet(1, 7)])).toEqual(new Map())
}, 60_000)

it('of a restarted agent rebuilds the table; packets get the old answers until then, and the same after', async () => {
  const { probe, thread } = setUp()
  const count = 50_000
  for (const [index, question] of hosts(1000).entries()) probe.put(index, question)
  await thread.apply(Array.from({ length: count }, (_, index) => subnet(index, 1 + (index % 7))))
  const before = answers(probe, 1000)
  thread.close()
  for (let restart = 0; restart < 3; restart++) {
    const next = open(probe)
    const entries = next.entries()
    let done = false
    entries.then(
      () => {
        done = true
      },
      () => {},
    )
    while (!done) {
      expect(answers(probe, 1000)).toEqual(before)
      await turn()
    }
    expect((await entries).length).toBe(count)
    expect(answers(probe, 1000)).toEqual(before)
    next.close()
  }
}, 60_000)

it('answers rightly while routes change a thousand times a second', async () => {
  const { probe } = setUp()
  // As many hosts as other lengths: what comes and goes covers, is covered, and takes the place of what the table has.
  const table = randomTable(rng, 20_000, 1)
  const result = await liveChanges(probe, { random: rng, table, ms: 2000, questions: 2 ** 14, flipping: 1000 })
  console.log(`${result.changes} changes, ${result.lookups} look-ups`)
  expect(result.wrong).toBe(0)
  expect(result.changes).toBeGreaterThan(200)
  expect(result.lookups).toBeGreaterThan(2 ** 15)
}, 30_000)

it('may be closed before its worker has begun, and keeps nothing', async () => {
  const { probe, thread } = setUp()
  await thread.usage()
  const descriptors = () => readdirSync('/proc/self/fd').length
  const mappings = () => readFileSync('/proc/self/maps', 'utf8').split('bpf-map').length
  const [before, mapped] = [descriptors(), mappings()]
  for (let round = 0; round < 40; round++) {
    const short = new FibThread(fibFds(probe.object.maps))
    const asked = short.usage().catch((error: unknown) => error)
    await new Promise(resolve => setTimeout(resolve, 20 + round))
    short.close()
    await asked
  }
  await vi.waitFor(() => expect([descriptors(), mappings()]).toEqual([before, mapped]), 20_000)
  expect(await thread.apply([subnet(0, 1)])).toEqual(new Map())
}, 60_000)
