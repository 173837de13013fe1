/** `branchline chain list|create|delete`: what an enterprise's connections may go through. */
import { type Command, InvalidArgumentError } from 'commander'
import type { PolicyHop } from '../schema/policy.ts'
import { type Answers, withAdmin } from './admin.ts'
import { outputOf, table } from './output.ts'

type Policy = Answers['policy']['show']

export function chainTable({ chains, rules }: Policy): string {
  return table(
    ['CHAIN', 'FUNCTIONS', 'RULES'],
    chains.map(({ name, hops }) => [
      name,
      hops.map(hopText).join(','),
      rules.filter(rule => rule.chain === name).length,
    ]),
    "no chains; make one with 'branchline chain create <enterprise> <chain> --functions nat,dpi:open'",
  )
}

const hopText = (hop: PolicyHop) => (hop.failOpen ? `${hop.function}:open` : hop.function)

/** `nat,dpi:open,av:closed` */
export function parseFunctions(text: string): PolicyHop[] {
  return text.split(',').map(part => {
    const [name = '', mode = 'closed', ...rest] = part.trim().split(':')
    if (name === '' || rest.length > 0 || (mode !== 'open' && mode !== 'closed'))
      throw new InvalidArgumentError('must be functions in order, like nat,dpi:open,av')
    return { function: name, failOpen: mode === 'open' }
  })
}

export function addChain(program: Command): void {
  const noun = program.command('chain').description('which service functions connections go through, in order')
  noun
    .command('list')
    .description('all chains of an enterprise')
    .argument('<enterprise>')
    .action(async (enterprise: string, _options: unknown, command: Command) => {
      const policy = await withAdmin(command, admin => admin.policy.show.query({ enterprise }))
      outputOf(command).print(policy.chains, () => chainTable(policy))
    })

  noun
    .command('create')
    .description('a new chain; rules say which connections it gets')
    .argument('<enterprise>')
    .argument('<chain>')
    .requiredOption(
      '--functions <list>',
      'in order, each as gateways call it; :open lets connections pass while none of its instances works',
      parseFunctions,
    )
    .option('--replace', 'change a chain that is there already', false)
    .addHelpText('after', '\nExample:\n  branchline chain create acme inspect --functions dpi:open,av,nat')
    .action(
      async (
        enterprise: string,
        name: string,
        { functions, replace }: { functions: PolicyHop[]; replace: boolean },
        command: Command,
      ) => {
        const made = await withAdmin(command, admin =>
          admin.chain.create.mutate({ enterprise, name, hops: functions, replace }),
        )
        outputOf(command).print({ enterprise, name, hops: functions, ...made }, () =>
          made.changed
            ? `chain ${name} of ${enterprise}: ${functions.map(hopText).join(', ')}`
            : `chain ${name} of ${enterprise} was that already`,
        )
      },
    )

  noun
    .command('delete')
    .description('a chain that no rule uses')
    .argument('<enterprise>')
    .argument('<chain>')
    .action(async (enterprise: string, name: string, _options: unknown, command: Command) => {
      await withAdmin(command, admin => admin.chain.delete.mutate({ enterprise, name }))
      outputOf(command).print({ enterprise, deleted: name }, () => `chain ${name} of ${enterprise} deleted`)
    })
}
