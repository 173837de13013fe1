/**
 *   a1 ==one TCP connection==> branch-a --- inet, 5 ms, rate ---- gw1 --- branch-b --- b1
 *                                      \-- lte, 40 ms, rate ---/
 *
 * Class transactional goes packet by packet over both links, default by the better one alone, so that one run tells what the second link is worth.
 * Rates are low, for the emulated guest; on a kernel without fq nothing is put in order, and figures are printed only.
 */
import type { AgentConfigInput } from '../../../agent/config.ts'
import { Capture } from '../capture.ts'
import { hasNetem } from '../impairment/netem.ts'
import { DIRECTIONS } from '../impairment/profile.ts'
import { type Impairment, openImpairment } from '../impairment.ts'
import { wanDevice } from '../network.ts'
import type { Scenario, Stage } from '../scenario.ts'
import { forgetFaults, switchOn } from '../steps.ts'
import { claim } from '../story.ts'
import type { TcpArrivals } from '../tcp-arrivals.ts'
import { hostAddress, ping, TcpTransfer } from '../traffic.ts'
import { until } from '../until.ts'

const SECONDS = 20
/** TCP has found its rate by then. */
const WARM_UP_MS = 8000
const LINKS = ['inet', 'lte'] as const
const DELAY_MS = { inet: 5, lte: 40 } as const
/** Behind what a link carries. */
const QUEUE_MS = 80
/** Mb/s of the links, each way. */
const SHAPES = [
  { name: '1:1', inet: 8, lte: 8 },
  { name: '3:1', inet: 12, lte: 4 },
] as const
type Shape = (typeof SHAPES)[number]
/** AF21: transactional. */
const SPREAD = 'af21'
/** Of a full frame on the links (MTU 1500 and the Ethernet header) the host's payload is one segment. */
const FRAME = 1514
const OF_RATES = 0.92
const OF_BETTER = 1.8
const OUT_OF_ORDER_PERCENT = 0.1
const DEADLINE_MS = 240_000
const WAYS = [
  ['a1', 'b1'],
  ['b1', 'a1'],
] as const

export const aggregate: Scenario = {
  name: 'aggregate',
  about: 'one TCP connection over two links of 5 and 40 ms gets what both carry, in order (--count seconds)',
  topology: 'two-links',
  enterprises: ['acme'],
  timers: { graceMs: 500 },
  configure: ({ name }, config) => configured(name, config.wan, SHAPES[0]),
  async run(stage) {
    const { story, lab } = stage
    await switchOn(stage, 'acme')
    const fq = await story.step('what this kernel can', () => cables(stage))
    const links = await Promise.all(LINKS.map(link => openImpairment(lab, { node: 'branch-a', link })))
    for (const shape of SHAPES) {
      await story.step(`links of ${shape.inet} and ${shape.lte} Mb/s`, async () => {
        await impair(links, shape)
        await tellEdge(stage, shape)
      })
      for (const [from, to] of WAYS)
        for (const family of [4, 6] as const)
          await story.step(`${shape.name}, ${from} to ${to} over IPv${family}`, () =>
            measure(stage, shape, { from, to, family }, fq),
          )
    }
    for (const link of links) await link.close()
  },
}

type Wan = AgentConfigInput['wan']

/** The edge knows what its links carry, and tells the gateway. */
function configured(name: string, wan: Wan, shape: Shape): Partial<AgentConfigInput> {
  const classes = { default: { spread: 'best' }, transactional: { spread: 'packets' } } as const
  if (name === 'gw1') return { classes }
  if (name !== 'branch-a') return {}
  return { classes, wan: wan.map(link => ({ ...link, ...rates(link.name, shape) })) }
}

function rates(link: string, shape: Shape) {
  const mbps = link === 'inet' ? shape.inet : shape.lte
  return { upMbps: mbps, downMbps: mbps }
}

async function impair(links: readonly Impairment[], shape: Shape): Promise<void> {
  for (const [index, link] of links.entries()) {
    const name = LINKS[index] ?? 'inet'
    const profile = { delayMs: DELAY_MS[name], rate: shape[name] * 1e6, queueMs: QUEUE_MS }
    for (const direction of DIRECTIONS) await link.set(direction, profile)
  }
}

/** It starts anew, and so does the gateway: neither knows the links as they were before. */
async function tellEdge(stage: Stage, shape: Shape): Promise<void> {
  const { node } = stage.system.agent('branch-a')
  const wan = node.wan.map(({ name }) => ({ name, interface: wanDevice({ name }) }))
  await forgetFaults(stage, { 'branch-a': configured('branch-a', wan, shape) })
  await until('the hosts reach each other', DEADLINE_MS, async () => (await ping(stage.lab, 'a1', 'b1', 4, 1)) === 1)
}

