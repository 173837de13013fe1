/**
 *   a1 ==numbered UDP==> branch-a === gw1 === branch-b --- b1
 *
 * The agents program the dataplane and carry nothing, so killing them must cost nothing.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Scenario, Stage } from '../scenario.ts'
import { finishFlow, flowRate, startFlow, switchOn } from '../steps.ts'
import { claim } from '../story.ts'
import { until } from '../until.ts'

/** Time without an agent: longer than a path may be silent (silentMs) before a peer calls it dead. */
const ORPHANED_MS = 4000
/** Traffic before the kill and after the restart. */
const AROUND_MS = 1500
/** Renewal of an adopted session and the grace time of the old one. */
const SAS_SETTLE_MS = 30_000

export const agentKill: Scenario = {
  name: 'agent-kill',
  about: 'kill -9 of an edge agent and of a gateway agent under a steady flow: no packet lost, all adopted',
  enterprises: ['acme'],
  async run(stage) {
    await switchOn(stage, 'acme')
    for (const name of ['branch-a', 'gw1']) await killAndRestart(stage, name)
  },
}

async function killAndRestart(stage: Stage, name: string): Promise<void> {
  const { story, system } = stage
  const agent = system.agent(name)
  const before = await agent.status()
  const flow = await startFlow(stage)
  // The length of the experiment, not a wait for something.
  await sleep(AROUND_MS)
  await story.step(
    `${name}: kill -9, and ${ORPHANED_MS / 1000} s without it at ${flowRate(stage)} packets a second`,
    async () => {
      await agent.kill('KILL')
      await sleep(ORPHANED_MS)
    },
  )
  await story.step(`${name}: the next agent adopts what it finds`, async () => {
    await agent.start()
    const { adoption, associations, pid } = await agent.status()
    claim(pid !== before.pid, 'the agent was not killed')
    claim(adoption === 'adopted', `the dataplane was ${adoption}, not adopted`)
    // An adopted session is renewed at once: for the grace time the old SAs stand beside the new ones.
    claim(associations >= before.associations, `${before.associations} SAs before, ${associations} after`)
    for (const edge of system.edges) await system.connected(edge)
    await until(`${name} has as many SAs as before`, SAS_SETTLE_MS, async () => {
      const { associations: now } = await agent.status()
      return now === before.associations
    })
    await sleep(AROUND_MS)
  })
  await story.step(`${name}: the flow lost nothing`, () => finishFlow(stage, flow, name))
}
