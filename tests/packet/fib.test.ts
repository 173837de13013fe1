/**
 * The FIB's look-up in the kernel, after whatever changes, against a longest prefix match that has nothing in common with it.
 *
 *   FibEngine -- map fib -- program `ask` of bpf/bench/fib.bpf.c, which calls fib_find4 and fib_find6 of bpf/path/fib.h
 */
import { afterEach, describe, expect, it } from 'vitest'
import { type ChurnRoute, questionNear, randomRoute, recordsOf } from '../../scripts/bench/fib/churn.ts'
import { NaiveFib } from '../../scripts/bench/fib/naive.ts'
import { FibProbe, type Question } from '../../scripts/bench/fib/probe.ts'
import { fullTable, ipv6Table } from '../../scripts/bench/fib/tables.ts'
import { type Random, random } from '../../scripts/bench/random.ts'

const seed = Number(process.env.FUZZ_SEED ?? Math.floor(Math.random() * 2 ** 31))
console.log(`seed ${seed} (repeat with FUZZ_SEED=${seed})`)

let probe: FibProbe | undefined
afterEach(() => {
  probe?.[Symbol.dispose]()
  probe = undefined
})

const open = (sizes: Record<string, number>) => {
  probe = new FibProbe(sizes)
  return probe
}

/** @returns questions that the kernel answered otherwise, at most ten */
function differences(fib: FibProbe, naive: NaiveFib, questions: readonly Question[]) {
  for (const [index, question] of questions.entries()) fib.put(index, question)
  fib.ask(questions.length)
  return questions
    .map((question, index) => ({ ...question, is: fib.answer(index), expected: naive.lookup(question) }))
    .filter(({ is, expected }) => is !== expected)
    .slice(0, 10)
}

const near = (rng: Random, routes: readonly ChurnRoute[], count: number) =>
  Array.from({ length: count }, () => questionNear(rng, routes[rng.below(routes.length)] as ChurnRoute))

const change = (text: string, nexthop: number, vrf = 1): ChurnRoute => {
  const [address = '', length] = text.split('/')
  const value = address.split('.').reduce((sum, byte) => sum * 256 + Number(byte), 0)
  return { vrf, family: 4, words: [value, 0, 0, 0], length: Number(length), nexthop }
}

describe('answers', () => {
  // The benchmark suite `fib` asks a million times.
  it('are those of the longest prefix while routes come and go', async () => {
    const rng = random(seed)
    const fib = open({})
    const naive = new NaiveFib()
    const routes: ChurnRoute[] = []
    for (let round = 0; round < 40; round++) {
      const size = 1 + rng.below(round % 20 === 0 ? 10_000 : 300)
      const batch = Array.from({ length: size }, () => randomRoute(rng, 3))
      routes.push(...batch)
      const records = recordsOf(batch)
      expect(fib.engine.apply(records).size).toBe(0)
      naive.apply(records)
      expect(differences(fib, naive, near(rng, routes, 5000))).toEqual([])
      // A restarted agent; and a grace period, after which memory is used again.
      if (round % 13 === 12) fib.reopen()
      if (round % 3 === 0) await fib.engine.collect(async () => {})
    }
    expect(fib.engine.usage.routes).toBe(naive.size)
  }, 120_000)

  it('are right in large tables, where directories are, and when they shrink again', () => {
    const rng = random(seed + 1)
    const fib = open({})
    const naive = new NaiveFib()
    const tables = [fullTable(rng, 60_000, 1), ipv6Table(rng, 60_000, 1), fullTable(rng, 2000, 2)]
    for (const table of tables) {
      expect(fib.engine.apply(table).size).toBe(0)
      naive.apply(table)
    }
    const routes = tables.flatMap(table => routesOf(table))
    expect(differences(fib, naive, near(rng, routes, 30_000))).toEqual([])
    const gone = recordsOf(
      rng
        .shuffle([...routes])
        .slice(0, routes.length - 500)
        .map(route => ({ ...route, nexthop: 0 })),
    )
    fib.engine.apply(gone)
    naive.apply(gone)
    expect(differences(fib, naive, near(rng, routes, 30_000))).toEqual([])
    expect(fib.engine.usage.routes).toBe(500)
  }, 60_000)
})