interface Way {
  readonly from: string
  readonly to: string
  readonly family: 4 | 6
}

/**
 * A cable carries single packets, so the edges' LAN devices cut what they get. And Linux's TCP knows what of its own waits on the machine, through veths
 * too, and keeps it to a millisecond (TCP small queues): no queue would form at the edge. netem takes a packet from its socket, as a cable does.
 * @returns whether packets can be put in order
 */
async function cables({ lab, story }: Stage): Promise<boolean> {
  if (!(await hasNetem(lab.machine))) {
    story.note('this kernel has neither netem nor fq: figures have no bars')
    return false
  }
  for (const edge of ['branch-a', 'branch-b'])
    await lab.run(edge, ['ethtool', '-K', 'lan0', 'tso', 'off', 'gso', 'off'])
  for (const host of ['a1', 'b1'])
    await lab.run(host, ['tc', 'qdisc', 'replace', 'dev', 'eth0', 'root', 'netem', 'delay', '100us', 'limit', '10000'])
  return true
}

async function measure(stage: Stage, shape: Shape, way: Way, fq: boolean): Promise<void> {
  const { story } = stage
  const equal = shape.inet === shape.lte
  const bar = (figure: number) => (fq ? figure : null)
  const name = `${shape.name}-${way.from}-${way.to}-v${way.family}`
  const alone = equal ? await transfer(stage, way, shape.inet, undefined) : undefined
  const before = await counted(stage)
  const both = await transfer(stage, way, shape.inet + shape.lte, SPREAD)
  note(stage, before, await counted(stage))
  await tellPaths(stage)
  if (alone) story.note(`one link alone: ${told(alone)}`)
  story.note(`both: ${told(both)}`)
  const ofRates = (both.mbps * FRAME) / both.mss / (shape.inet + shape.lte)
  story.figureAtLeast(`${name}-of-rates`, round(ofRates), 'x', bar(OF_RATES))
  if (alone) story.figureAtLeast(`${name}-of-better`, round(both.mbps / alone.mbps), 'x', bar(OF_BETTER))
  story.figure(`${name}-out-of-order`, percent(both), '%', bar(OUT_OF_ORDER_PERCENT))
}

function told(arrivals: TcpArrivals): string {
  return `${arrivals.mbps.toFixed(2)} Mb/s of payload, ${arrivals.outOfOrder} of ${arrivals.segments} segments out of order`
}

function percent({ outOfOrder, segments }: TcpArrivals): number {
  return Math.round((10_000 * outOfOrder) / segments) / 100
}

function round(value: number): number {
  return Math.round(value * 1000) / 1000
}

/** How both ends think of the links when the connection has ended. */
async function tellPaths({ story, system }: Stage): Promise<void> {
  for (const name of ['branch-a', 'gw1']) {
    const paths = (await system.agent(name).paths()).slice(0, LINKS.length)
    const told = paths.map(({ link, condition, reason }) => `${link} ${condition}${reason && `, ${reason}`}`)
    story.note(`${name}: ${told.join('; ')}`)
  }
}

type Counts = ReadonlyMap<string, number>

async function counted({ system }: Stage): Promise<Counts> {
  const counts = new Map<string, number>()
  for (const agent of system.agents) {
    const { drops, counters } = await agent.drops()
    for (const [what, count] of Object.entries({ ...drops, ...counters })) counts.set(`${agent.name} ${what}`, count)
  }
  return counts
}

/** Whether packets waited for each other, and what was dropped. */
function note({ story }: Stage, before: Counts, after: Counts): void {
  const usual = /(flow-|probe-|local-|icmp-|lan-|mp-in|mp-out|from-peer|to-peer|handshake|mss-|ask-)/
  const more = [...after].map(([what, count]) => [what, count - (before.get(what) ?? 0)] as const)
  const told = more.filter(([what, count]) => count !== 0 && !usual.test(what))
  story.note(told.map(([what, count]) => `${what} ${count}`).join(', '))
}

let port = 7400

async function transfer(stage: Stage, way: Way, mbps: number, dscp: string | undefined) {
  const { lab, count = SECONDS } = stage
  port++
  const capture = await Capture.start(lab, way.to, { filter: `tcp dst port ${port}`, bytes: 120 })
  const bytes = Math.ceil((count + WARM_UP_MS / 1000) * mbps * 125_000 * 0.9)
  const source = `head -c ${bytes} /dev/zero`
  const sending = await TcpTransfer.start(lab, { ...way, port, source, ...(dscp !== undefined && { dscp }) })
  await sending.finish(DEADLINE_MS)
  const arrivals = await capture.arrivals(port, WARM_UP_MS)
  claim(arrivals.mbps > 0, `nothing came ${way.from} to ${way.to}: ${hostAddress(lab, way.to, way.family)}`)
  return arrivals
}
