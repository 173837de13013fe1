/**
 * The FIB beside BPF_MAP_TYPE_LPM_TRIE with the same routes, asked the same questions in the same order (bpf/bench/fib.bpf.c). What the tables are
 * like is told in scripts/bench/fib/tables.ts; BRANCHLINE_TABLE names a file with a full table of one's own.
 */
import { lengthOf, ROUTE_WORDS } from '../../../agent/kernel/fib/route.ts'
import * as libbpf from '../../../agent/kernel/libbpf.ts'
import { runProgram } from '../../../agent/kernel/prog-run.ts'
import { questionNear, randomRoute, recordsOf } from '../fib/churn.ts'
import { liveChanges } from '../fib/live.ts'
import { NaiveFib } from '../fib/naive.ts'
import { FibProbe, QUESTIONS, type Question } from '../fib/probe.ts'
import { enterpriseTables, fullTable, ipv6Table, randomTable, tableFromFile, unicast } from '../fib/tables.ts'
import { exactly, timesFaster, valueAtMost } from '../figure.ts'
import type { Random } from '../random.ts'
import { difference, per, quantile, type Sample, sample } from '../sample.ts'
import type { Bench, Suite, Verify } from '../suite.ts'

/** Of one run, as in fib.bpf.c. */
const LOOKUPS = 64
const VRF = 1

interface Case {
  readonly name: string
  table(random: Random, quick: boolean): Uint32Array<ArrayBuffer>
  /** Default: addresses of the table's own prefixes, each prefix as often. */
  readonly address?: (random: Random) => number
  readonly bars?: { pipelined: number; dependent: number; build?: number }
}

const full = (random: Random, quick: boolean) =>
  process.env.BRANCHLINE_TABLE
    ? tableFromFile(process.env.BRANCHLINE_TABLE, random, VRF)
    : fullTable(random, quick ? 50_000 : 900_000, VRF)

const CASES: readonly Case[] = [
  { name: 'full table, any address', table: full, address: unicast, bars: { pipelined: 50, dependent: 20, build: 8 } },
  { name: 'full table, addresses of its prefixes', table: full },
  {
    name: '1M random prefixes, any address',
    table: (random, quick) => randomTable(random, quick ? 50_000 : 1_000_000, VRF),
    address: unicast,
    bars: { pipelined: 20, dependent: 6, build: 5 },
  },
  {
    name: '1,000 VRFs of 900',
    table: (random, quick) => enterpriseTables(random, quick ? 50 : 1000, 900),
    bars: { pipelined: 8, dependent: 4.5 },
  },
  {
    name: 'IPv6, 200k',
    table: (random, quick) => ipv6Table(random, quick ? 20_000 : 200_000, VRF),
    bars: { pipelined: 8, dependent: 8 },
  },
]

export const suite: Suite = {
  name: 'fib',
  about: 'longest prefix match against BPF_MAP_TYPE_LPM_TRIE with the same routes',
  minutes: 15,
  verify({ random, check }) {
    using probe = new FibProbe({ fib_routes: 20_001, fib: 2 ** 22 })
    check('wrong answers of 50,000 under churn', churn(probe, random, 10), 0)
  },
  async measure(bench) {
    if (!bench.quick) answers(bench)
    for (const each of CASES) await lookups(bench, each)
    for (const each of CASES) if (each.bars?.build !== undefined) await builds(bench, each, each.bars.build)
    updates(bench)
    await live(bench)
  },
}

/** @returns how many of 5,000 answers a round were wrong */
function churn(probe: FibProbe, random: Random, rounds: number): number {
  const naive = new NaiveFib()
  const routes: ReturnType<typeof randomRoute>[] = []
  let wrong = 0
  for (let round = 0; round < rounds; round++) {
    const batch = Array.from({ length: 1 + random.below(500) }, () => randomRoute(random, 3))
    routes.push(...batch)
    const records = recordsOf(batch)
    naive.apply(records, probe.engine.apply(records))
    const questions = Array.from({ length: 5000 }, () =>
      questionNear(random, routes[random.below(routes.length)] as (typeof routes)[number]),
    )
    for (const [index, question] of questions.entries()) probe.put(index, question)
    probe.ask(questions.length)
    for (const [index, question] of questions.entries()) if (probe.answer(index) !== naive.lookup(question)) wrong++
  }
  return wrong
}

