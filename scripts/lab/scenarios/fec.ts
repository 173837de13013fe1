/**
 *   a1 ==realtime==> branch-a --- inet, loses ---- gw1 --- branch-b --- b1
 *                            \-- lte, loses ----/
 *
 * Both links lose alike, so that no path is better, and every packet of a group, parity included, is lost by the same chance. Then the class
 * goes twice, and links end under it.
 */
import type { AgentConfigInput } from '../../../agent/config.ts'
import { blackHole, carrierLost, routerDown } from '../cut.ts'
import { Flow, type FlowResult } from '../flow.ts'
import type { ProfileInput } from '../impairment/profile.ts'
import { LinkUse } from '../link-use.ts'
import type { Scenario, Stage } from '../scenario.ts'
import { CHANGE_DEADLINE_MS, forgetFaults, switchOn } from '../steps.ts'
import { claim } from '../story.ts'
import { hostAddress, ping } from '../traffic.ts'
import { until } from '../until.ts'

const PACKETS = 1_000_000
/** Of a million packets at 1 % the formula leaves 490, and chance alone moves that by 6 % (one sigma); four times as many make it 3 %. */
const MANY_PACKETS = 4_000_000
/** Both links and their relays carry it without losing anything by themselves: the notes would show `missed` or `refused`. */
const PPS = 25_000
/** EF: realtime. */
const DSCP = 46
const LOSSES = [
  [0.01, MANY_PACKETS],
  [0.02, PACKETS],
  [0.05, PACKETS],
] as const
const CODE = { packets: 5, depth: 1 } as const
/** From the formula, either way: links that lose less than they should prove nothing. With --count what chance may add to it. */
const OFF_PERCENT = 10
const SIGMAS = 4
const BURSTS = { loss: 0.01, burst: 3, evenBursts: true }
const DEEP = { packets: 5, depth: 4 } as const
/** Of the packets that the links lose. */
const UNRECOVERED_PERCENT = 20
const CUTS = 20
const FEWER_CUTS = 4
/** Packets between two cuts, and how long a cut lasts. */
const CUT_PPS = 500
const CUT_PACKETS = 250
const DEADLINE_MS = 60_000
const LINKS = ['inet', 'lte'] as const

type Realtime = NonNullable<NonNullable<AgentConfigInput['classes']>['realtime']>

const configured = (realtime: Realtime): Partial<AgentConfigInput> => ({ classes: { realtime } })

export const fec: Scenario = {
  name: 'fec',
  about: 'parity brings back what links lose, bursts too, and copies survive 20 cuts (--count packets for each loss)',
  topology: 'two-links',
  enterprises: ['acme'],
  // Old sessions go soon: what follows a restart waits for that.
  timers: { graceMs: 500 },
  configure: ({ name }) => (name === 'branch-a' ? configured({ spread: 'best', fec: CODE }) : {}),
  async run(stage) {
    const { story, lab, count = PACKETS } = stage
    await switchOn(stage, 'acme')
    const use = await LinkUse.open(lab, 'branch-a', { inet: {}, lte: {} })
    for (const [loss, packets] of LOSSES)
      await story.step(`links lose ${100 * loss} %, one parity for ${CODE.packets} packets`, () =>
        random(stage, use, loss, stage.count ?? packets),
      )
    await story.step(`bursts of ${BURSTS.burst}, ${DEEP.depth} groups take turns`, async () => {
      await change(stage, { spread: 'best', fec: DEEP })
      await bursts(stage, use, count)
    })
    const turns = stage.count === undefined ? CUTS : FEWER_CUTS
    await story.step(`${turns} cuts of a path, each packet goes twice`, () => cuts(stage, use, turns))
  },
}

/** The edge has the class so, and hosts reach each other. */
async function change({ lab, system }: Stage, realtime: Realtime): Promise<void> {
  const edge = system.agent('branch-a')
  await edge.kill('TERM')
  await edge.start(configured(realtime))
  await until('the hosts reach each other', CHANGE_DEADLINE_MS, async () => (await ping(lab, 'a1', 'b1', 4, 1)) === 1)
}

async function random(stage: Stage, use: LinkUse, loss: number, count: number): Promise<void> {
  const { sent, lost } = await lossy(stage, use, { loss }, count)
  // Lost, and of the k others of its group one more.
  const expected = sent * loss * (1 - (1 - loss) ** CODE.packets)
  // Losses that stay come two at a time.
  const chance = (100 * SIGMAS * Math.sqrt(2 * expected)) / expected
  const bar = stage.count === undefined ? OFF_PERCENT : Math.max(OFF_PERCENT, Math.round(chance))
  stage.story.note(`${lost} of ${sent} stay lost, ${expected.toFixed(1)} by the formula`)
  const off = Math.round(Math.abs(lost / expected - 1) * 1000) / 10
  stage.story.figure(`residual-${100 * loss}%-off-formula`, off, '%', bar)
}

