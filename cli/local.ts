/** `branchline status|routes|drops|rekey`: the agent of this machine, asked over its socket. */
import type { Command } from 'commander'
import type { Drops, RouteRow, Status } from '../schema/agent-api.ts'
import { ask, view } from './ask.ts'
import { megabytes, outputOf, span, table, when } from './output.ts'

export function addLocal(program: Command): void {
  view(program, 'status', 'this node: its peers, paths and health', agent => agent.status.query(), statusText)
  view(
    program,
    'routes',
    'subnets that this node knows, and how they are reached',
    agent => agent.routes.query(),
    routesText,
  )
  view(
    program,
    'drops',
    'dropped packets by reason, other counters, and sampled drops',
    agent => agent.drops.query(),
    dropsText,
  )

  program
    .command('metrics')
    .description('what this agent counts, as Prometheus reads it')
    .action(async (_options: unknown, command: Command) => {
      const text = await ask(command, agent => agent.metrics.query())
      outputOf(command).print({ text }, () => text.trimEnd())
    })

  program
    .command('rekey')
    .description('replace session keys now, with one peer or with all; no packet is lost')
    .argument('[peer]', 'name or id')
    .action(async (peer: string | undefined, _options: unknown, command: Command) => {
      const done = await ask(command, agent => agent.rekey.mutate(peer === undefined ? {} : { peer }))
      outputOf(command).print(done, () =>
        done.peers.length > 0 ? `rekeying ${done.peers.join(', ')}` : 'no peer to rekey',
      )
    })
}

function statusText(status: Status): string {
  const { orchestrator, vpn, grant } = status
  const lines = [
    `${status.name}  ${status.role}  (${status.node})`,
    `agent ${status.version}, process ${status.pid}, up ${span(status.uptimeMs)}, ${megabytes(status.memoryBytes)}, event loop at most ${Math.round(status.loop.maxMs)} ms late, dataplane ${status.adoption}`,
    `kernel ${status.kernel}, ${status.esp ? `ESP, ${status.associations} SAs` : `no ESP: ${status.espReason ?? 'unknown'}; secure traffic is dropped`}`,
    orchestrator
      ? `orchestrator ${orchestrator.url}: ${orchestrator.connected ? 'connected' : 'away, working from the last known state'}, revision ${orchestrator.revision}`
      : 'no orchestrator',
    `grant ${grant.serial}, until ${when(grant.expires * 1000)}${grant.prefixes.length > 0 ? `: ${grant.prefixes.join(', ')}` : ''}`,
    ...(vpn ? [`VPN of ${vpn.enterprise}: ${vpn.enabled ? 'on' : 'off'}, ${vpn.security}`] : []),
    '',
    table(
      ['PEER', 'ROLE', 'ENTERPRISE', 'STATE', 'METRIC', 'USE', 'ESP', 'AGE', 'REKEYS', 'VIRTUAL ADDRESS', 'REASON'],
      status.peers.map(peer => [
        peer.name,
        peer.role,
        peer.enterprise,
        peer.state,
        peer.metric === null ? null : Math.round(peer.metric),
        peer.use,
        peer.esp,
        span(peer.ageMs),
        peer.rekeys,
        peer.virtualAddress,
        peer.reason,
      ]),
      'no peers',
    ),
  ]
  const paths = status.peers.flatMap(peer =>
    peer.paths.map(path => [
      peer.name,
      `${path.path} ${path.link}`,
      path.local,
      path.remote,
      path.mtu,
      path.rttMs === null ? null : `${path.rttMs.toFixed(1)} ms`,
      span(path.idleMs),
      path.txPackets,
      path.rxPackets,
    ]),
  )
  if (paths.length > 0) {
    lines.push('', table(['PEER', 'PATH', 'LOCAL', 'REMOTE', 'MTU', 'RTT', 'IDLE', 'SENT', 'RECEIVED'], paths, ''))
  }
  return lines.join('\n')
}

function routesText(rows: RouteRow[]): string {
  return table(
    ['ENTERPRISE', 'PREFIX', 'REACHABLE', 'SECURITY', 'OWNER', 'VIA', 'SOURCE'],
    rows.map(row => [row.enterprise, row.prefix, row.reachable, row.security, row.owner, row.via, row.source]),
    'no routes',
  )
}

function dropsText({ drops, counters, samples }: Drops): string {
  const nonzero = (counts: Record<string, number>) =>
    Object.entries(counts)
      .filter(([, count]) => count > 0)
      .toSorted(([, a], [, b]) => b - a)
  return [
    table(['DROPPED BECAUSE', 'PACKETS'], nonzero(drops), 'nothing was dropped'),
    '',
    table(['COUNTER', 'PACKETS'], nonzero(counters), 'nothing was counted'),
    ...(samples.length > 0
      ? [
          '',
          table(
            ['TIME', 'REASON', 'DEVICE', 'FROM', 'TO', 'BYTES'],
            samples.slice(0, 20).map(row => [when(row.time), row.reason, row.device, row.from, row.to, row.length]),
            '',
          ),
        ]
      : []),
  ].join('\n')
}