function answers(bench: Bench): void {
  using probe = new FibProbe()
  bench.figure({
    name: 'wrong answers of a million under churn, IPv4 and IPv6, 3 VRFs',
    value: churn(probe, bench.random, 200),
    unit: '1',
    bar: exactly(0),
  })
}

async function lookups(bench: Bench, { name, table, address, bars }: Case): Promise<void> {
  using probe = new FibProbe()
  const records = table(bench.random, bench.quick)
  const refused = probe.engine.apply(records)
  bench.check(`${name}: routes without room`, refused.size, 0)
  fillLpm(probe, records)
  ask(probe, records, bench.random, address)
  compareAnswers(bench, probe, name)
  const contender = (program: string, repeat: number) => () => time(probe, bench.random, program, repeat)
  const times = await bench.compare({
    fib_pipelined: contender('fib_pipelined', 4000),
    fib_dependent: contender('fib_dependent', 4000),
    lpm_pipelined: contender('lpm_pipelined', 500),
    lpm_dependent: contender('lpm_dependent', 500),
    none_pipelined: contender('none_pipelined', 4000),
    none_dependent: contender('none_dependent', 4000),
  })
  for (const way of ['pipelined', 'dependent'] as const) {
    const each = (time: Sample) => per(difference(time, times[`none_${way}`]), LOOKUPS)
    bench.figure({
      name: `${name}: ${way}`,
      value: each(times[`fib_${way}`]),
      unit: 'ns',
      peer: { name: 'LPM_TRIE', value: each(times[`lpm_${way}`]) },
      ...(bars ? { bar: timesFaster(bars[way]) } : { ratioIs: 'peer/value' as const }),
    })
  }
  const { bytes, bytesMax } = probe.engine.usage
  if (address === undefined && bars === undefined) return
  const isFull = table === full
  bench.figure({ name: `${name}: table`, value: bytes / 1e6, unit: 'MB', ...(isFull && { bar: valueAtMost(8) }) })
  if (isFull)
    bench.note(
      `map fib keeps ${(2 * bytesMax) / 2 ** 20} MiB on a gateway, twice a table; fib_routes ${Math.round(probe.memory.routes.byteLength / 2 ** 20)} MiB`,
    )
}

/** Questions of a benchmark, in random order. */
function ask(probe: FibProbe, records: Uint32Array, random: Random, address?: (random: Random) => number): void {
  const count = records.length / ROUTE_WORDS
  for (let index = 0; index < QUESTIONS; index++) {
    const at = random.below(count) * ROUTE_WORDS
    const [vrf, word1, b, a, d, c] = records.subarray(at, at + ROUTE_WORDS) as unknown as number[]
    const length = lengthOf(word1 as number)
    const family = (word1 as number) >>> 24 === 6 ? 6 : 4
    const words = [a, b, c, d].map((word, i) => {
      const kept = Math.min(Math.max(length - i * 32, 0), 32)
      return ((word as number) | (kept === 32 ? 0 : random.u32() >>> kept)) >>> 0
    }) as unknown as [number, number, number, number]
    if (address) words[0] = address(random)
    probe.put(index, {
      vrf: vrf as number,
      family,
      words: family === 4 ? [words[0], 0, 0, 0] : words,
    } satisfies Question)
  }
}

/** Both tables must say the same before it matters how fast. */
function compareAnswers(bench: Verify, probe: FibProbe, name: string): void {
  const count = 100_000
  probe.ask(count)
  const ours = Array.from({ length: count }, (_, index) => probe.answer(index))
  probe.ask(count, 'ask_lpm')
  bench.check(`${name}: answers that differ`, ours.filter((answer, index) => answer !== probe.answer(index)).length, 0)
}

/** Mean ns of one run of LOOKUPS, from a random question on. */
function time(probe: FibProbe, random: Random, program: string, repeat: number): number {
  const cursor = new Uint32Array([random.below(QUESTIONS), 0, 0, 0])
  const result = libbpf.mapUpdate(probe.fd('cursor'), new Uint8Array(4), new Uint8Array(cursor.buffer), 0n)
  libbpf.checkResult(result, 'write', 'map cursor')
  return runProgram(probe.program(program), { packet: new Uint8Array(64), repeat }).durationNs
}

