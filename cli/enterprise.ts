/** `branchline enterprise list|show|create|delete` */
import { type Command, Option } from 'commander'
import { withAdmin } from './admin.ts'
import { nodeTable } from './node.ts'
import { outputOf, table, when } from './output.ts'
import { subnetTable } from './subnet.ts'

export function addEnterprise(program: Command): void {
  const noun = program.command('enterprise').description('tenants')
  noun
    .command('list')
    .description('all enterprises')
    .action(async (_options: unknown, command: Command) => {
      const rows = await withAdmin(command, admin => admin.enterprise.list.query())
      outputOf(command).print(rows, () =>
        table(
          ['NAME', 'VPN', 'SECURITY', 'NODES', 'SUBNETS', 'CREATED'],
          rows.map(row => [
            row.name,
            row.vpnEnabled ? 'on' : 'off',
            row.security,
            row.nodes,
            row.subnets,
            when(row.created),
          ]),
          "no enterprises; make one with 'branchline enterprise create <name>'",
        ),
      )
    })

  noun
    .command('show')
    .description('one enterprise with its nodes and subnets')
    .argument('<enterprise>')
    .action(async (name: string, _options: unknown, command: Command) => {
      const row = await withAdmin(command, admin => admin.enterprise.show.query({ name }))
      outputOf(command).print(row, () =>
        [
          `${row.name}  (${row.id})`,
          `VPN ${row.vpnEnabled ? 'on' : 'off'}, subnets carried by ${row.security}`,
          '',
          nodeTable(row.nodes),
          '',
          subnetTable(row.subnets),
        ].join('\n'),
      )
    })

  noun
    .command('create')
    .description('a new enterprise, its VPN off')
    .argument('<enterprise>')
    .option('--id <uuid>', 'its logical id; chosen when not given')
    .addOption(new Option('--security <how>', 'how its packets cross the WAN').choices(['esp', 'clear']).default('esp'))
    .addHelpText('after', '\nExample:\n  branchline enterprise create acme')
    .action(async (name: string, options: { id?: string; security: 'esp' | 'clear' }, command: Command) => {
      const row = await withAdmin(command, admin => admin.enterprise.create.mutate({ name, ...options }))
      outputOf(command).print(row, () => `enterprise ${row.name} created  (${row.id})`)
    })

  noun
    .command('delete')
    .description('an enterprise without nodes')
    .argument('<enterprise>')
    .action(async (name: string, _options: unknown, command: Command) => {
      await withAdmin(command, admin => admin.enterprise.delete.mutate({ name }))
      outputOf(command).print({ deleted: name }, () => `enterprise ${name} deleted`)
    })
}
