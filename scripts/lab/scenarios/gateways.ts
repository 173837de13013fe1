/**
 *   a1 --- branch-a ==+== gw1 ==+== branch-b --- b1      acme
 *                     |         |
 *   c1 --- branch-c ==+== gw2 ==+== branch-d --- d1      globex
 *
 * Each edge has a tunnel with each gateway, and flows are shared among them. What an operator does on purpose must cost no packet; a power loss costs
 * what it takes to notice.
 */
import { Load, Transfers } from '../load.ts'
import { wanDevice } from '../network.ts'
import type { Scenario, Stage } from '../scenario.ts'
import { reboot, switchOn } from '../steps.ts'
import { claim } from '../story.ts'
import { addressOf, routerAddress } from '../topology.ts'
import { until } from '../until.ts'

const ENTERPRISES = ['acme', 'globex']
const TRANSFERS = 50
const KILL_BAR_MS = 1000
const SETTLED_MS = 40_000
/** Counters of packets from edges to other edges; they stand still at a gateway that carries nothing. */
const CARRIED = ['from-peer-secure', 'from-peer-clear', 'relayed']
const STILL_MS = 1000
/** Packets. */
const PROOF = 200

export const gateways: Scenario = {
  name: 'gateways',
  about: 'a gateway is added, drained, taken back, killed and removed under load: no planned step loses a packet',
  topology: 'two-gateways',
  later: ['gw2'],
  enterprises: ENTERPRISES,
  async run(stage) {
    const { story, system, count = TRANSFERS } = stage
    const { admin } = system.orchestrator
    for (const enterprise of ENTERPRISES) await switchOn(stage, enterprise)
    const transfers = await story.step(`${count} TCP transfers begin`, () => Transfers.start(stage, ENTERPRISES, count))
    await planned(stage, 'add', 'gw2 is added, and shares the flows', async () => {
      await system.add('gw2')
      await everywhere(stage, 'gw2', 'shares with gw1')
      await carries(stage, 'gw2')
    })
    await planned(stage, 'drain', 'gw1 is drained, and carries nothing', async () => {
      await admin.gateway.drain.mutate({ name: 'gw1', drained: true })
      await everywhere(stage, 'gw1', 'drained')
      await carriesNothing(stage, 'gw1')
    })
    await planned(stage, 'undrain', 'gw1 is taken back', async () => {
      await admin.gateway.drain.mutate({ name: 'gw1', drained: false })
      await everywhere(stage, 'gw1', 'shares with gw2')
      await carries(stage, 'gw1')
    })
    await kill(stage)
    await planned(stage, 'return', 'gw2 comes back, and shares the flows', async () => {
      await powerOn(stage, 'gw2')
      await everywhere(stage, 'gw2', 'shares with gw1')
      await carries(stage, 'gw2')
    })
    await planned(stage, 'remove', 'gw1 is drained and removed', async () => {
      await admin.gateway.drain.mutate({ name: 'gw1', drained: true })
      await everywhere(stage, 'gw1', 'drained')
      await carriesNothing(stage, 'gw1')
      await admin.gateway.remove.mutate({ name: 'gw1' })
      await everywhere(stage, 'gw2', 'the only one')
    })
    await story.step('the TCP transfers end with the right hashes', async () => {
      story.figure('tcp-resets', await transfers.finish(ENTERPRISES), 'resets', 0)
    })
  },
}

/** The emulated guest gets as much as it carries without losing packets by itself. */
function startLoad(stage: Stage): Promise<Load> {
  const native = stage.lab.machine.kind === 'native'
  return Load.start(stage, ENTERPRISES, native ? 4 : 2, native ? 1000 : 200)
}

async function planned(
  { story, ...rest }: Stage,
  name: string,
  title: string,
  body: () => Promise<void>,
): Promise<void> {
  await story.step(title, async () => {
    const load = await startLoad({ story, ...rest })
    await body()
    const { sent, lost, gapMs } = await load.finish()
    story.note(`${sent} packets sent, longest silence of a flow ${gapMs} ms`)
    story.figure(`${name}-lost`, lost, 'packets', 0)
  })
}

/** All at once: links, process, and what the kernel held. */
async function kill(stage: Stage): Promise<void> {
  const { story, lab, system } = stage
  await story.step('gw2 loses power', async () => {
    const load = await startLoad(stage)
    const victim = system.agent('gw2')
    await carries(stage, 'gw2')
    for (const link of victim.node.wan) await lab.run('gw2', ['ip', 'link', 'set', wanDevice(link), 'down'])
    await reboot(stage, victim)
    await everywhere(stage, 'gw1', 'best')
    const { sent, lost, gapMs } = await load.finish()
    story.note(`${lost} of ${sent} packets lost`)
    claim(lost > 0, 'no packet was lost: gw2 carried none')
    story.figure('kill-gap', gapMs, 'ms', KILL_BAR_MS)
  })
}

async function powerOn({ lab, system }: Stage, name: string): Promise<void> {
  const agent = system.agent(name)
  for (const link of agent.node.wan) {
    const device = wanDevice(link)
    const restore = link.addresses.flatMap(address => [
      // IPv6 addresses go with their link, and routes of both families.
      `ip addr replace ${address} dev ${device}${address.includes(':') ? ' nodad' : ''}`,
      `ip route replace default via ${addressOf(routerAddress(address))} dev ${device} metric 100`,
    ])
    await lab.run(name, ['sh', '-ec', [`ip link set ${device} up`, ...restore].join('\n')])
  }
  await agent.start()
  for (const edge of system.edges) await system.connected(edge)
}

/** Waits until every edge says this of the gateway. */
async function everywhere({ system }: Stage, gateway: string, use: string): Promise<void> {
  for (const edge of system.edges)
    await until(`${edge.name} says of ${gateway}: ${use}`, SETTLED_MS, async () => {
      const { peers } = await edge.status()
      if (peers.find(peer => peer.name === gateway)?.use === use) return true
      throw new Error(`it says: ${peers.map(peer => `${peer.name} ${peer.metric}: ${peer.use}`).join(', ')}`)
    })
}

async function carried({ system }: Stage, gateway: string): Promise<number> {
  const { counters } = await system.agent(gateway).drops()
  return CARRIED.reduce((sum, name) => sum + (counters[name] ?? 0), 0)
}

/** Long enough to tell flows from a few packets, and for new ways to be used by all that use them. */
async function carries(stage: Stage, gateway: string): Promise<void> {
  const before = await carried(stage, gateway)
  await until(`${gateway} carries flows`, SETTLED_MS, async () => (await carried(stage, gateway)) > before + PROOF)
}

async function carriesNothing(stage: Stage, gateway: string): Promise<void> {
  let [count, since] = [-1, 0]
  await until(`${gateway} carries nothing`, SETTLED_MS, async () => {
    const now = await carried(stage, gateway)
    if (now !== count) [count, since] = [now, performance.now()]
    return performance.now() - since >= STILL_MS
  })
}
