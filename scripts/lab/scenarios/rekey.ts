/**
 *   a1 ==numbered UDP==> branch-a === gw1 === branch-b --- b1
 *
 * Both edges make new handshakes as fast as they complete; a new session receives before anybody sends on it.
 */
import type { Agent } from '../agent.ts'
import type { Scenario, Stage } from '../scenario.ts'
import { finishFlow, startFlow, switchOn } from '../steps.ts'
import { claim } from '../story.ts'
import { until } from '../until.ts'

const REKEYS = 1000
const REKEY_DEADLINE_MS = 20_000
/** Drop reasons of the programs that a rekey must not cause. */
const REPLAY_DROPS = ['mp-replay', 'mp-too-old', 'mp-no-session', 'mp-tag', 'no-sa']

export const rekey: Scenario = {
  name: 'rekey',
  about: '1,000 rekeys under traffic (--count for fewer): no packet lost, no replay error',
  enterprises: ['acme'],
  // Old sessions go soon, or hundreds would stand side by side.
  timers: { graceMs: 1000 },
  async run(stage) {
    const { story, system, count = REKEYS } = stage
    await switchOn(stage, 'acme')
    const errorsBefore = await replayErrors(stage)
    const flow = await startFlow(stage)
    await story.step(`${count} rekeys`, async () => {
      const begin = performance.now()
      const [first, second] = [Math.ceil(count / 2), Math.floor(count / 2)]
      await Promise.all([repeat(system.agent('branch-a'), first), repeat(system.agent('branch-b'), second)])
      story.figure('rekeys', count, 'handshakes', null)
      story.figure('time-per-rekey', Math.round((performance.now() - begin) / Math.max(first, 1)), 'ms', null)
    })
    await story.step('nothing was lost', () => finishFlow(stage, flow, 'rekey'))
    await story.step('no replay error, in the kernel or in the programs', async () => {
      story.figure('replay-errors', (await replayErrors(stage)) - errorsBefore, 'packets', 0)
    })
  },
}

async function repeat(agent: Agent, times: number): Promise<void> {
  for (let turn = 0; turn < times; turn++) {
    const before = await rekeys(agent)
    await agent.rekey()
    await until(`${agent.name} has new keys`, REKEY_DEADLINE_MS, async () => (await rekeys(agent)) > before)
  }
}

async function rekeys(agent: Agent): Promise<number> {
  const [peer] = (await agent.status()).peers
  claim(peer !== undefined, `${agent.name} has no gateway`)
  return peer.rekeys
}

/** XfrmInStateSeqError: a packet outside the window (Documentation/networking/xfrm_proc.rst). All nodes together. */
async function replayErrors({ system, lab }: Stage): Promise<number> {
  const counts = await Promise.all(
    system.agents.map(async agent => {
      const { drops } = await agent.drops()
      const table = (await lab.exec(agent.name, ['cat', '/proc/net/xfrm_stat'])).stdout
      const kernel = Number(/XfrmInStateSeqError\s+(\d+)/.exec(table)?.[1] ?? 0)
      return REPLAY_DROPS.reduce((sum, reason) => sum + (drops[reason] ?? 0), kernel)
    }),
  )
  return counts.reduce((sum, each) => sum + each, 0)
}
