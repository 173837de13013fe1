/**
 * Handshakes per second of one CPU's time: the gateway's side (agent/mp/responder.ts) for edges that it sees for the first time and for renewals, with
 * and without ML-KEM, over the primitives alone; both sides in one thread; and what worker threads leave of it in the event loop.
 */
import { valueAtLeast, valueAtMost } from '../figure.ts'
import { type Sample, sample } from '../sample.ts'
import type { Bench, Suite, Verify } from '../suite.ts'
import { Floor } from './handshake-floor.ts'
import { InlineGateway, PoolGateway, sessionOf } from './handshake-gateways.ts'
import { Nodes } from './handshake-nodes.ts'

/** Handshakes of one round of one contender. */
const HANDSHAKES = 200
const CLASSICAL_PER_SECOND = 1000
const HYBRID_PER_SECOND = 500
/** Offered to the gateway while its event loop is looked at. */
const OFFERED_PER_SECOND = 1000
const LOOP_DELAY_MS = 20

type Kind = 'off' | 'preferred'
const NAMES: Readonly<Record<Kind, string>> = { off: 'X25519', preferred: 'with ML-KEM' }

export const suite: Suite = {
  name: 'handshake',
  about:
    'MP_INIT at the gateway over the cryptographic primitives alone, in one CPU second; the event loop beside worker threads',
  minutes: 5,
  verify(bench) {
    for (const kind of ['off', 'preferred'] as const) sameKeys(bench, kind)
  },
  async measure(bench) {
    await throughput(bench)
    await eventLoop(bench)
  },
}

/** Both ends have the same keys, and no forgery gets through: one flipped bit in each initiation. */
function sameKeys({ check, random }: Verify, kind: Kind): void {
  const nodes = new Nodes(100)
  const gateway = new InlineGateway(nodes)
  let equal = 0
  for (const initiation of nodes.initiations(kind, 'new')) {
    const there = gateway.answer(initiation)
    const here = sessionOf(initiation, there)
    const [a, b] = [here.secrets.esp(1, 'rx'), there.secrets.esp(1, 'rx')]
    if (Buffer.from(a).equals(b) && Buffer.from(here.secrets.recordTx).equals(there.secrets.recordTx)) equal++
  }
  check(`${NAMES[kind]}: same keys at both ends`, equal, 100)
  let refused = 0
  for (const { packets, source } of nodes.initiations(kind, 'new')) {
    const bad = packets.map(packet => Buffer.from(packet))
    const last = bad.at(-1)
    // Behind the header and before mac2, which counts only under load.
    const at = 8 + random.below((last?.length ?? 0) - 8 - 16)
    if (last) last[at] = (last[at] ?? 0) ^ (1 << random.below(8))
    if (gateway.take(bad, source)?.kind !== 'established') refused++
  }
  check(`${NAMES[kind]}: forgeries without a session`, refused, 100)
}

async function throughput(bench: Bench): Promise<void> {
  const handshakes = bench.quick ? HANDSHAKES / 4 : HANDSHAKES
  const nodes = new Nodes(handshakes)
  const gateway = new InlineGateway(nodes)
  using pool = new PoolGateway(nodes, 1)
  const floor = new Floor()
  const responder = (kind: Kind, grants: 'new' | 'known') => () => {
    const initiations = nodes.initiations(kind, grants)
    return perCpuSecond(handshakes, () => {
      for (const initiation of initiations) gateway.answer(initiation)
    })
  }
  const worker = (kind: Kind) => async () => {
    const initiations = nodes.initiations(kind, 'new')
    const before = process.cpuUsage()
    await pool.answerAll(initiations)
    return perSecond(handshakes, before)
  }
  const both = (kind: Kind) => () =>
    perCpuSecond(handshakes, () => {
      for (const initiation of nodes.initiations(kind, 'known')) sessionOf(initiation, gateway.answer(initiation))
    })
  const primitives = (hybrid: boolean, known: boolean) => () =>
    perCpuSecond(handshakes, () => {
      for (let i = 0; i < handshakes; i++) floor.handshake({ hybrid, known })
    })
  const rates = await bench.compare({
    first: responder('off', 'new'),
    firstFloor: primitives(false, false),
    firstHybrid: responder('preferred', 'new'),
    firstHybridFloor: primitives(true, false),
    renewal: responder('off', 'known'),
    renewalFloor: primitives(false, true),
    renewalHybrid: responder('preferred', 'known'),
    renewalHybridFloor: primitives(true, true),
    worker: worker('off'),
    workerHybrid: worker('preferred'),
    both: both('off'),
    bothHybrid: both('preferred'),
  })
  const alone = (value: Sample) => ({ name: 'primitives alone', value })
  const [classical, hybrid] = [valueAtLeast(CLASSICAL_PER_SECOND), valueAtLeast(HYBRID_PER_SECOND)]
  const figures = [
    { name: 'first, X25519', value: rates.first, peer: alone(rates.firstFloor), bar: classical },
    { name: 'first, with ML-KEM', value: rates.firstHybrid, peer: alone(rates.firstHybridFloor), bar: hybrid },
    { name: 'renewal, X25519', value: rates.renewal, peer: alone(rates.renewalFloor), bar: classical },
    { name: 'renewal, with ML-KEM', value: rates.renewalHybrid, peer: alone(rates.renewalHybridFloor), bar: hybrid },
    { name: 'first, X25519, both threads with a worker', value: rates.worker },
    { name: 'first, with ML-KEM, both threads with a worker', value: rates.workerHybrid },
    { name: 'both ends in one thread, X25519', value: rates.both },
    { name: 'both ends in one thread, with ML-KEM', value: rates.bothHybrid },
  ]
  for (const figure of figures) bench.figure({ ...figure, unit: '/s of CPU' })
}

/** With ML-KEM, first handshakes: the dearest there are. */
async function eventLoop(bench: Bench): Promise<void> {
  const nodes = new Nodes(bench.quick ? OFFERED_PER_SECOND / 4 : OFFERED_PER_SECOND)
  using inline = new PoolGateway(nodes, 0)
  using pool = new PoolGateway(nodes, 1)
  const mainThread: Record<'inline' | 'pool', number[]> = { inline: [], pool: [] }
  const offered = (name: 'inline' | 'pool', gateway: PoolGateway) => async (round: number) => {
    const { delayMs, mainUs } = await gateway.offer(nodes.initiations('preferred', 'new'), OFFERED_PER_SECOND)
    if (round >= 0) mainThread[name].push(mainUs)
    return delayMs
  }
  const delays = await bench.compare(
    { inline: offered('inline', inline), pool: offered('pool', pool) },
    Math.min(bench.rounds, 5),
  )
  const name = `event loop, p99 at ${OFFERED_PER_SECOND} handshakes/s`
  const without = (value: Sample) => ({ name: 'no worker', value })
  bench.figure({ name, value: delays.pool, unit: 'ms', peer: without(delays.inline), bar: valueAtMost(LOOP_DELAY_MS) })
  bench.figure({
    name: 'main thread, per handshake',
    value: sample(mainThread.pool),
    unit: 'µs',
    peer: without(sample(mainThread.inline)),
  })
  bench.note(`  ${pool.cookies} cookies asked for, ${pool.dropped} initiations dropped`)
}

function perCpuSecond(count: number, work: () => void): number {
  const before = process.cpuUsage()
  work()
  return perSecond(count, before)
}

/** All threads, and what the collector did beside them. */
function perSecond(count: number, before: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(before)
  return count / ((user + system) / 1e6)
}
