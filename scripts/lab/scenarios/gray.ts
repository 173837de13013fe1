/**
 *   a1 ==200 packets/s each way==> branch-a --- inet, 5 ms ---- gw1 --- branch-b --- b1
 *                                          \-- lte, 40 ms --/
 *
 * Twelve faults of inet, one after the other. Traffic is of a class that prefers the shorter way, so it must leave inet, stay away while the
 * fault lasts, and come back afterwards. What goes by which link is counted within the links.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { type Count, departure } from '../departure.ts'
import { Flow } from '../flow.ts'
import { type GrayFault, grayFaults } from '../gray-faults.ts'
import type { Direction } from '../impairment/profile.ts'
import { LinkUse } from '../link-use.ts'
import type { Scenario, Stage } from '../scenario.ts'
import { forgetFaults, switchOn } from '../steps.ts'
import { claim } from '../story.ts'
import { hostAddress } from '../traffic.ts'
import { until } from '../until.ts'

const PPS = 200
/** AF21: transactional, so by round trip. */
const DSCP = 18
const DELAY_MS = { inet: 5, lte: 40 }
/** Some faults spare small packets. */
const SIZE = 1200
const LOOK_MS = 50
/** The longest time in which one return is allowed. */
const WATCH_MS = 10_000
/** A link has traffic when it carries half of the flow; probes are fewer. */
const TRAFFIC = PPS / 2
/** Packets on a good link before it fails: what is usual there is then known. */
const BEFORE = 3 * PPS
const DEADLINE_MS = 60_000

export const gray: Scenario = {
  name: 'gray',
  about: 'twelve faults of the link in use (--count for fewer): traffic leaves, stays away, and comes back',
  topology: 'two-links',
  enterprises: ['acme'],
  async run(stage) {
    const { story, lab, count } = stage
    await switchOn(stage, 'acme')
    const use = await story.step('inet gets a delay of 5 ms, lte one of 40', () =>
      LinkUse.open(lab, 'branch-a', { inet: { delayMs: DELAY_MS.inet }, lte: { delayMs: DELAY_MS.lte } }),
    )
    const flows = [await start(stage, 'a1', 'b1'), await start(stage, 'b1', 'a1')]
    const faults = grayFaults(DELAY_MS.inet).filter(({ esp }) => !esp || lab.security === 'esp')
    for (const fault of faults.slice(0, count)) await story.step(fault.name, () => suffer(stage, use, fault))
    for (const flow of flows) await flow.finish()
  },
}

function start({ lab }: Stage, from: string, to: string): Promise<Flow> {
  const options = { from, to, address: hostAddress(lab, to, 4), port: 7900, tag: `${from}-${to}` }
  return Flow.start(lab, { ...options, pps: PPS, size: SIZE, dscp: DSCP })
}

async function suffer(stage: Stage, use: LinkUse, fault: GrayFault): Promise<void> {
  const { story } = stage
  await forgetFaults(stage)
  await usesInet(use)
  const counts = await watch(use, fault)
  for (const direction of fault.directions) {
    const { offMs, returns } = departure(counts[direction], TRAFFIC)
    claim(offMs !== undefined, `traffic ${direction} stays on the link`)
    const name = `${fault.name.replace(' %', '%').replaceAll(' ', '-')}-${direction}`
    story.figure(`${name}-left`, Math.round(offMs), 'ms', fault.limitMs)
    story.figure(`${name}-returns`, returns, 'times', 1)
  }
  const healed = performance.now()
  await usesInet(use)
  story.note(`back after ${((performance.now() - healed) / 1000).toFixed(1)} s`)
}

async function usesInet(use: LinkUse): Promise<void> {
  const before = await use.offered('inet')
  await until('traffic goes by inet', DEADLINE_MS, async () => {
    const now = await use.offered('inet')
    return now.out - before.out > BEFORE && now.in - before.in > BEFORE
  })
  for (const direction of ['out', 'in'] as const)
    await until(`traffic goes ${direction} by inet`, DEADLINE_MS, async () => (await use.busiest(direction)) === 'inet')
}

/** Lets the link suffer, and counts. It is good afterwards. */
async function watch(use: LinkUse, fault: GrayFault): Promise<Record<Direction, Count[]>> {
  const counts: Record<Direction, Count[]> = { out: [], in: [] }
  const inet = use.link('inet')
  const good = { delayMs: DELAY_MS.inet }
  const both = (change: object) =>
    Promise.all(fault.directions.map(direction => inet.set(direction, { ...good, ...change })))
  await both(fault.profile)
  const begin = performance.now()
  let lasts = true
  for (let ms = 0; ms < WATCH_MS; ms = performance.now() - begin) {
    const offered = await use.offered('inet')
    for (const direction of ['out', 'in'] as const)
      counts[direction].push({ ms: performance.now() - begin, packets: offered[direction] })
    if (lasts && ms > (fault.lastsMs ?? WATCH_MS)) {
      await both({})
      lasts = false
    }
    // A sampling interval, not a wait for something.
    await sleep(LOOK_MS)
  }
  await both({})
  return counts
}
