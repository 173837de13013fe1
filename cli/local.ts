/** `branchline status|routes|drops|rekey`: the agent of this machine, asked over its socket. */
import { setTimeout as delay } from 'node:timers/promises'
import { TRPCClientError } from '@trpc/client'
import { type Command, Option } from 'commander'
import { type AgentClient, agentClient } from '../agent/api.ts'
import type { Drops, RouteRow, Status } from '../schema/agent-api.ts'
import { CliError, EXIT } from './error.ts'
import { type GlobalOptions, megabytes, outputOf, span, table, when } from './output.ts'
import { positiveInteger } from './parse.ts'

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

function view<T>(
  program: Command,
  name: string,
  description: string,
  query: (agent: AgentClient) => Promise<T>,
  text: (value: T) => string,
): void {
  program
    .command(name)
    .description(description)
    .addOption(new Option('--watch [seconds]', 'again and again').preset('2').argParser(positiveInteger))
    .addHelpText(
      'after',
      `\nExamples:\n  branchline ${name}\n  branchline ${name} --watch 1\n  branchline ${name} --json`,
    )
    .action(async (options: { watch?: number }, command: Command) => {
      const output = outputOf(command)
      for (;;) {
        const value = await ask(command, query)
        output.print(value, () => (options.watch && process.stdout.isTTY ? `\x1b[2J\x1b[H${text(value)}` : text(value)))
        if (!options.watch) return
        await delay(options.watch * 1000)
      }
    })
}

/** @throws CliError (3) when no agent answers */
async function ask<T>(command: Command, query: (agent: AgentClient) => Promise<T>): Promise<T> {
  const { socket = '' } = command.optsWithGlobals<GlobalOptions>()
  try {
    return await query(agentClient(socket))
  } catch (error) {
    if (!(error instanceof TRPCClientError)) throw error
    const { cause } = error
    const code = cause && 'code' in cause ? String(cause.code) : ''
    if (code === 'ENOENT' || code === 'ECONNREFUSED') {
      throw new CliError(
        `no agent listens on ${socket}; start it with 'branchline agent run', or give --socket`,
        EXIT.unreachable,
        { cause },
      )
    }
    if (code === 'EACCES')
      throw new CliError(`${socket} belongs to another user; use the agent's (mostly root)`, EXIT.unreachable, {
        cause,
      })
    // Without a shape the answer did not come from the agent's procedures.
    throw new CliError(error.message, error.shape ? EXIT.failed : EXIT.unreachable, { cause: error })
  }
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
