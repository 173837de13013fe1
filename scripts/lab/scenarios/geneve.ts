/**
 *   a1 === gw1 -> appliance -> nat -> web
 *
 * The appliance is a machine of its own behind the WAN and speaks Geneve, as AWS Gateway Load Balancer and its appliances do.
 */
import { Appliance } from '../appliance.ts'
import { Flow } from '../flow.ts'
import { inNamespace, remote, steerToInternet, withFunctions } from '../functions.ts'
import type { Scenario, Stage } from '../scenario.ts'
import { switchOn } from '../steps.ts'
import { claim } from '../story.ts'
import { hostAddress } from '../traffic.ts'
import { until } from '../until.ts'
import { Web } from '../web.ts'

const INSTANCES_DEADLINE_MS = 120_000
const FORGED = 100_000
const PORT = 7800

const configure = withFunctions(
  remote('inspect', { kind: 'geneve', interface: 'wan-inet', local: ['198.51.100.2'] }, [
    { name: 'appliance', addresses: ['198.51.100.6'] },
  ]),
  inNamespace('nat', { nat: true }),
)

export const geneve: Scenario = {
  name: 'geneve',
  about:
    'an appliance behind the WAN, reached by Geneve as AWS has it: one cookie for both directions of every connection',
  topology: 'service-chains',
  enterprises: ['acme'],
  configure,
  async run(stage) {
    const { story } = stage
    const { web, appliance } = await throughAppliance(stage)
    await story.step('10 MB arrive as they are, over IPv4 and IPv6', async () => {
      for (const family of [4, 6] as const) await web.getClean('a1', family)
    })
    await story.step('the appliance understood every packet', async () => {
      const { packets, flows, bad, asymmetric } = await appliance.finish()
      story.note(`${packets} packets of ${flows} flows`)
      claim(flows >= 2, `${flows} flows came to the appliance`)
      story.figure('bad-headers', bad, 'packets', 0)
      story.figure('cookies-asymmetric', asymmetric, 'packets', 0)
    })
  },
}

export const forged: Scenario = {
  name: 'forged',
  about:
    'a hundred thousand answers to the gateway with other cookies, endpoints and attachments, or cut short: none goes on',
  topology: 'service-chains',
  enterprises: ['acme'],
  configure,
  async run(stage) {
    const { story, lab, system } = stage
    const { appliance } = await throughAppliance(stage)
    const gateway = system.agent('gw1')
    const refused = async () => (await gateway.drops()).drops['chain-tag'] ?? 0
    await story.step(`${FORGED} forgeries of a flow that goes on`, async () => {
      const before = await refused()
      const common = { from: 'a1', to: 'web', address: hostAddress(lab, 'web', 4), port: PORT, tag: 'a1-web' }
      const flow = await Flow.start(lab, { ...common, pps: 100 })
      await appliance.forge()
      const { received, lost, duplicated, foreign } = await flow.finish()
      claim(received > 0, 'nothing of the flow itself arrived')
      // A forgery is a copy of a packet that went on already, or it is not to be told from anything.
      story.figure('forgeries-forwarded', duplicated + foreign, 'packets', 0)
      story.figure('flow-lost', lost, 'packets', null)
      story.note(`gw1 counted ${(await refused()) - before} x chain-tag`)
      const { forged: sent } = await appliance.finish()
      claim(sent === FORGED, `${sent} forgeries were sent`)
    })
  },
}

async function throughAppliance(stage: Stage): Promise<{ web: Web; appliance: Appliance }> {
  const { story, lab, system } = stage
  const web = await Web.start(lab)
  const appliance = await Appliance.start(lab)
  // As a network card does: on a veth checksums would stay unfinished, and the appliance, a process, would read inner packets that nobody takes.
  await lab.run('gw1', ['ethtool', '-K', 'wan-inet', 'tx', 'off'])
  await switchOn(stage, 'acme')
  await story.step('a1 reaches web through the appliance and nat', async () => {
    await steerToInternet(system, { enterprise: 'acme', functions: ['inspect', 'nat'] })
    for (const family of [4, 6] as const)
      await until(`a1 reaches web over IPv${family}`, INSTANCES_DEADLINE_MS, () => web.answers('a1', family))
  })
  return { web, appliance }
}