/** Batched updates of 4096, as the agent would make them. @returns ms of the system calls */
function fillLpm(probe: FibProbe, records: Uint32Array): number {
  const count = records.length / ROUTE_WORDS
  const isIpv6 = (records[1] as number) >>> 24 === 6
  const size = isIpv6 ? 24 : 12
  const keys = new Uint8Array(count * size)
  const view = new DataView(keys.buffer)
  const values = new Uint32Array(count)
  for (let record = 0; record < count; record++) {
    const at = record * ROUTE_WORDS
    const to = record * size
    view.setUint32(to, 32 + lengthOf(records[at + 1] as number), true)
    view.setUint32(to + 4, records[at] as number)
    for (const [index, word] of [3, 2, 5, 4].slice(0, isIpv6 ? 4 : 1).entries())
      view.setUint32(to + 8 + index * 4, records[at + word] as number)
    values[record] = (records[at + 1] as number) & 0xffff
  }
  const fd = probe.fd(isIpv6 ? 'lpm6' : 'lpm4')
  const begin = performance.now()
  for (let first = 0; first < count; first += 4096) {
    const part = Math.min(4096, count - first)
    const bytes = new Uint8Array(values.buffer, first * 4, part * 4)
    const { result } = libbpf.mapUpdateBatch(fd, keys.subarray(first * size, (first + part) * size), bytes, part)
    libbpf.checkResult(result, 'fill', 'LPM_TRIE')
  }
  return performance.now() - begin
}

async function builds(bench: Bench, { name, table }: Case, bar: number): Promise<void> {
  const records = table(bench.random, bench.quick)
  const ours = () => {
    using probe = new FibProbe()
    const begin = performance.now()
    probe.engine.apply(records)
    return performance.now() - begin
  }
  const lpm = () => {
    using probe = new FibProbe()
    return fillLpm(probe, records)
  }
  const times = await bench.compare({ ours, lpm }, Math.min(bench.rounds, 5))
  bench.figure({
    name: `${name.replace(/, any address$/, '')}: build`,
    value: times.ours,
    unit: 'ms',
    peer: { name: 'LPM_TRIE, batched', value: times.lpm },
    bar: timesFaster(bar),
  })
}

/** One route at a time: withdrawn, announced by another next hop, and back. */
function updates(bench: Bench): void {
  using probe = new FibProbe()
  const records = full(bench.random, bench.quick)
  probe.engine.apply(records)
  const times: number[] = []
  const change = new Uint32Array(ROUTE_WORDS)
  const apply = (timed: boolean) => {
    const begin = performance.now()
    probe.engine.apply(change)
    if (timed) times.push((performance.now() - begin) * 1000)
  }
  for (let i = 0; i < 30_000; i++) {
    const at = bench.random.below(records.length / ROUTE_WORDS) * ROUTE_WORDS
    change.set(records.subarray(at, at + ROUTE_WORDS))
    const word1 = change[1] as number
    change[1] = (word1 & 0xffff0000) | (i % 2 === 0 ? 0 : 1 + bench.random.below(1000))
    apply(i >= 5000)
    change[1] = word1
    apply(i >= 5000)
    if (probe.engine.retired > 4096) probe.engine.reclaim()
  }
  const sorted = sample(times).values.toSorted((a, b) => a - b)
  bench.figure({ name: 'one route changed: median', value: quantile(sorted, 0.5), unit: 'µs' })
  bench.figure({
    name: 'one route changed: 99 of 100',
    value: quantile(sorted, 0.99),
    unit: 'µs',
    bar: valueAtMost(20),
  })
}

/** A thousand changes a second through the worker thread, and every answer looked at. */
async function live(bench: Bench): Promise<void> {
  using probe = new FibProbe()
  const result = await liveChanges(probe, {
    random: bench.random,
    table: full(bench.random, bench.quick),
    ms: bench.quick ? 2000 : 60_000,
    signal: bench.signal,
  })
  bench.note(`${result.changes} changes beside ${result.lookups} look-ups in ${Math.round(result.ms / 1000)} s`)
  bench.figure({ name: 'wrong answers beside 1,000 changes a second', value: result.wrong, unit: '1', bar: exactly(0) })
}
