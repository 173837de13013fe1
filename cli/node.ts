/** `branchline node list|show|create|location|key|revoke|delete` */
import { type Command, Option } from 'commander'
import { type Answers, withAdmin } from './admin.ts'
import { outputOf, table, when } from './output.ts'
import { collect, duration, type HostPort, parseHostPort, parseLocation } from './parse.ts'

const MP_PORT = 2426

export function nodeTable(rows: Answers['node']['list']): string {
  return table(
    ['NODE', 'ROLE', 'STATUS', 'ENTERPRISE', 'REVISION', 'GRANT', 'GRANT EXPIRES'],
    rows.map(row => [
      row.name,
      row.role,
      row.status,
      row.enterprise,
      row.revision,
      row.grantSerial,
      row.grantExpires ? when(row.grantExpires) : null,
    ]),
    "no nodes; make one with 'branchline node create <name>'",
  )
}

export function keyText(name: string, made: { activationKey: string; activationExpires: string }): string[] {
  return [
    `activation key of ${name}, good once until ${when(made.activationExpires)}, shown only now:`,
    '',
    `  ${made.activationKey}`,
    '',
    `on the machine itself: branchline agent activate --url <this orchestrator> ${made.activationKey.slice(0, 8)}...`,
  ]
}

interface CreateOptions {
  role: 'edge' | 'gateway'
  enterprise?: string
  subnet?: string[]
  endpoint?: HostPort[]
  id?: string
  location?: { latitude: number; longitude: number }
  keyLifetime?: number
}

export function addNode(program: Command): void {
  const noun = program.command('node').description('edges and gateways')
  noun
    .command('list')
    .description('all nodes')
    .option('--enterprise <enterprise>', 'of one enterprise')
    .addOption(new Option('--role <role>').choices(['edge', 'gateway']))
    .action(async (options: { enterprise?: string; role?: 'edge' | 'gateway' }, command: Command) => {
      const rows = await withAdmin(command, admin => admin.node.list.query(options))
      outputOf(command).print(rows, () => nodeTable(rows))
    })

  noun
    .command('show')
    .description('one node: status, grant, subnets or endpoints')
    .argument('<node>')
    .action(async (name: string, _options: unknown, command: Command) => {
      const row = await withAdmin(command, admin => admin.node.show.query({ name }))
      outputOf(command).print(row, () =>
        [
          `${row.name}  (${row.id})`,
          `${row.role}${row.enterprise ? ` of ${row.enterprise}` : ''}, ${row.status}${row.openKeys > 0 ? ', activation key not used yet' : ''}`,
          ...(row.location ? [`at ${row.location.latitude}, ${row.location.longitude}`] : []),
          row.grantExpires ? `grant ${row.grantSerial}, until ${when(row.grantExpires)}` : 'no grant yet',
          ...row.subnets.map(subnet => `subnet ${subnet.prefix}${subnet.enabled ? '' : ' (kept out of the VPN)'}`),
          ...row.endpoints.map(
            at => `endpoint ${at.address.includes(':') ? `[${at.address}]` : at.address}:${at.port}`,
          ),
        ].join('\n'),
      )
    })

  noun
    .command('create')
    .description('a new node; prints the one-time key that activates it')
    .argument('<node>')
    .addOption(new Option('--role <role>').choices(['edge', 'gateway']).default('edge'))
    .option('--enterprise <enterprise>', 'whose it is; edges need one, gateways without one serve all')
    .option('--subnet <prefix>', 'that an edge may announce; repeatable', collect(String))
    .option(
      '--endpoint <host:port>',
      `where edges reach a gateway, port ${MP_PORT} unless given; repeatable`,
      collect(text => parseHostPort(text, MP_PORT)),
    )
    .option('--location <latitude,longitude>', 'in degrees: edges prefer near gateways', parseLocation)
    .option('--id <uuid>', 'its id; chosen when not given')
    .option('--key-lifetime <time>', 'of the activation key: 30min, 12h, 7d', duration)
    .addHelpText(
      'after',
      `
Examples:
  branchline node create edge-a --enterprise acme --subnet 10.1.0.0/24 --subnet 2001:db8:1::/48
  branchline node create gw1 --role gateway --endpoint 192.0.2.1 --endpoint '[2001:db8::1]:2426'`,
    )
    .action(async (name: string, options: CreateOptions, command: Command) => {
      const made = await withAdmin(command, admin =>
        admin.node.create.mutate({
          name,
          id: options.id,
          role: options.role,
          enterprise: options.enterprise,
          subnets: options.subnet ?? [],
          endpoints: (options.endpoint ?? []).map(({ host, port }) => ({ address: host, port })),
          location: options.location,
          keyLifetimeS: options.keyLifetime,
        }),
      )
      outputOf(command).print(made, () =>
        [`${options.role} ${name} created  (${made.id})`, ...keyText(name, made)].join('\n'),
      )
    })

  noun
    .command('location')
    .description('tell where a node is; without a location, that nobody knows')
    .argument('<node>')
    .argument('[latitude,longitude]', 'in degrees, like 50.11,8.68', parseLocation)
    .addHelpText(
      'after',
      '\nExamples:\n  branchline node location branch-a 50.11,8.68\n  branchline node location branch-s -- -33.87,151.21',
    )
    .action(
      async (name: string, location: ReturnType<typeof parseLocation> | undefined, _: unknown, command: Command) => {
        await withAdmin(command, admin => admin.node.location.mutate({ name, location: location ?? null }))
        outputOf(command).print({ name, location: location ?? null }, () =>
          location ? `${name} is at ${location.latitude}, ${location.longitude}` : `nobody knows where ${name} is`,
        )
      },
    )

  noun
    .command('key')
    .description('a new activation key: for a lost one, a revoked node, or another machine in its place')
    .argument('<node>')
    .option('--key-lifetime <time>', '30min, 12h, 7d', duration)
    .action(async (name: string, options: { keyLifetime?: number }, command: Command) => {
      const made = await withAdmin(command, admin => admin.node.key.mutate({ name, keyLifetimeS: options.keyLifetime }))
      outputOf(command).print({ name, ...made }, () => keyText(name, made).join('\n'))
    })

  noun
    .command('revoke')
    .description('shut a node out: its grants are refused everywhere and its connection is closed')
    .argument('<node>')
    .action(async (name: string, _options: unknown, command: Command) => {
      const { revokedSerial } = await withAdmin(command, admin => admin.node.revoke.mutate({ name }))
      outputOf(command).print(
        { revoked: name, revokedSerial },
        () => `node ${name} revoked, grants up to ${revokedSerial} are refused`,
      )
    })

  noun
    .command('delete')
    .description('revoke a node and forget it, its subnets too')
    .argument('<node>')
    .action(async (name: string, _options: unknown, command: Command) => {
      await withAdmin(command, admin => admin.node.delete.mutate({ name }))
      outputOf(command).print({ deleted: name }, () => `node ${name} deleted`)
    })
}
