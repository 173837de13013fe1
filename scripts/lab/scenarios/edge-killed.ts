/**
 *   a1 --- branch-a === gw1 =x= branch-b (cut off, agent killed)
 *
 * Detection is the gateway's event `edge-lost`; from then on the peer edge's VRF must lose the prefixes.
 */

import { wanDevice } from '../network.ts'
import type { Scenario } from '../scenario.ts'
import { switchOn } from '../steps.ts'
import { claim } from '../story.ts'
import { lanPrefixes } from '../topology.ts'
import { until } from '../until.ts'

const GONE_BAR_MS = 1000

export const edgeKilled: Scenario = {
  name: 'edge-killed',
  about: "an edge dies with its links: its prefixes leave the peer edge's VRF within a second of detection",
  enterprises: ['acme'],
  async run(stage) {
    const { story, lab, system } = stage
    const [dead, peer, gateway] = [system.agent('branch-b'), system.agent('branch-a'), system.agent('gw1')]
    await switchOn(stage, 'acme')
    const prefixes = dead.node.kind === 'edge' ? lanPrefixes(dead.node) : []
    const reachable = async () => (await peer.routes()).filter(row => prefixes.includes(row.prefix) && row.reachable)
    claim((await reachable()).length === prefixes.length, `branch-a does not have ${prefixes.join(' and ')}`)
    const gone = await story.step('branch-b: links cut, agent killed', async () => {
      for (const link of dead.node.wan) await lab.run(dead.name, ['ip', 'link', 'set', wanDevice(link), 'down'])
      await dead.kill('KILL')
      // On the machine, whose clock the gateway's events are on.
      return lab.run(peer.name, ['sh', '-c', peer.watchScript(prefixes)])
    })
    await story.step('its prefixes left the VRF of branch-a', async () => {
      const event = await until('gw1 reports edge-lost', 30_000, async () =>
        (await gateway.events()).find(each => each.code === 'edge-lost' && each.message.includes(dead.name)),
      )
      const left = await reachable()
      claim(left.length === 0, `still reachable: ${left.map(row => row.prefix).join(', ')}`)
      story.note(`gw1: ${event.message}`)
      story.figure('detected-to-withdrawn', Math.max(0, Number(gone) - event.time), 'ms', GONE_BAR_MS)
    })
  },
}
