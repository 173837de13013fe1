/** `branchline rule list|add|remove|move`: which connections go through which chain. */
import { type Command, InvalidArgumentError, Option } from 'commander'
import { isAny, type PolicyRule } from '../schema/policy.ts'
import { type Answers, withAdmin } from './admin.ts'
import { CliError, EXIT } from './error.ts'
import { outputOf, table } from './output.ts'
import { collect, positiveInteger } from './parse.ts'

const PROTOCOLS: Readonly<Record<string, number>> = {
  any: 0,
  icmp: 1,
  tcp: 6,
  udp: 17,
  dccp: 33,
  gre: 47,
  esp: 50,
  icmpv6: 58,
  sctp: 132,
  udplite: 136,
}

export function parseProtocol(text: string): number {
  const number = PROTOCOLS[text] ?? (/^\d+$/.test(text) ? Number(text) : -1)
  if (number >= 0 && number <= 255) return number
  throw new InvalidArgumentError(`must be a number up to 255 or one of ${Object.keys(PROTOCOLS).join(', ')}`)
}

/** `443` or `8000-8100` */
export function parsePorts(text: string): [number, number] {
  const [, from, to = from] = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text) ?? []
  const ports: [number, number] = [Number(from), Number(to)]
  if (ports[0] <= ports[1] && ports[1] <= 65_535) return ports
  throw new InvalidArgumentError('must be a port or a range from the lower to the higher, like 443 or 8000-8100')
}

export function ruleTable({ rules }: Answers['policy']['show']): string {
  return table(
    ['RULE', 'SOURCE', 'DESTINATION', 'PROTOCOL', 'PORTS', 'DIRECTION', 'CHAIN', 'EXISTING'],
    rules.map(rule => [
      rule.name,
      rule.source.join(' ') || 'any',
      rule.destination.join(' ') || 'any',
      protocolText(rule),
      portsText(rule),
      rule.direction,
      `${rule.chain ?? 'none'}${rule.shadow ? ' (shadow)' : ''}`,
      rule.existing,
    ]),
    "no rules: nothing is steered; make one with 'branchline rule add <enterprise> <rule> --chain <chain>'",
  )
}

function protocolText({ proto, application }: PolicyRule): string {
  const name = Object.entries(PROTOCOLS).find(([, number]) => number === proto)?.[0] ?? String(proto)
  return application === 0 ? name : `${name} application ${application}`
}

function portsText({ sourcePorts, destinationPorts }: PolicyRule): string {
  const text = ([from, to]: readonly [number, number]) => (from === to ? `${from}` : `${from}-${to}`)
  const from = isAny(sourcePorts) ? '' : `from ${text(sourcePorts)} `
  return `${from}${isAny(destinationPorts) ? '' : text(destinationPorts)}`.trim() || 'any'
}

interface AddOptions {
  source?: string[]
  destination?: string[]
  proto: number
  sourcePort?: [number, number]
  port?: [number, number]
  application?: number
  direction: PolicyRule['direction']
  chain?: string
  bypass: boolean
  shadow: boolean
  existing: PolicyRule['existing']
  before?: string
}

export function addRule(program: Command): void {
  const noun = program
    .command('rule')
    .description('which connections go through which chain: the first that matches decides')
  noun
    .command('list')
    .description('all rules of an enterprise, in order')
    .argument('<enterprise>')
    .action(async (enterprise: string, _options: unknown, command: Command) => {
      const policy = await withAdmin(command, admin => admin.policy.show.query({ enterprise }))
      outputOf(command).print(policy.rules, () => ruleTable(policy))
    })

  addAdd(noun)

  noun
    .command('remove')
    .description('forget a rule')
    .argument('<enterprise>')
    .argument('<rule>')
    .action(async (enterprise: string, name: string, _options: unknown, command: Command) => {
      await withAdmin(command, admin => admin.rule.remove.mutate({ enterprise, name }))
      outputOf(command).print({ enterprise, removed: name }, () => `rule ${name} of ${enterprise} removed`)
    })

  noun
    .command('move')
    .description('put a rule elsewhere; without --before, behind all others')
    .argument('<enterprise>')
    .argument('<rule>')
    .option('--before <rule>', 'the rule that it is to be asked before')
    .action(async (enterprise: string, name: string, { before }: { before?: string }, command: Command) => {
      const made = await withAdmin(command, admin => admin.rule.move.mutate({ enterprise, name, before }))
      const place = before === undefined ? 'last' : `before ${before}`
      outputOf(command).print({ enterprise, name, before: before ?? null, ...made }, () =>
        made.changed
          ? `rule ${name} of ${enterprise} stands ${place}`
          : `rule ${name} of ${enterprise} stood there already`,
      )
    })
}

function addAdd(noun: Command): void {
  noun
    .command('add')
    .description('a new rule, behind all others unless told elsewise')
    .argument('<enterprise>')
    .argument('<rule>')
    .option('--source <prefix or zone>', 'where the connection begins; repeatable, any unless given', collect(String))
    .option('--destination <prefix or zone>', 'where it goes; repeatable, any unless given', collect(String))
    .option('--proto <protocol>', 'tcp, udp, icmp ... or a number', parseProtocol, 0)
    .option('--port <port>', 'of the destination, like 443 or 8000-8100', parsePorts)
    .option('--source-port <port>', 'of the source', parsePorts)
    .option('--application <number>', 'by its number', positiveInteger)
    .addOption(
      new Option(
        '--direction <direction>',
        'through the chain from its beginning, from its end, or as the connection begins',
      )
        .choices(['out', 'in', 'both'])
        .default('out'),
    )
    .option('--chain <chain>', 'what it goes through')
    .option('--bypass', 'instead of a chain: it goes through none', false)
    .option('--shadow', 'only count what would be steered', false)
    .addOption(
      new Option('--existing <what>', 'connections that are steered already: keep their way, or move')
        .choices(['keep', 'move'])
        .default('keep'),
    )
    .option('--before <rule>', 'the rule that it is to be asked before')
    .addHelpText(
      'after',
      `
Examples:
  branchline rule add acme web --source servers --proto tcp --port 80 --chain inspect
  branchline rule add acme printers --destination 10.7.0.0/16 --bypass --before web`,
    )
    .action(async (enterprise: string, name: string, options: AddOptions, command: Command) => {
      const { source, destination, proto, sourcePort, port, application, direction, chain, shadow, existing, before } =
        options
      if ((chain !== undefined) === options.bypass)
        throw new CliError('say what becomes of the connections: --chain <chain> or --bypass', EXIT.usage)
      const made = await withAdmin(command, admin =>
        admin.rule.add.mutate({
          enterprise,
          name,
          source,
          destination,
          proto,
          sourcePorts: sourcePort,
          destinationPorts: port,
          application,
          direction,
          chain: chain ?? null,
          shadow,
          existing,
          before,
        }),
      )
      outputOf(command).print({ enterprise, name, ...made }, () => `rule ${name} of ${enterprise} is in force`)
    })
}
