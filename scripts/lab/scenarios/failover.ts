/**
 *   a1 ==a packet every 10 ms each way, and TCP==> branch-a --- inet, 5 ms ---- gw1 --- branch-b --- b1
 *                                                          \-- lte, 15 ms --/
 *
 * The path in use ends, in one of three ways; the programs on both sides must notice by themselves.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { quantile } from '../../bench/sample.ts'
import { blackHole, type Cut, carrierLost, routerDown } from '../cut.ts'
import { Flow } from '../flow.ts'
import { LinkUse } from '../link-use.ts'
import type { Scenario, Stage } from '../scenario.ts'
import { longestSilenceMs } from '../silence.ts'
import { forgetFaults, switchOn } from '../steps.ts'
import { since, tcpCounters } from '../tcp-counters.ts'
import { hostAddress, pacedSource, TcpTransfer } from '../traffic.ts'
import { until } from '../until.ts'

const CUTS = 100
const EVERY_MS = 10
const DELAY_MS: Readonly<Record<string, number>> = { inet: 5, lte: 15 }
/** Beyond the one-way delay of the path that takes over. */
const GAP_BAR_MS = 50
const TCP_BYTES_PER_S = 100_000
/** Of each flow, behind a cut: as many again must have come. */
const PACKETS_AFTER = 30
const DEADLINE_MS = 60_000
const HOSTS = ['a1', 'b1'] as const

export const failover: Scenario = {
  name: 'failover',
  about: '100 cuts of the path in use (--count for fewer): packets go by the other one within 50 ms, TCP lives',
  topology: 'two-links',
  enterprises: ['acme'],
  // Old sessions go soon: each turn waits for that.
  timers: { graceMs: 500 },
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
  const gaps: number[] = []
  for (let turn = 0; turn < count; turn++) gaps.push(await cutOnce(stage, use, flows, turn))
  story.note(`ms: ${gaps.map(Math.round).join(' ')}`)
  gaps.sort((a, b) => a - b)
  story.figure('gap-p50', Math.round(quantile(gaps, 0.5)), 'ms', GAP_BAR_MS)
  // Of fewer it would be the longest, which one busy moment of this machine decides.
  story.figure('gap-p99', Math.round(quantile(gaps, 0.99)), 'ms', count >= CUTS ? GAP_BAR_MS : null)
  story.figure('gap-max', Math.round(quantile(gaps, 1)), 'ms', null)
}

/** @returns the longer silence of the two directions, beyond the delay of the path that took over, ms */
async function cutOnce(stage: Stage, use: LinkUse, flows: readonly Flow[], turn: number): Promise<number> {
  const link = await use.busiest('out')
  const way = waysToCut(stage, use, link)[turn % 3]
  const other = Object.keys(DELAY_MS).find(each => each !== link) ?? ''
  const from = flows.map(flow => flow.arrivals().length)
  await way?.cut()
  const since = flows.map(flow => flow.arrivals().length)
  await until(`packets come without ${link}`, DEADLINE_MS, async () =>
    flows.every((flow, index) => flow.arrivals(since[index]).length >= PACKETS_AFTER),
  )
  const silences = flows.map((flow, index) => longestSilenceMs(flow.arrivals(from[index]), EVERY_MS))
  await way?.heal()
  await forgetFaults(stage)
  return Math.max(...silences) - (DELAY_MS[other] ?? 0)
}

function waysToCut({ lab }: Stage, use: LinkUse, link: string): readonly Cut[] {
  const name = { node: 'branch-a', link }
  return [blackHole(use.link(link)), routerDown(lab, name), carrierLost(lab, name)]
}
