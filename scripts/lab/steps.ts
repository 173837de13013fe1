/** Steps and small experiments that several stories share. */
import type { AgentConfigInput } from '../../agent/config.ts'
import type { Agent } from './agent.ts'
import { Flow } from './flow.ts'
import type { Stage } from './scenario.ts'
import { claim } from './story.ts'
import { hostAddress, ping } from './traffic.ts'
import { until } from './until.ts'

export const CHANGE_DEADLINE_MS = 15_000

/** Hosts that a toggle joins. */
export const PAIRS: Readonly<Record<string, readonly [string, string]>> = { acme: ['a1', 'b1'], globex: ['c1', 'd1'] }

/** Switches the VPN on and waits until the enterprise's hosts reach each other over both families. */
export async function switchOn({ story, lab, system }: Stage, enterprise: string): Promise<void> {
  await story.step(`${enterprise}: VPN on`, async () => {
    await system.vpn(enterprise, true)
    for (const family of [4, 6] as const)
      await until(`the hosts of ${enterprise} reach each other`, CHANGE_DEADLINE_MS, async () => {
        const [one = '', other = ''] = PAIRS[enterprise] ?? []
        return (await ping(lab, one, other, family, 1)) === 1 && (await ping(lab, other, one, family, 1)) === 1
      })
  })
}

/** A flow whose losses can be explained: what every node had dropped before it. */
export interface WatchedFlow {
  readonly flow: Flow
  readonly before: DropTable
}

/** A flow from a1 to b1, without end. The emulated guest gets as much as it carries without losing packets by itself. */
export async function startFlow(stage: Stage): Promise<WatchedFlow> {
  const { lab } = stage
  const before = await dropTable(stage)
  const common = { from: 'a1', to: 'b1', address: hostAddress(lab, 'b1', 4), port: 7200, tag: 'a1-b1' }
  return { flow: await Flow.start(lab, { ...common, pps: flowRate(stage) }), before }
}

/** `gw1 mp-replay` -> packets, without zeros */
type DropTable = ReadonlyMap<string, number>

async function dropTable({ system }: Stage): Promise<DropTable> {
  const rows = await Promise.all(
    system.agents.map(async agent =>
      Object.entries((await agent.drops()).drops).map(([reason, count]) => [`${agent.name} ${reason}`, count] as const),
    ),
  )
  return new Map(rows.flat().filter(([, count]) => count > 0))
}

/** Packets per second. */
export function flowRate({ lab }: Stage): number {
  return lab.machine.kind === 'native' ? 1000 : 500
}

/** What a reset or a reboot takes: the process, its pins, snapshot, devices, SAs and rules. Identity and last known state stay. */
export async function reboot({ lab }: Stage, agent: Agent): Promise<void> {
  await agent.kill('KILL')
  const script = `rm -rf ${agent.pins} ${agent.runDir}
    ip link del mp0
    if ip link show ipsec0 >/dev/null 2>&1; then ip link del ipsec0; ip xfrm state flush; ip xfrm policy flush; fi
    for family in -4 -6; do while ip $family rule del priority 2426 2>/dev/null; do :; done; done
    ip route flush table 2426 2>/dev/null || true`
  await lab.run(agent.name, ['sh', '-ec', script])
}

/** The link was heard so lately that it answers. */
const HEARD_MS = 1000
const SETTLE_DEADLINE_MS = 60_000

/**
 * Agents that do not remember which paths failed: one that fails often is trusted less and less, which is another story. Resolves when the renewed
 * sessions stand alone and branch-a and gw1 hear each other on every path. @param changes of their configuration, by name
 */
export async function forgetFaults(
  { system }: Stage,
  changes: Readonly<Record<string, Partial<AgentConfigInput>>> = {},
): Promise<void> {
  const ends = ['gw1', 'branch-a'].map(name => system.agent(name))
  for (const agent of ends) {
    await agent.kill('TERM')
    await agent.start(changes[agent.name])
  }
  await until('every path is heard again', SETTLE_DEADLINE_MS, async () => {
    const statuses = await Promise.all(ends.map(agent => agent.status()))
    for (const { name, peers } of statuses)
      for (const { name: peer, state, sessions, paths } of peers) {
        claim(state === 'up' && sessions === 1, `${name}: ${peer} is ${state}, with ${sessions} sessions`)
        for (const { link, idleMs } of paths)
          claim(idleMs !== null && idleMs < HEARD_MS, `${name}: ${peer} by ${link} is silent for ${idleMs} ms`)
      }
    return true
  })
}

/** Resolves when branch-a and gw1 hold nothing against any path between them. */
export async function pathsGood({ system }: Stage): Promise<void> {
  await until('every path is good again', SETTLE_DEADLINE_MS, async () => {
    for (const name of ['gw1', 'branch-a'])
      for (const { peer, link, condition, reason } of await system.agent(name).paths())
        claim(condition === 'good', `${name}: ${peer} by ${link} is ${condition}: ${reason}`)
    return true
  })
}

/** Ends the flow and adds its figures: what was lost must be nothing. Every agent must run. */
export async function finishFlow(stage: Stage, { flow, before }: WatchedFlow, name: string): Promise<void> {
  const { story } = stage
  const { sent, lost, duplicated, reordered, longestGapMs } = await flow.finish()
  story.note(
    `${sent} packets sent, ${duplicated} doubled, ${reordered} out of order, longest silence ${longestGapMs} ms`,
  )
  if (lost > 0) {
    const more = [...(await dropTable(stage))].map(([what, count]) => [what, count - (before.get(what) ?? 0)] as const)
    const counted = more.filter(([, count]) => count > 0).map(([what, count]) => `${what} ${count}`)
    story.note(`counted drops meanwhile: ${counted.join(', ') || 'none'}`)
  }
  story.figure(`${name}-lost`, lost, 'packets', 0)
}