async function bursts(stage: Stage, use: LinkUse, count: number): Promise<void> {
  const { sent, lost } = await lossy(stage, use, BURSTS, count)
  const unrecovered = (100 * lost) / (sent * BURSTS.loss)
  stage.story.figure('bursts-not-recovered', Math.round(unrecovered * 10) / 10, '%', UNRECOVERED_PERCENT)
}

/** The flow over links of which each loses so, on the way from branch-a. */
async function lossy(stage: Stage, use: LinkUse, profile: ProfileInput, count: number): Promise<FlowResult> {
  const both = (change: ProfileInput) => Promise.all(LINKS.map(link => use.link(link).set('out', change)))
  const before = await counted(stage, use)
  await both(profile)
  const flow = await start(stage, { pps: PPS, count })
  await flow.sent((1000 * count) / PPS + DEADLINE_MS)
  const result = await flow.finish()
  await both({})
  const more = await counted(stage, use)
  note(stage, before, more)
  claim(result.duplicated === 0, `${result.duplicated} packets came twice`)
  claim((more.get('gw1 rebuilt') ?? 0) > (before.get('gw1 rebuilt') ?? 0), 'nothing came back from parity')
  return result
}

function start({ lab }: Stage, { pps, count }: { pps: number; count?: number }): Promise<Flow> {
  const common = { from: 'a1', to: 'b1', address: hostAddress(lab, 'b1', 4), port: 7950, tag: 'fec', dscp: DSCP }
  return Flow.start(lab, { ...common, pps, ...(count === undefined ? { log: true } : { count }) })
}

type Counts = ReadonlyMap<string, number>

/** What both ends of the links have counted, and the links themselves. */
async function counted({ system }: Stage, use: LinkUse): Promise<Counts> {
  const counts = new Map<string, number>()
  for (const name of ['branch-a', 'gw1']) {
    const { drops, counters } = await system.agent(name).drops()
    for (const [what, count] of Object.entries({ ...drops, ...counters })) counts.set(`${name} ${what}`, count)
  }
  for (const link of LINKS) {
    const { out } = await use.link(link).counters()
    for (const [what, count] of Object.entries(out)) if (what !== 'waiting') counts.set(`${link} ${what}`, count)
  }
  return counts
}

function note({ story }: Stage, before: Counts, after: Counts): void {
  const wanted = /(mp-out|mp-in|parity-.*|rebuilt.*|unprotected|copy-.*|mp-replay|fec-.*|loss|missed|refused|memory)$/
  const more = [...after].map(([what, count]) => [what, count - (before.get(what) ?? 0)] as const)
  const told = more.filter(([what, count]) => count !== 0 && wanted.test(what))
  story.note(told.map(([what, count]) => `${what} ${count}`).join(', '))
}

/** One link after the other ends and comes back, in three ways. */
async function cuts(stage: Stage, use: LinkUse, turns: number): Promise<void> {
  const { lab, story } = stage
  const twice = { 'branch-a': configured({ spread: 'twice', fec: false }) }
  await forgetFaults(stage, twice)
  const before = await counted(stage, use)
  const flow = await start(stage, { pps: CUT_PPS })
  for (let turn = 0; turn < turns; turn++) {
    await copies(stage)
    const link = LINKS[turn % 2] ?? 'inet'
    const name = { node: 'branch-a', link }
    const way = [blackHole(use.link(link)), routerDown(lab, name), carrierLost(lab, name)][turn % 3]
    const from = flow.arrivals().length
    await way?.cut()
    await until('packets come without the link', DEADLINE_MS, async () => flow.arrivals(from).length >= CUT_PACKETS)
    await way?.heal()
    await forgetFaults(stage, twice)
  }
  const { lost, sent, duplicated } = await flow.finish()
  note(stage, before, await counted(stage, use))
  claim(duplicated === 0, `${duplicated} packets came twice`)
  story.note(`${sent} sent`)
  story.figure('lost-in-cuts', lost, 'packets', 0)
}

/** Packets go by both links: else a cut of one is the loss of all. */
async function copies({ system }: Stage): Promise<void> {
  const agent = system.agent('branch-a')
  const sent = async () => (await agent.drops()).counters['copy-out'] ?? 0
  const before = await sent()
  await until('each packet goes twice', DEADLINE_MS, async () => (await sent()) - before >= CUT_PACKETS)
}
