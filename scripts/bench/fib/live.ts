/** Look-ups while routes change: every answer must be the one that holds, or one of the changes that are under way. */
import { lengthOf, ROUTE_WORDS, readRoute } from '../../../agent/kernel/fib/route.ts'
import { FibThread } from '../../../agent/kernel/fib/thread.ts'
import { fibFds } from '../../../agent/kernel/maps.ts'
import type { FibRoute } from '../../../agent/kernel/port.ts'
import { formatBe32 } from '../../../schema/address.ts'
import type { Random } from '../random.ts'
import { LiveTruth } from './live-truth.ts'
import type { FibProbe, Question } from './probe.ts'

export interface LiveOptions {
  random: Random
  /** IPv4 routes of one VRF. */
  table: Uint32Array<ArrayBuffer>
  ms: number
  signal?: AbortSignal
  /** Default: 2^17 addresses, and 5,000 routes that change. */
  questions?: number
  flipping?: number
}

export interface LiveResult {
  changes: number
  lookups: number
  wrong: number
  ms: number
}

const PERIOD_MS = 10
const PER_PERIOD = 10
/** Every fourth question is for a host whose route comes and goes. */
const HOSTS = 1 / 4
const HOST_NEXTHOP = 30_000
const OTHER_NEXTHOP = 20_000

/**
 * Routes of the table change between their next hop and that plus OTHER_NEXTHOP, and routes of single hosts come and go, where the table may have one
 * of the same host: then that one is gone for good.
 * @param probe empty
 */
export async function liveChanges(probe: FibProbe, options: LiveOptions): Promise<LiveResult> {
  const { random, table, ms, signal, questions: count = 2 ** 17, flipping: flips = 5000 } = options
  const routes = table.length / ROUTE_WORDS
  const vrf = table[0] as number
  const flipping = Array.from({ length: flips }, () => random.below(routes))
  const questions = Array.from({ length: count }, (): Question => {
    const route = random.below(2) === 0 ? (flipping[random.below(flips)] as number) : random.below(routes)
    return inside(table, route, random)
  })
  for (const [index, question] of questions.entries()) probe.put(index, question)
  const hosts = questions.slice(0, count * HOSTS).map(({ words }) => words[0])
  const truth = new LiveTruth(table, questions)

  const change = (): FibRoute => {
    if (random.below(2) === 0) {
      const address = formatBe32(hosts[random.below(hosts.length)] as number)
      return { vrf, address, prefixLength: 32, nexthop: random.below(2) * HOST_NEXTHOP }
    }
    const [key, nexthop] = readRoute(table, flipping[random.below(flips)] as number)
    return { ...key, nexthop: nexthop + random.below(2) * OTHER_NEXTHOP }
  }

  const thread = new FibThread(fibFds(probe.object.maps))
  const result: LiveResult = { changes: 0, lookups: 0, wrong: 0, ms }
  const look = () => {
    probe.ask(count)
    for (let index = 0; index < count; index++) if (!truth.allows(index, probe.answer(index))) result.wrong++
    result.lookups += count
  }
  try {
    await fill(thread, table)
    const begin = performance.now()
    const end = begin + ms
    const writer = (async () => {
      for (let next = begin; next < end && !signal?.aborted; next += PERIOD_MS) {
        await new Promise(resolve => setTimeout(resolve, Math.max(0, next - performance.now())))
        const batch = Array.from({ length: PER_PERIOD }, change)
        truth.begin(batch)
        refuseNone(await thread.apply(batch))
        truth.end()
        result.changes += PER_PERIOD
      }
    })()
    while (performance.now() < end) {
      signal?.throwIfAborted()
      look()
      await new Promise(resolve => setImmediate(resolve))
    }
    await writer
    look()
    result.ms = performance.now() - begin
    return result
  } finally {
    thread.close()
  }
}

/** Any address of the route. */
function inside(table: Uint32Array, route: number, random: Random): Question {
  const at = route * ROUTE_WORDS
  const length = lengthOf(table[at + 1] as number)
  const rest = length === 32 ? 0 : random.u32() >>> length
  return { vrf: table[at] as number, family: 4, words: [((table[at + 3] as number) | rest) >>> 0, 0, 0, 0] }
}

async function fill(thread: FibThread, table: Uint32Array): Promise<void> {
  const count = table.length / ROUTE_WORDS
  for (let first = 0; first < count; first += 50_000) {
    const routes = Array.from({ length: Math.min(50_000, count - first) }, (_, index): FibRoute => {
      const [key, nexthop] = readRoute(table, first + index)
      return { ...key, nexthop }
    })
    refuseNone(await thread.apply(routes))
  }
}

function refuseNone(refused: ReadonlyMap<number, Error>): void {
  for (const error of refused.values()) throw error
}
