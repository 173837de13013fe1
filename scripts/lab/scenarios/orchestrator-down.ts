/** The orchestrator holds the intent and no traffic: without it nothing can be changed, and nothing stops. */
import type { Scenario } from '../scenario.ts'
import { finishFlow, reboot, startFlow, switchOn } from '../steps.ts'
import { claim } from '../story.ts'
import { ping } from '../traffic.ts'
import { until } from '../until.ts'

export const orchestratorDown: Scenario = {
  name: 'orchestrator-down',
  about: 'without the orchestrator a toggle fails, traffic goes on, and a rebooted edge comes back by itself',
  enterprises: ['acme'],
  async run(stage) {
    const { story, lab, system } = stage
    const edge = system.agent('branch-a')
    await switchOn(stage, 'acme')
    const flow = await startFlow(stage)
    await story.step('the orchestrator is stopped', async () => {
      await system.orchestrator.kill('TERM')
      await until('branch-a notices', 20_000, async () => (await edge.status()).orchestrator?.connected === false)
    })
    await story.step('a toggle fails and says why', async () => {
      const { code, stderr } = await system.command('vpn', 'off', 'acme')
      story.note(stderr.trim())
      claim(code === 3, `exit code ${code}, not 3`)
      claim(stderr.includes('cannot reach the orchestrator'), 'the error does not say that it cannot be reached')
    })
    await story.step('traffic is untouched', () => finishFlow(stage, flow, 'orchestrator-down'))
    await story.step('branch-a reboots and comes back from its own state', async () => {
      await reboot(stage, edge)
      claim((await ping(lab, 'a1', 'b1', 4, 1)) === 0, 'traffic flows although branch-a has no state')
      await edge.start()
      await system.connected(edge)
      await until('a1 reaches b1', 20_000, async () => (await ping(lab, 'a1', 'b1', 4, 1)) === 1)
      claim((await edge.status()).orchestrator?.connected === false, 'the orchestrator was there')
    })
    await story.step('the orchestrator comes back and is obeyed', async () => {
      await system.orchestrator.start()
      await system.vpn('acme', false)
      await until('the VPN is off', 60_000, async () => (await ping(lab, 'a1', 'b1', 4, 1)) === 0)
    })
  },
}