describe('default routes and duplicates', () => {
  it('flap without a trace', async () => {
    const fib = open({ fib: 2 ** 18, fib_routes: 1000 })
    const naive = new NaiveFib()
    const batch = recordsOf([change('10.0.0.0/8', 7), change('10.1.0.0/16', 8), change('10.1.0.0/16', 9)])
    fib.engine.apply(batch)
    naive.apply(batch)
    const { bytes } = fib.engine.usage
    for (let round = 0; round < 200; round++) {
      for (const nexthop of [5, 6, 0]) {
        const flap = recordsOf([
          change('0.0.0.0/0', nexthop),
          change('0.0.0.0/0', nexthop),
          change('0.0.0.0/1', 4 * (round % 2)),
        ])
        fib.engine.apply(flap)
        naive.apply(flap)
        const questions = ['10.1.2.3', '10.2.0.0', '11.0.0.0', '200.0.0.1'].map(text => change(`${text}/32`, 0))
        expect(differences(fib, naive, questions)).toEqual([])
      }
    }
    fib.engine.apply(recordsOf([change('0.0.0.0/1', 0)]))
    await fib.engine.collect(async () => {})
    expect(fib.engine.usage).toMatchObject({ routes: 2, bytes })
  })

  it('are per VRF and family, and a VRF beyond the maps has no route', () => {
    // 256 KiB have 128 VRFs.
    const fib = open({ fib: 2 ** 18, fib_routes: 1000 })
    const naive = new NaiveFib()
    const batch = recordsOf([
      change('0.0.0.0/0', 5, 127),
      { vrf: 127, family: 6, words: [0, 0, 0, 0], length: 0, nexthop: 6 },
      change('0.0.0.0/0', 5, 128),
    ])
    const refused = fib.engine.apply(batch)
    expect([...refused]).toEqual([[2, 'ERANGE']])
    naive.apply(batch, refused)
    const questions = [126, 127, 128, 129, 2 ** 32 - 1].flatMap(vrf =>
      ([4, 6] as const).map((family): Question => ({ vrf, family, words: [0x0a000001, 0, 0, 0] })),
    )
    expect(differences(fib, naive, questions)).toEqual([])
  })
})

describe('a table without room', () => {
  it('stays as it is for what does not fit, takes the rest, and takes more when there is room again', () => {
    const rng = random(seed + 2)
    // 256 KiB in each half: fewer than a directory needs.
    const fib = open({ fib: 2 ** 19, fib_routes: 100_000 })
    const naive = new NaiveFib()
    const table = fullTable(rng, 40_000, 1)
    const refused = fib.engine.apply(table)
    expect(refused.size).toBeGreaterThan(0)
    expect(new Set(refused.values())).toEqual(new Set(['ENOSPC']))
    naive.apply(table, refused)
    expect(fib.engine.usage.routes).toBe(naive.size)
    const routes = routesOf(table)
    expect(differences(fib, naive, near(rng, routes, 20_000))).toEqual([])
    const gone = recordsOf(routes.slice(0, 30_000).map(route => ({ ...route, nexthop: 0 })))
    fib.engine.apply(gone)
    naive.apply(gone)
    const more = recordsOf(routes.slice(0, 2000))
    const refusedAgain = fib.engine.apply(more)
    naive.apply(more, refusedAgain)
    expect(refusedAgain.size).toBe(0)
    expect(differences(fib, naive, near(rng, routes, 20_000))).toEqual([])
    // Nothing has leaked: without routes no memory is used, once nobody reads it any more.
    fib.engine.apply(recordsOf(routes.map(route => ({ ...route, nexthop: 0 }))))
    fib.reopen()
    expect(fib.engine.usage).toMatchObject({ routes: 0, bytes: 0 })
  }, 60_000)

  it('refuses the route after the last record', () => {
    const fib = open({ fib_routes: 101, fib: 2 ** 18 })
    const routes = Array.from({ length: 103 }, (_, index) => change(`10.0.${index}.0/24`, 1))
    expect([...fib.engine.apply(recordsOf(routes)).keys()]).toEqual([100, 101, 102])
    expect(fib.engine.usage.routes).toBe(100)
    expect(fib.engine.apply(recordsOf([change('10.0.5.0/24', 0), change('10.0.102.0/24', 2)])).size).toBe(1)
    expect(fib.engine.apply(recordsOf([change('10.0.102.0/24', 2)])).size).toBe(0)
  })
})

function routesOf(table: Uint32Array): ChurnRoute[] {
  return Array.from({ length: table.length / 6 }, (_, index) => {
    const [vrf, word1, b, a, d, c] = table.subarray(index * 6, index * 6 + 6) as unknown as number[]
    return {
      vrf: vrf as number,
      family: (word1 as number) >>> 24 === 6 ? 6 : 4,
      words: [a, b, c, d] as ChurnRoute['words'],
      length: ((word1 as number) >>> 16) & 0xff,
      nexthop: (word1 as number) & 0xffff,
    }
  })
}
