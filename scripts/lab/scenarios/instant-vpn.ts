/**
 *   a1 --- branch-a ===== inet ===== gw1 ===== inet ===== branch-b --- b1
 *
 * The tunnels are up before the toggle, so the toggle moves routes only.
 */
import { Capture } from '../capture.ts'
import { Probe } from '../probe.ts'
import type { Scenario, Stage } from '../scenario.ts'
import { CHANGE_DEADLINE_MS } from '../steps.ts'
import { claim } from '../story.ts'
import { hostAddress, ping, TcpTransfer } from '../traffic.ts'
import { until } from '../until.ts'

const CANARY = 'branchline-canary-3f9a1c'
const TOGGLES = 20
/** Where the nodes are emulated the figure says little about the product. */
const NATIVE_BAR_MS = 250

export const instantVpn: Scenario = {
  name: 'instant-vpn',
  about: 'one toggle connects two branches; the WAN carries UDP 2426 alone; the tunnels never go',
  enterprises: ['acme'],
  async run(stage) {
    const { story, lab, system } = stage
    const before = await story.step('VPN off: a1 does not reach b1, and the drop has a reason', () =>
      unreachable(stage),
    )
    const capture = await story.step('a capture starts in the WAN', () => Capture.start(lab, 'inet'))
    await story.step('toggle on: a1 reaches b1', async () => {
      await system.vpn('acme', true)
      await until('a1 reaches b1', CHANGE_DEADLINE_MS, async () => (await ping(lab, 'a1', 'b1', 4, 1)) === 1)
      await reachable(stage)
    })
    await story.step('a text crosses by TCP, over IPv4 and IPv6', async () => {
      const source = `yes ${CANARY} | head -n 2000`
      for (const family of [4, 6] as const) {
        const transfer = await TcpTransfer.start(lab, { from: 'a1', to: 'b1', family, port: 7000 + family, source })
        await transfer.finish(60_000)
      }
    })
    await story.step('the WAN saw UDP 2426 alone', () => inspect(stage, capture))
    await story.step('toggle off: a1 does not reach b1 again, every tunnel is still there', async () => {
      await system.vpn('acme', false)
      await until('a1 does not reach b1', CHANGE_DEADLINE_MS, async () => (await ping(lab, 'a1', 'b1', 4, 1)) === 0)
      const after = await unreachable(stage)
      claim(after === before, `${before} tunnels' ends before, ${after} after`)
    })
    await story.step(`toggle to first answered packet, ${stage.count ?? TOGGLES} times`, () => measure(stage))
  },
}

/** @returns SAs with ESP, sessions without, of all nodes; once no session is being replaced */
async function tunnels({ system, lab }: Stage): Promise<number> {
  await until('each tunnel has one session', CHANGE_DEADLINE_MS, async () => {
    const statuses = await Promise.all(system.agents.map(agent => agent.status()))
    return statuses.flatMap(({ peers }) => peers).every(peer => peer.sessions === 1)
  })
  const all = await Promise.all(system.agents.map(agent => agent.status()))
  const count = all.reduce(
    (sum, { associations, peers }) =>
      sum + (lab.security === 'esp' ? associations : peers.reduce((each, peer) => each + peer.sessions, 0)),
    0,
  )
  claim(count > 0, 'there is no tunnel')
  return count
}

async function unreachable(stage: Stage): Promise<number> {
  const { story, lab, system } = stage
  const edge = system.agent('branch-a')
  const { drops: before } = await edge.drops()
  for (const family of [4, 6] as const) {
    const answers = await ping(lab, 'a1', 'b1', family)
    claim(answers === 0, `b1 answered ${answers} times over IPv${family}`)
  }
  const { drops: after } = await edge.drops()
  const counted = Object.entries(after).flatMap(([reason, count]) => {
    const more = count - (before[reason] ?? 0)
    return more > 0 ? [{ reason, more }] : []
  })
  story.note(`branch-a counted ${counted.map(({ reason, more }) => `${more} x ${reason}`).join(', ') || 'nothing'}`)
  claim(
    counted.some(({ reason, more }) => (reason === 'unreachable' || reason === 'no-route') && more >= 2),
    'branch-a counted no drop as unreachable or no-route',
  )
  const count = await tunnels(stage)
  story.note(`${count} ${lab.security === 'esp' ? 'security associations' : 'sessions'} stand ready`)
  return count
}

async function reachable({ lab, story }: Stage): Promise<void> {
  for (const family of [4, 6] as const) {
    const answers = await ping(lab, 'a1', 'b1', family, 5)
    claim(answers === 5, `b1 answered ${answers} of 5 over IPv${family}`)
    story.note(`IPv${family}: b1 answered ${answers} of 5`)
  }
}

async function inspect({ story, lab }: Stage, capture: Capture): Promise<void> {
  const { packets, matches, strangers } = await capture.stop(CANARY)
  story.note(`${packets.mp} packets on UDP 2426, ${packets.neighbour} of neighbour discovery, ${packets.other} others`)
  claim(packets.mp > 100, 'the capture is too small to prove anything')
  story.figure('other-packets-on-wan', packets.other, 'packets', 0)
  if (strangers.length > 0) story.note(`others begin: ${strangers.join(' ')}`)
  if (lab.security === 'esp') story.figure('packets-with-canary', matches, 'packets', 0)
  else {
    // The control: the same search finds the text where nothing encrypts it.
    claim(matches > 0, 'the segment is clear, yet the canary was not found: the search is blind')
    story.note(`the segment is clear, so the text is readable in ${matches} packets`)
  }
}

async function measure({ story, lab, system, count }: Stage): Promise<void> {
  const probe = await Probe.start(lab, { from: 'a1', to: 'b1', address: hostAddress(lab, 'b1', 4) })
  const times: number[] = []
  for (let turn = 0; turn < (count ?? TOGGLES); turn++) {
    await probe.becomes('silent', CHANGE_DEADLINE_MS)
    const begin = performance.now()
    await system.vpn('acme', true)
    times.push((await probe.becomes('answered', CHANGE_DEADLINE_MS)) - begin)
    await system.vpn('acme', false)
  }
  await probe.stop()
  times.sort((a, b) => a - b)
  const rounded = times.map(Math.round)
  story.note(`ms: ${rounded.join(' ')}`)
  const median = rounded[Math.floor(rounded.length / 2)] ?? Number.NaN
  story.figure('toggle-to-answer-median', median, 'ms', lab.machine.kind === 'native' ? NATIVE_BAR_MS : null)
}
