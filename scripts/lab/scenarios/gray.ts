/**
 *   a1 ==packets each way==> branch-a --- inet, 5 ms ---- gw1 --- branch-b --- b1
 *                                    \-- lte, 40 ms --/
 *
 * Twelve faults of inet, one after the other. Traffic is of a class that prefers the shorter way, so it must leave inet, stay away while the
 * fault lasts, and come back afterwards. What goes by which link is counted within the links.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { type Count, departure, WINDOW_MS } from '../departure.ts'
import { LabError } from '../error.ts'
import { Flow } from '../flow.ts'
import { type GrayFault, grayFaults } from '../gray-faults.ts'
import { DIRECTIONS, type Direction } from '../impairment/profile.ts'
import { LinkUse } from '../link-use.ts'
import type { Scenario, Stage } from '../scenario.ts'
import { longestSilenceMs } from '../silence.ts'
import { pathsGood, switchOn } from '../steps.ts'
import { claim } from '../story.ts'
import { hostAddress } from '../traffic.ts'
import { until } from '../until.ts'

/** Each way. The emulated guest carries less. */
const PPS = { native: 400, guest: 200 }
/** AF21: transactional, so by round trip. */
const DSCP = 18
const DELAY_MS = { inet: 5, lte: 40 }
/** Some faults spare small packets. */
const SIZE = 1200
const LOOK_MS = 50
/** Of counting before the fault. */
const LEAD_MS = 2 * WINDOW_MS
const ATTEMPTS = 3
/** The longest time in which one return is allowed. */
const WATCH_MS = 10_000
/** A link has traffic when it carries this share of the flow: probes, their answers and searches for an MTU are fewer. */
const TRAFFIC = 0.6
/** Seconds of traffic on a good link before it fails: what is usual there is then known. */
const BEFORE_S = 3
const DEADLINE_MS = 60_000

export const gray: Scenario = {
  name: 'gray',
  about: 'twelve faults of the link in use (--count for fewer): traffic leaves, stays away, and comes back',
  topology: 'two-links',
  enterprises: ['acme'],
  // One fault after the other, and the twelfth is to find a link that is trusted like the first.
  timers: { longestHoldMs: 5000 },
  async run(stage) {
    const { story, lab, count } = stage
    await switchOn(stage, 'acme')
    const use = await story.step('inet gets a delay of 5 ms, lte one of 40', () =>
      LinkUse.open(lab, 'branch-a', { inet: { delayMs: DELAY_MS.inet }, lte: { delayMs: DELAY_MS.lte } }),
    )
    const flows = [await start(stage, 'a1', 'b1'), await start(stage, 'b1', 'a1')] as const
    const faults = grayFaults(DELAY_MS.inet).filter(({ esp }) => !esp || lab.security === 'esp')
    for (const fault of faults.slice(0, count)) await story.step(fault.name, () => suffer(stage, use, flows, fault))
    for (const flow of flows) await flow.finish()
  },
}

/** The same with IPv6 outside. */
export const grayIpv6: Scenario = {
  ...gray,
  name: 'gray-ipv6',
  about: 'the faults of gray (--count for fewer) where the WAN carries IPv6 alone',
  families: [6],
}

const rate = ({ lab }: Stage) => PPS[lab.machine.kind]

function start(stage: Stage, from: string, to: string): Promise<Flow> {
  const { lab } = stage
  const options = { from, to, address: hostAddress(lab, to, 4), port: 7900, tag: `${from}-${to}` }
  return Flow.start(lab, { ...options, pps: rate(stage), size: SIZE, dscp: DSCP, log: true })
}

