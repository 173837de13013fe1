/** `branchline vpn on|off|show`: the toggle. */
import type { Command } from 'commander'
import { withAdmin } from './admin.ts'
import { outputOf } from './output.ts'
import { subnetTable } from './subnet.ts'

export function addVpn(program: Command): void {
  const noun = program.command('vpn').description('the toggle: tunnels are up already, only routes change')
  for (const word of ['on', 'off'] as const) {
    noun
      .command(word)
      .description(`switch the VPN of an enterprise ${word}`)
      .argument('<enterprise>')
      .option('--subnet <prefix>', `only this subnet ${word === 'on' ? 'into' : 'out of'} the VPN`)
      .addHelpText(
        'after',
        `\nExamples:\n  branchline vpn ${word} acme\n  branchline vpn ${word} acme --subnet 10.1.0.0/24`,
      )
      .action(async (enterprise: string, { subnet }: { subnet?: string }, command: Command) => {
        const { changed } = await withAdmin(command, admin =>
          admin.vpn.set.mutate({ enterprise, subnet, enabled: word === 'on' }),
        )
        const what = subnet === undefined ? `VPN of ${enterprise}` : `VPN of ${enterprise} for ${subnet}`
        outputOf(command).print({ enterprise, subnet: subnet ?? null, enabled: word === 'on', changed }, () =>
          changed ? `${what} is ${word}` : `${what} was ${word} already`,
        )
      })
  }

  noun
    .command('show')
    .description('is it on, and for which subnets')
    .argument('<enterprise>')
    .action(async (enterprise: string, _options: unknown, command: Command) => {
      const vpn = await withAdmin(command, admin => admin.vpn.show.query({ enterprise }))
      outputOf(command).print(vpn, () =>
        [
          `VPN of ${enterprise} is ${vpn.enabled ? 'on' : 'off'}, carried by ${vpn.security}`,
          '',
          subnetTable(vpn.subnets),
        ].join('\n'),
      )
    })
}
