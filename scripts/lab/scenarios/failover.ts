/**
 *   a1 ==a packet every 10 ms each way, and TCP==> branch-a --- inet, 5 ms ---- gw1 --- branch-b --- b1
 *                                                          \-- lte, 15 ms --/
 *
 * The path in use ends, in one of three ways; the programs on both sides must notice by themselves. Traffic stays on the one that took over, so
 * both links have their turn as the path in use. Of the silence that hosts see, links take a part for themselves: what the cut one delivered until
 * then, or would have answered, and the way over the other one.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { quantile } from '../../bench/sample.ts'
import { blackHole, type Cut, carrierLost, routerDown } from '../cut.ts'
import { Flow } from '../flow.ts'
import { LinkUse } from '../link-use.ts'
import type { Scenario, Stage } from '../scenario.ts'
import { longestSilenceMs } from '../silence.ts'
import { pathsGood, switchOn } from '../steps.ts'
import type { Story } from '../story.ts'
import { since, tcpCounters } from '../tcp-counters.ts'
import { hostAddress, pacedSource, TcpTransfer } from '../traffic.ts'
import { until } from '../until.ts'

const CUTS = 100
const EVERY_MS = 10
const DELAY_MS: Readonly<Record<string, number>> = { inet: 5, lte: 15 }
/** Beyond the one-way delay of the path that takes over. */
const GAP_BAR_MS = 50
/** The link that traffic prefers. Nobody can know of a cut before the round trip is over, and that of the other link is longer. */
const PREFERRED = 'inet'
const TCP_BYTES_PER_S = 100_000
/** Of each flow, behind a cut: as many again must have come. */
const PACKETS_AFTER = 30
const HOLD_MS = 500
const DEADLINE_MS = 60_000
const HOSTS = ['a1', 'b1'] as const

export const failover: Scenario = {
  name: 'failover',
  about: '100 cuts of the path in use (--count for fewer): packets go by the other one within 50 ms, TCP lives',
  topology: 'two-links',
  enterprises: ['acme'],
  // Each turn waits until a path that was cut is used again.
  timers: { holdMs: HOLD_MS, longestHoldMs: HOLD_MS, leaveEveryMs: HOLD_MS },
  async run(stage) {
    const { story, lab, count = CUTS } = stage
    await switchOn(stage, 'acme')
    const profiles = Object.fromEntries(Object.entries(DELAY_MS).map(([link, delayMs]) => [link, { delayMs }]))
    const use = await story.step('inet gets a delay of 5 ms, lte one of 15', () =>
      LinkUse.open(lab, 'branch-a', profiles),
    )
    const flows = [await start(stage, 'a1', 'b1'), await start(stage, 'b1', 'a1')]
    const transfer = await startTransfer(stage)
    await story.step(`${count} cuts of the path in use`, () => measure(stage, use, flows, count))
    await story.step('TCP went through all of it', transfer)
    await story.step('what was lost', async () => {
      const results = await Promise.all(flows.map(flow => flow.finish()))
      const lost = results.reduce((sum, each) => sum + each.lost, 0)
      story.figure('lost-per-cut-and-direction', Math.round(lost / count / flows.length), 'packets', null)
    })
  },
}

function start({ lab }: Stage, from: string, to: string): Promise<Flow> {
  const options = { from, to, address: hostAddress(lab, to, 4), port: 7800, tag: `${from}-${to}` }
  return Flow.start(lab, { ...options, pps: 1000 / EVERY_MS, log: true })
}

