/** `branchline gateway endpoints|assign|unassign` */
import type { Command } from 'commander'
import { withAdmin } from './admin.ts'
import { outputOf } from './output.ts'
import { parseHostPort, positiveInteger } from './parse.ts'

const MP_PORT = 2426

export function addGateway(program: Command): void {
  const noun = program.command('gateway').description('where gateways are reached and whom they serve')
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

  noun
    .command('assign')
    .description('let an enterprise use this gateway, and only those assigned to it')
    .argument('<enterprise>')
    .argument('<gateway>')
    .option('--metric <number>', 'smaller is preferred', positiveInteger, 100)
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
