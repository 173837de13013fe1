/** `branchline zone list|add|remove`: names for prefixes, for rules to use. */
import type { Command } from 'commander'
import { type Answers, withAdmin } from './admin.ts'
import { outputOf, table } from './output.ts'

export function zoneTable({ zones }: Answers['policy']['show']): string {
  return table(
    ['ZONE', 'PREFIXES'],
    zones.map(({ name, prefixes }) => [name, prefixes.join(' ')]),
    "no zones; make one with 'branchline zone add <enterprise> <zone> <prefix...>'",
  )
}

export function addZone(program: Command): void {
  const noun = program.command('zone').description('named sets of prefixes, for rules')
  noun
    .command('list')
    .description('all zones of an enterprise')
    .argument('<enterprise>')
    .action(async (enterprise: string, _options: unknown, command: Command) => {
      const policy = await withAdmin(command, admin => admin.policy.show.query({ enterprise }))
      outputOf(command).print(policy.zones, () => zoneTable(policy))
    })

  noun
    .command('add')
    .description('put prefixes into a zone; a new name makes a zone')
    .argument('<enterprise>')
    .argument('<zone>')
    .argument('<prefix...>')
    .addHelpText('after', '\nExample:\n  branchline zone add acme servers 10.9.0.0/16 2001:db8:9::/48')
    .action(async (enterprise: string, name: string, prefixes: string[], _options: unknown, command: Command) => {
      const made = await withAdmin(command, admin => admin.zone.add.mutate({ enterprise, name, prefixes }))
      outputOf(command).print({ enterprise, name, prefixes, ...made }, () =>
        made.changed
          ? `zone ${name} of ${enterprise} has ${prefixes.join(', ')}`
          : `zone ${name} of ${enterprise} had ${prefixes.join(', ')} already`,
      )
    })

  noun
    .command('remove')
    .description('take prefixes out of a zone; without any, the whole zone')
    .argument('<enterprise>')
    .argument('<zone>')
    .argument('[prefix...]')
    .action(async (enterprise: string, name: string, prefixes: string[], _options: unknown, command: Command) => {
      const made = await withAdmin(command, admin => admin.zone.remove.mutate({ enterprise, name, prefixes }))
      outputOf(command).print({ enterprise, name, prefixes, ...made }, () =>
        prefixes.length > 0
          ? `zone ${name} of ${enterprise} no longer has ${prefixes.join(', ')}`
          : `zone ${name} of ${enterprise} removed`,
      )
    })
}