/** @returns ends it, and tells what TCP saw */
async function startTransfer({ story, lab }: Stage): Promise<() => Promise<void>> {
  const counters = () => Promise.all(HOSTS.map(host => tcpCounters(lab, host)))
  const before = await counters()
  const end = join(lab.machine.shared, 'failover-end')
  const source = pacedSource(TCP_BYTES_PER_S, end)
  const transfer = await TcpTransfer.start(lab, { from: 'a1', to: 'b1', family: 4, port: 7801, source })
  return async () => {
    const more = (await counters()).map((now, index) => since(before[index] ?? now, now))
    writeFileSync(end, '')
    await transfer.finish(DEADLINE_MS)
    story.note(`${more.reduce((sum, each) => sum + each.retransmitted, 0)} segments were sent again`)
    story.figure(
      'tcp-resets',
      more.reduce((sum, each) => sum + each.resets, 0),
      'resets',
      0,
    )
  }
}

async function measure(stage: Stage, use: LinkUse, flows: readonly Flow[], count: number): Promise<void> {
  const { story } = stage
  const gaps: Gap[] = []
  for (let turn = 0; turn < count; turn++) gaps.push(await cutOnce(stage, use, flows, turn))
  for (const link of Object.keys(DELAY_MS)) {
    const ofLink = gaps.filter(gap => gap.link === link)
    story.note(`${link} cut, silence in ms: ${ofLink.map(({ silenceMs }) => Math.round(silenceMs)).join(' ')}`)
    const bar = link === PREFERRED ? GAP_BAR_MS : null
    tellGaps(story, `${link}-cut-gap`, ofLink.map(beyondOther), bar, count >= CUTS ? bar : null)
  }
  // Of fewer the p99 would be the longest, which one busy moment of this machine decides.
  tellGaps(story, 'gap', gaps.map(beyondOther), null, count >= CUTS ? GAP_BAR_MS : null)
  tellGaps(story, 'gap-beyond-round-trip', gaps.map(beyondBoth), null, null)
}

function tellGaps(
  story: Story,
  name: string,
  gaps: readonly number[],
  p50Bar: number | null,
  p99Bar: number | null,
): void {
  const sorted = gaps.toSorted((a, b) => a - b)
  if (sorted.length === 0) return
  story.figure(`${name}-p50`, Math.round(quantile(sorted, 0.5)), 'ms', p50Bar)
  story.figure(`${name}-p99`, Math.round(quantile(sorted, 0.99)), 'ms', p99Bar)
  story.figure(`${name}-max`, Math.round(quantile(sorted, 1)), 'ms', null)
}

/** One cut: the longer silence of the two directions. */
interface Gap {
  readonly link: string
  readonly silenceMs: number
}

const otherThan = (link: string) => Object.keys(DELAY_MS).find(each => each !== link) ?? ''

function beyondOther({ link, silenceMs }: Gap): number {
  return silenceMs - (DELAY_MS[otherThan(link)] ?? 0)
}

function beyondBoth(gap: Gap): number {
  return beyondOther(gap) - 2 * (DELAY_MS[gap.link] ?? 0)
}

async function cutOnce(stage: Stage, use: LinkUse, flows: readonly Flow[], turn: number): Promise<Gap> {
  await pathsGood(stage)
  const link = await inUse(use)
  const way = waysToCut(stage, use, link)[turn % 3]
  const from = flows.map(flow => flow.arrivals().length)
  await way?.cut()
  const since = flows.map(flow => flow.arrivals().length)
  await until(`packets come without ${link}`, DEADLINE_MS, async () =>
    flows.every((flow, index) => flow.arrivals(since[index]).length >= PACKETS_AFTER),
  )
  const silences = flows.map((flow, index) => longestSilenceMs(flow.arrivals(from[index]), EVERY_MS))
  await way?.heal()
  return { link, silenceMs: Math.max(...silences) }
}

/** The link that both directions go by. */
function inUse(use: LinkUse): Promise<string> {
  return until('both directions use one link', DEADLINE_MS, async () => {
    const [out, back] = await Promise.all([use.busiest('out'), use.busiest('in')])
    return out === back && out
  })
}

function waysToCut({ lab }: Stage, use: LinkUse, link: string): readonly Cut[] {
  const name = { node: 'branch-a', link }
  return [blackHole(use.link(link)), routerDown(lab, name), carrierLost(lab, name)]
}
