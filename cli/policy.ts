/** `branchline policy show`, `branchline internet on|off`: an enterprise's policy as a whole, and its way to the Internet. */
import type { Command } from 'commander'
import { type Answers, withAdmin } from './admin.ts'
import { chainTable } from './chain.ts'
import { outputOf, when } from './output.ts'
import { ruleTable } from './rule.ts'
import { zoneTable } from './zone.ts'

function headText({ enterprise, version, oldest, issued, internet }: Answers['policy']['show']): string {
  if (issued === null) return `${enterprise} never had a policy`
  const moved = oldest === version ? ', which moved connections of all older ones' : ''
  return [
    `policy ${version} of ${enterprise}, since ${when(issued)}${moved}`,
    `way to the Internet over gateways: ${internet ? 'on' : 'off'}`,
  ].join('\n')
}

export function addPolicy(program: Command): void {
  program
    .command('policy')
    .description("an enterprise's policy as a whole")
    .command('show')
    .description('zones, chains and rules, and the version that edges and gateways have')
    .argument('<enterprise>')
    .action(async (enterprise: string, _options: unknown, command: Command) => {
      const policy = await withAdmin(command, admin => admin.policy.show.query({ enterprise }))
      outputOf(command).print(policy, () =>
        [headText(policy), '', zoneTable(policy), '', chainTable(policy), '', ruleTable(policy)].join('\n'),
      )
    })

  const internet = program.command('internet').description('the way to the Internet over gateways that have one')
  for (const word of ['on', 'off'] as const) {
    internet
      .command(word)
      .description(
        word === 'on'
          ? "lead what is in no branch to the gateways' upstream; only what a chain has passed gets out"
          : 'take that way from the enterprise',
      )
      .argument('<enterprise>')
      .action(async (enterprise: string, _options: unknown, command: Command) => {
        const { changed, version } = await withAdmin(command, admin =>
          admin.policy.internet.mutate({ enterprise, enabled: word === 'on' }),
        )
        outputOf(command).print({ enterprise, internet: word === 'on', changed, version }, () =>
          changed ? `Internet for ${enterprise} is ${word}` : `Internet for ${enterprise} was ${word} already`,
        )
      })
  }
}
