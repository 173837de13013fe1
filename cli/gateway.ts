/** `branchline gateway list|add|endpoints|assign|unassign|drain|undrain|remove` */
import type { Command } from 'commander'
import { type Answers, withAdmin } from './admin.ts'
import { keyText } from './node.ts'
import { outputOf, table } from './output.ts'
import { collect, duration, type HostPort, parseHostPort, parseLocation, positiveInteger } from './parse.ts'

const MP_PORT = 2426

export function addGateway(program: Command): void {
  const noun = program.command('gateway').description('where gateways are, whom they serve, and how one is taken out')
  addList(noun)
  addAdd(noun)
  addEndpoints(noun)
  addAssign(noun)
  addDrain(noun)
  addRemove(noun)
}

const at = ({ address, port }: { address: string; port: number }) =>
  address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`

function gatewayTable(rows: Answers['gateway']['list']): string {
  return table(
    ['GATEWAY', 'STATUS', 'DRAINED', 'EDGES', 'IN USE BY', 'SERVES', 'LOCATION', 'ENDPOINTS'],
    rows.map(row => [
      row.name,
      row.status,
      row.drained,
      row.edges,
      row.inUseBy,
      row.enterprise ?? (row.assignments.map(each => `${each.enterprise} (${each.metric})`).join(', ') || 'all'),
      row.location && `${row.location.latitude}, ${row.location.longitude}`,
      row.endpoints.map(at).join(' '),
    ]),
    "no gateways; make one with 'branchline gateway add <gateway>'",
  )
}

function addList(noun: Command): void {
  noun
    .command('list')
    .description('all gateways: edges that are connected, and edges that send flows over them')
    .action(async (_options: unknown, command: Command) => {
      const rows = await withAdmin(command, admin => admin.gateway.list.query())
      outputOf(command).print(rows, () => gatewayTable(rows))
    })
}

interface AddOptions {
  endpoint?: HostPort[]
  enterprise?: string
  location?: { latitude: number; longitude: number }
  keyLifetime?: number
}

function addAdd(noun: Command): void {
  noun
    .command('add')
    .description('a new gateway; prints the one-time key that activates it. Edges use it as soon as it runs')
    .argument('<name>')
    .option(
      '--endpoint <host:port>',
      `where edges reach it, port ${MP_PORT} unless given; repeatable`,
      collect(text => parseHostPort(text, MP_PORT)),
    )
    .option('--enterprise <enterprise>', 'whose it is, and which it serves alone')
    .option('--location <latitude,longitude>', 'in degrees, like 50.11,8.68', parseLocation)
    .option('--key-lifetime <time>', 'of the activation key: 30min, 12h, 7d', duration)
    .addHelpText('after', '\nExample:\n  branchline gateway add gw2 --endpoint 192.0.2.2 --location 50.11,8.68')
    .action(async (name: string, options: AddOptions, command: Command) => {
      const made = await withAdmin(command, admin =>
        admin.node.create.mutate({
          name,
          role: 'gateway',
          enterprise: options.enterprise,
          endpoints: (options.endpoint ?? []).map(({ host, port }) => ({ address: host, port })),
          location: options.location,
          keyLifetimeS: options.keyLifetime,
        }),
      )
      outputOf(command).print(made, () => [`gateway ${name} created  (${made.id})`, ...keyText(name, made)].join('\n'))
    })
}

function addEndpoints(noun: Command): void {
  noun
    .command('endpoints')
    .description('replace the addresses at which edges reach a gateway, best first; none takes it out of service')
    .argument('<gateway>')
    .argument('[host:port...]')
    .addHelpText('after', "\nExample:\n  branchline gateway endpoints gw1 192.0.2.1 '[2001:db8::1]:2426'")
    .action(async (name: string, texts: string[], _options: unknown, command: Command) => {
      const endpoints = texts
        .map(text => parseHostPort(text, MP_PORT))
        .map(({ host, port }) => ({ address: host, port }))
      await withAdmin(command, admin => admin.gateway.endpoints.mutate({ name, endpoints }))
      outputOf(command).print(
        { name, endpoints },
        () => `gateway ${name}: ${texts.length > 0 ? texts.join(', ') : 'no endpoint'}`,
      )
    })
}

function addAssign(noun: Command): void {
  noun
    .command('assign')
    .description('let an enterprise use this gateway, and only those assigned to it')
    .argument('<enterprise>')
    .argument('<gateway>')
    .option(
      '--metric <number>',
      'smaller is preferred; counts as much as so many ms of round trip',
      positiveInteger,
      100,
    )
    .action(async (enterprise: string, gateway: string, { metric }: { metric: number }, command: Command) => {
      await withAdmin(command, admin => admin.gateway.assign.mutate({ enterprise, gateway, metric }))
      outputOf(command).print(
        { enterprise, gateway, metric },
        () => `${gateway} serves ${enterprise} with metric ${metric}`,
      )
    })

  noun
    .command('unassign')
    .description('take an assignment away; an enterprise without any uses every gateway')
    .argument('<enterprise>')
    .argument('<gateway>')
    .action(async (enterprise: string, gateway: string, _options: unknown, command: Command) => {
      await withAdmin(command, admin => admin.gateway.assign.mutate({ enterprise, gateway, metric: null }))
      outputOf(command).print(
        { enterprise, gateway, metric: null },
        () => `${gateway} is no longer assigned to ${enterprise}`,
      )
    })
}

function addDrain(noun: Command): void {
  for (const [verb, drained, text, done] of [
    ['drain', true, 'have all flows leave a gateway for others, losing nothing', 'flows leave it for other gateways'],
    ['undrain', false, 'let a drained gateway carry flows again', 'it carries flows again'],
  ] as const) {
    noun
      .command(verb)
      .description(text)
      .argument('<gateway>')
      .action(async (name: string, _options: unknown, command: Command) => {
        const { changed } = await withAdmin(command, admin => admin.gateway.drain.mutate({ name, drained }))
        outputOf(command).print({ name, drained, changed }, () =>
          changed ? `gateway ${name}: ${done}` : `gateway ${name}: it was ${drained ? '' : 'not '}drained already`,
        )
      })
  }
}

function addRemove(noun: Command): void {
  noun
    .command('remove')
    .description('forget a drained gateway; its tunnels end')
    .argument('<gateway>')
    .option('--now', 'also one that flows use: what is under way is lost', false)
    .action(async (name: string, { now }: { now: boolean }, command: Command) => {
      await withAdmin(command, admin => admin.gateway.remove.mutate({ name, now }))
      outputOf(command).print({ removed: name }, () => `gateway ${name} removed`)
    })
}
