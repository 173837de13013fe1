/** `branchline services`: the service chains of this gateway, who serves them, and each instance. */
import type { Command } from 'commander'
import type { ServicesReport } from '../schema/agent-api.ts'
import { ask } from './ask.ts'
import { outputOf, span, table } from './output.ts'

export function addServices(program: Command): void {
  const services = program.command('services').description('the service chains of this gateway, and who serves them')
  services
    .command('chains', { isDefault: true })
    .description('all of it: chains, their pools and instances')
    .action(async (_options: unknown, command: Command) => {
      const report = await ask(command, agent => agent.services.query())
      outputOf(command).print(report, () => servicesText(report))
    })
  services
    .command('pool')
    .description('instances by function and enterprise: wanted, ready, load')
    .action(async (_options: unknown, command: Command) => {
      const { pools } = await ask(command, agent => agent.services.query())
      outputOf(command).print(pools, () => poolsText(pools))
    })
  services
    .command('instances')
    .description('every instance: state, load, where it runs')
    .action(async (_options: unknown, command: Command) => {
      const { instances } = await ask(command, agent => agent.services.query())
      outputOf(command).print(instances, () => instancesText(instances))
    })
}

export function servicesText({ chains, pools, instances }: ServicesReport): string {
  const rows = chains.map(({ enterprise, name, path, functions, secure, retired }) => [
    enterprise,
    name,
    path,
    functions.join(' > '),
    secure ? 'esp' : 'clear',
    retired ? 'old connections' : 'in use',
  ])
  return [
    table(['ENTERPRISE', 'CHAIN', 'PATH', 'FUNCTIONS', 'SECURITY', 'STATE'], rows, 'no service chains'),
    ...(pools.length > 0 ? ['', poolsText(pools)] : []),
    ...(instances.length > 0 ? ['', instancesText(instances)] : []),
  ].join('\n')
}

function poolsText(pools: ServicesReport['pools']): string {
  return table(
    [
      'FUNCTION',
      'ENTERPRISE',
      'BALANCE',
      'WANTED',
      'WARM',
      'READY',
      'STARTING',
      'DRAINING',
      'DEAD',
      'CONNECTIONS',
      'MB/S',
      'PROBLEM',
    ],
    pools.map(row => [
      row.function,
      row.enterprise,
      row.balance,
      row.wanted,
      row.warm,
      row.ready,
      row.starting,
      row.draining,
      row.dead,
      row.connections,
      megabytesASecond(row.mbps),
      row.problem === null ? null : `${row.problem}; again in ${span(row.retryMs ?? 0)}`,
    ]),
    'no function is in use',
  )
}

function instancesText(instances: ServicesReport['instances']): string {
  return table(
    [
      'INSTANCE',
      'ENTERPRISE',
      'STATE',
      'SINCE',
      'ADAPTERS',
      'CONNECTIONS',
      'MB/S',
      'LOAD',
      'ADDRESSES',
      'WHERE',
      'REASON',
    ],
    instances.map(row => [
      row.name,
      row.enterprise,
      row.state,
      span(row.forMs),
      row.adapters,
      row.connections,
      megabytesASecond(row.mbps),
      `${((100 * row.mbps) / row.capacityMbps).toFixed(0)} %`,
      row.nat.join(' '),
      row.where,
      row.reason,
    ]),
    'no instances',
  )
}

const megabytesASecond = (mbps: number) => (mbps / 8).toFixed(2)
