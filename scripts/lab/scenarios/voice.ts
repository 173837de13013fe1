/**
 *   a1 --- branch-a === 10 Mb/s, 200 ms of queue behind it ===> inet === gw1 === branch-b --- b1
 *
 * A call and a backup share an uplink. Told its rate, the edge keeps the queue, and the call does not stand in it; not told, the provider does.
 */
import type { AgentConfigInput } from '../../../agent/config.ts'
import { Flow, type FlowResult } from '../flow.ts'
import { type Impairment, openImpairment } from '../impairment.ts'
import type { Scenario, Stage } from '../scenario.ts'
import { CHANGE_DEADLINE_MS, switchOn } from '../steps.ts'
import { claim } from '../story.ts'
import { hostAddress, ping, TcpTransfer } from '../traffic.ts'
import { until } from '../until.ts'

const SECONDS = 20
const MBPS = 10
/** As deep as modems have them. */
const QUEUE_MS = 200
/** G.711 with 20 ms in a packet: 160 bytes of voice and an RTP header. */
const CALL = { pps: 50, size: 172, dscp: 46 }
/** Above the idle link. Where nodes are emulated the figure says little about the product. */
const BAR_MS = 10
/** As backup programs have them: one alone leaves slow start as soon as it notices the queue (HyStart), and takes minutes to fill it. */
const STREAMS = 8
/** The call begins when so much of the backup has left: TCP has found the rate by then, and filled whatever queue it can. */
const WARM_UP_BYTES = 2_000_000
/** Share of the uplink that the backup must use for the call to prove anything. */
const BUSY = 0.8
const WARM_UP_DEADLINE_MS = 60_000

export const voice: Scenario = {
  name: 'voice',
  about: 'a call beside a backup on a 10 Mb/s uplink: no packet lost, 10 ms more delay at most (--count seconds)',
  enterprises: ['acme'],
  async run(stage) {
    const { story, lab, system } = stage
    const native = lab.machine.kind === 'native'
    const uplink = await story.step(
      `branch-a's uplink carries ${MBPS} Mb/s, ${QUEUE_MS} ms wait behind it`,
      async () => {
        const link = await openImpairment(lab, { node: 'branch-a', link: 'inet' })
        await link.set('out', { rate: MBPS * 1e6, queueMs: QUEUE_MS })
        return link
      },
    )
    await switchOn(stage, 'acme')
    const idle = await story.step('a call alone', () => call(stage, 7300))
    await story.step('a call beside a backup, the edge knows no rate: it waits in the modem', async () => {
      const { delayUs, lost } = await beside(stage, uplink, 7310)
      story.figure('without-rate-p99-above-idle', above(delayUs, idle), 'ms', null)
      story.figure('without-rate-lost', lost, 'packets', null)
      // The control: where nobody keeps the queue, the same measurement finds it.
      claim(above(delayUs, idle) > BAR_MS, 'the backup does not fill the uplink: nothing would be proved')
    })
    await story.step(`the edge is told of ${MBPS} Mb/s`, async () => {
      const edge = system.agent('branch-a')
      await edge.kill('TERM')
      await edge.start(rated(edge.node.wan[0]?.name ?? ''))
      await until(
        'the hosts reach each other',
        CHANGE_DEADLINE_MS,
        async () => (await ping(lab, 'a1', 'b1', 4, 1)) === 1,
      )
    })
    await story.step('a call beside a backup', async () => {
      const { delayUs, lost } = await beside(stage, uplink, 7320)
      story.figure('voice-p99-above-idle', above(delayUs, idle), 'ms', native ? BAR_MS : null)
      story.figure('voice-lost', lost, 'packets', 0)
    })
    await uplink.close()
  },
}

function rated(name: string): Partial<AgentConfigInput> {
  return { wan: [{ name, interface: `wan-${name}`, upMbps: MBPS }] }
}

/** One call from a1 to b1, alone or with others. */
async function call(stage: Stage, port: number): Promise<FlowResult> {
  const { lab, story, count = SECONDS } = stage
  const common = { from: 'a1', to: 'b1', address: hostAddress(lab, 'b1', 4), port, tag: 'call' }
  const flow = await Flow.start(lab, { ...common, ...CALL, count: count * CALL.pps })
  await flow.sent(count * 1000 + 20_000)
  const result = await flow.finish()
  const { min, median, p99, max } = result.delayUs
  story.note(`one way: min ${min}, median ${median}, p99 ${p99}, max ${max} µs; ${result.lost} of ${result.sent} lost`)
  claim(result.received > 0, 'no packet of the call came')
  return result
}

/** The same while TCP sends as much as the uplink takes, from before it begins until after it has ended. */
async function beside(stage: Stage, uplink: Impairment, port: number): Promise<FlowResult> {
  const { lab, story, count = SECONDS } = stage
  const megabytes = Math.ceil((count * MBPS) / 8 + (2 * WARM_UP_BYTES) / 1e6)
  const source = `seq 1 100000000 | head -c ${Math.ceil(megabytes / STREAMS)}000000`
  const before = await leftBytes(uplink)
  const backup: TcpTransfer[] = []
  for (let stream = 1; stream <= STREAMS; stream++)
    backup.push(await TcpTransfer.start(lab, { from: 'a1', to: 'b1', family: 4, port: port + stream, source }))
  await until(
    'the backup is under way',
    WARM_UP_DEADLINE_MS,
    async () => (await leftBytes(uplink)) > before + WARM_UP_BYTES,
  )
  const [begin, first] = [performance.now(), await leftBytes(uplink)]
  const result = await call(stage, port)
  const mbps = ((await leftBytes(uplink)) - first) / 125 / (performance.now() - begin)
  story.note(`meanwhile ${mbps.toFixed(1)} Mb/s left by the uplink`)
  claim(mbps > BUSY * MBPS, 'the uplink was not busy: nothing would be proved')
  for (const stream of backup) await stream.finish(WARM_UP_DEADLINE_MS + megabytes * 4000)
  return result
}

async function leftBytes(uplink: Impairment): Promise<number> {
  return (await uplink.counters()).out.sentBytes
}

function above(loaded: FlowResult['delayUs'], { delayUs: idle }: FlowResult): number {
  return Math.max(0, Math.round((loaded.p99 - idle.p99) / 100) / 10)
}
