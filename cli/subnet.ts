/** `branchline subnet list|add|remove|gateways` */
import type { Command } from 'commander'
import { type Answers, withAdmin } from './admin.ts'
import { outputOf, table } from './output.ts'

export function subnetTable(rows: Answers['subnet']['list']): string {
  return table(
    ['ENTERPRISE', 'PREFIX', 'NODE', 'IN VPN', 'REACHABLE', 'GATEWAYS'],
    rows.map(row => [
      row.enterprise,
      row.prefix,
      row.node,
      row.enabled,
      row.reachable,
      row.gateways?.join(', ') ?? 'all',
    ]),
    "no subnets; give a node one with 'branchline subnet add <node> <prefix>'",
  )
}

export function addSubnet(program: Command): void {
  const noun = program.command('subnet').description('which node owns which prefix')
  noun
    .command('list')
    .description('all subnets')
    .option('--enterprise <enterprise>')
    .option('--node <node>')
    .action(async (options: { enterprise?: string; node?: string }, command: Command) => {
      const rows = await withAdmin(command, admin => admin.subnet.list.query(options))
      outputOf(command).print(rows, () => subnetTable(rows))
    })

  for (const [verb, text, done] of [
    ['add', 'let a node announce a prefix', 'belongs to'],
    ['remove', 'take a prefix from a node', 'no longer belongs to'],
  ] as const) {
    noun
      .command(verb)
      .description(text)
      .argument('<node>')
      .argument('<prefix>', 'like 10.1.0.0/24 or 2001:db8:1::/48')
      .action(async (node: string, prefix: string, _options: unknown, command: Command) => {
        await withAdmin(command, admin => admin.subnet[verb].mutate({ node, prefix }))
        outputOf(command).print({ node, prefix, verb }, () => `${prefix} ${done} ${node}`)
      })
  }

  noun
    .command('gateways')
    .description('announce a subnet to these gateways alone; without any, to all again')
    .argument('<node>')
    .argument('<prefix>')
    .argument('[gateway...]')
    .addHelpText('after', '\nExample:\n  branchline subnet gateways branch-a 10.1.0.0/24 gw1 gw2')
    .action(async (node: string, prefix: string, names: string[], _options: unknown, command: Command) => {
      const gateways = names.length > 0 ? names : null
      await withAdmin(command, admin => admin.subnet.gateways.mutate({ node, prefix, gateways }))
      outputOf(command).print(
        { node, prefix, gateways },
        () =>
          `${prefix} of ${node}: ${gateways ? `announced to ${gateways.join(', ')} alone` : 'announced to all gateways'}`,
      )
    })
}
