/** Look-ups while routes change: every answer must be one that was right at some moment of the change. */
import { ROUTE_WORDS } from '../../../agent/kernel/fib/route.ts'
import { FibThread } from '../../../agent/kernel/fib/thread.ts'
import { fibFds } from '../../../agent/kernel/maps.ts'
import type { FibRoute } from '../../../agent/kernel/port.ts'
import { formatBe32 } from '../../../schema/address.ts'
import type { Random } from '../random.ts'
import { NaiveFib } from './naive.ts'
import type { FibProbe, Question } from './probe.ts'

export interface LiveOptions {
  random: Random
  /** IPv4 routes of one VRF. */
  table: Uint32Array<ArrayBuffer>
  ms: number
  signal?: AbortSignal
}

export interface LiveResult {
  changes: number
  lookups: number
  wrong: number
  ms: number
}

const PERIOD_MS = 10
const PER_PERIOD = 10
const QUESTIONS = 2 ** 17
/** Every fourth question is for a host whose route comes and goes. */
const HOSTS = QUESTIONS / 4
const HOST_NEXTHOP = 30_000
const OTHER_NEXTHOP = 20_000

/**
 * @param probe empty
 * Routes of the table change between their next hop and that plus OTHER_NEXTHOP; routes of single hosts come and go. No address is matched by two
 * routes that change, apart from a host's own.
 */
export async function liveChanges(probe: FibProbe, { random, table, ms, signal }: LiveOptions): Promise<LiveResult> {
  const count = table.length / ROUTE_WORDS
  const vrf = table[0] as number
  const flipping = Array.from({ length: 5000 }, () => random.below(count))
  const other = table.slice()
  for (const index of new Set(flipping))
    other[index * ROUTE_WORDS + 1] = (table[index * ROUTE_WORDS + 1] as number) + OTHER_NEXTHOP
  const [before, after] = [new NaiveFib(), new NaiveFib()]
  before.apply(table)
  after.apply(other)

  const questions = Array.from({ length: QUESTIONS }, (): Question => {
    const route = random.below(2) === 0 ? (flipping[random.below(flipping.length)] as number) : random.below(count)
    const at = route * ROUTE_WORDS
    const length = ((table[at + 1] as number) >>> 16) & 0xff
    return {
      vrf,
      family: 4,
      words: [((table[at + 3] as number) | (length === 32 ? 0 : random.u32() >>> length)) >>> 0, 0, 0, 0],
    }
  })
  const hosts = new Set(questions.slice(0, HOSTS).map(({ words }) => words[0]))
  // Three answers may be right; those that are the same twice do no harm.
  const allowed = new Uint16Array(QUESTIONS * 3)
  for (const [index, question] of questions.entries()) {
    probe.put(index, question)
    allowed[index * 3] = before.lookup(question)
    allowed[index * 3 + 1] = after.lookup(question)
    allowed[index * 3 + 2] = hosts.has(question.words[0]) ? HOST_NEXTHOP : before.lookup(question)
  }

  const thread = new FibThread(fibFds(probe.object.maps))
  const result: LiveResult = { changes: 0, lookups: 0, wrong: 0, ms }
  try {
    await applyRecords(thread, table)
    const hostList = [...hosts]
    const change = (): FibRoute => {
      if (random.below(2) === 0) {
        const address = formatBe32(hostList[random.below(hostList.length)] as number)
        return { vrf, address, prefixLength: 32, nexthop: random.below(2) * HOST_NEXTHOP }
      }
      const at = (flipping[random.below(flipping.length)] as number) * ROUTE_WORDS
      const word1 = (random.below(2) === 0 ? table : other)[at + 1] as number
      return {
        vrf,
        address: formatBe32(table[at + 3] as number),
        prefixLength: (word1 >>> 16) & 0xff,
        nexthop: word1 & 0xffff,
      }
    }
    const begin = performance.now()
    const end = begin + ms
    const writer = (async () => {
      for (let next = begin; next < end && !signal?.aborted; next += PERIOD_MS) {
        await new Promise(resolve => setTimeout(resolve, Math.max(0, next - performance.now())))
        await thread.apply(Array.from({ length: PER_PERIOD }, change))
        result.changes += PER_PERIOD
      }
    })()
    while (performance.now() < end) {
      signal?.throwIfAborted()
      probe.ask(QUESTIONS)
      for (let index = 0; index < QUESTIONS; index++) {
        const answer = probe.answer(index)
        const at = index * 3
        if (answer !== allowed[at] && answer !== allowed[at + 1] && answer !== allowed[at + 2]) result.wrong++
      }
      result.lookups += QUESTIONS
      await new Promise(resolve => setImmediate(resolve))
    }
    await writer
    result.ms = performance.now() - begin
    return result
  } finally {
    thread.close()
  }
}

async function applyRecords(thread: FibThread, table: Uint32Array): Promise<void> {
  for (let first = 0; first < table.length; first += 50_000 * ROUTE_WORDS) {
    const part = table.subarray(first, first + 50_000 * ROUTE_WORDS)
    const routes = Array.from({ length: part.length / ROUTE_WORDS }, (_, index): FibRoute => {
      const at = index * ROUTE_WORDS
      const word1 = part[at + 1] as number
      const address = formatBe32(part[at + 3] as number)
      return { vrf: part[at] as number, address, prefixLength: (word1 >>> 16) & 0xff, nexthop: word1 & 0xffff }
    })
    const refused = await thread.apply(routes)
    if (refused.size > 0) throw [...refused.values()][0]
  }
}