async function suffer(stage: Stage, use: LinkUse, flows: readonly Flow[], fault: GrayFault): Promise<void> {
  const { story } = stage
  await settled(stage, use)
  const from = flows.map(flow => flow.arrivals().length)
  const counts = await watch(stage, use, fault)
  for (const direction of fault.directions) {
    const { offMs, returns } = departure(counts[direction], TRAFFIC * rate(stage))
    claim(offMs !== undefined, `traffic ${direction} stays on the link`)
    const name = figureName(fault, direction)
    story.figure(`${name}-left`, Math.round(offMs), 'ms', fault.limitMs)
    story.figure(`${name}-returns`, returns, 'times', 1)
  }
  const healed = performance.now()
  await usesInet(stage, use)
  story.note(`back after ${((performance.now() - healed) / 1000).toFixed(1)} s`)
  // The flows go on, so the end of a silence is among the arrivals.
  for (const [index, flow] of flows.entries()) {
    const direction = DIRECTIONS[index] ?? 'out'
    const silence = longestSilenceMs(flow.arrivals(from[index]), 1000 / rate(stage))
    story.figure(`${figureName(fault, direction)}-silence`, Math.round(silence), 'ms', fault.limitMs)
  }
}

/** Resolves when nothing is held against any path, and inet is the link in use. */
async function settled(stage: Stage, use: LinkUse): Promise<void> {
  await pathsGood(stage)
  await usesInet(stage, use)
}

const figureName = ({ name }: GrayFault, direction: Direction) =>
  `${name.replace(' %', '%').replaceAll(' ', '-')}-${direction}`

/** What both ends held against a path since then. */
async function tellChanges({ story, system }: Stage, beginMs: number): Promise<void> {
  for (const name of ['branch-a', 'gw1'])
    for (const { time, link, to, reason } of (await system.agent(name).pathHistory()).toReversed())
      if (time >= beginMs) story.note(`${name}: ${link} ${to} after ${time - beginMs} ms${reason && `, ${reason}`}`)
}

async function usesInet(stage: Stage, use: LinkUse): Promise<void> {
  const before = await use.offered('inet')
  await until('traffic goes by inet', DEADLINE_MS, async () => {
    const now = await use.offered('inet')
    return DIRECTIONS.every(way => now[way] - before[way] > BEFORE_S * rate(stage))
  })
  for (const direction of ['out', 'in'] as const)
    await until(`traffic goes ${direction} by inet`, DEADLINE_MS, async () => (await use.busiest(direction)) === 'inet')
}

/** Lets the link suffer, and counts. It is good afterwards. */
async function watch(stage: Stage, use: LinkUse, fault: GrayFault): Promise<Counts> {
  const inet = use.link('inet')
  const suffers = (change: object) =>
    Promise.all(fault.directions.map(way => inet.set(way, { delayMs: DELAY_MS.inet, ...change })))
  const counter = await lead(stage, use)
  const begin = Date.now()
  await suffers(fault.profile)
  await counter.until(fault.lastsMs ?? WATCH_MS)
  await suffers({})
  await counter.until(WATCH_MS)
  await tellChanges(stage, begin)
  return counter.counts
}

/** A counter that has seen traffic both ways until its time 0: a busy moment of this machine may have cost the link its traffic before any fault. */
async function lead(stage: Stage, use: LinkUse): Promise<Counter> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const counter = new Counter(use, LEAD_MS)
    await counter.until(0)
    if (DIRECTIONS.every(way => departure(counter.counts[way], TRAFFIC * rate(stage)).offMs === undefined))
      return counter
    await settled(stage, use)
  }
  throw new LabError('claim', 'traffic leaves a good link')
}

type Counts = Readonly<Record<Direction, Count[]>>

/** Counts what inet is given. */
class Counter {
  readonly counts: Counts = { out: [], in: [] }
  readonly #use: LinkUse
  readonly #zero: number

  /** @param leadMs from now until its time 0 */
  constructor(use: LinkUse, leadMs: number) {
    this.#use = use
    this.#zero = performance.now() + leadMs
  }

  async until(ms: number): Promise<void> {
    const since = () => performance.now() - this.#zero
    while (true) {
      const offered = await this.#use.offered('inet')
      for (const way of DIRECTIONS) this.counts[way].push({ ms: since(), packets: offered[way] })
      if (since() >= ms) return
      // A sampling interval, not a wait for something.
      await sleep(LOOK_MS)
    }
  }
}
