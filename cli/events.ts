/** `branchline events`: the audit log. */
import { type Command, Option } from 'commander'
import { type Answers, withAdmin } from './admin.ts'
import { outputOf, table, when } from './output.ts'
import { duration, positiveInteger } from './parse.ts'

interface Options {
  action?: string
  actor?: string
  object?: string
  enterprise?: string
  since?: number
  before?: number
  limit: number
}

export function addEvents(program: Command): void {
  program
    .command('events')
    .description('who did what to what, and what nodes reported; newest last')
    .option('--action <start>', 'vpn., node.create, node.event. ...')
    .option('--actor <actor>', 'admin:<name>, node:<name>, orchestrator')
    .option('--object <object>', 'enterprise:<name>, node:<name>, subnet:<prefix>')
    .option('--enterprise <enterprise>')
    .addOption(new Option('--since <time>', 'not older than 30min, 12h, 7d').argParser(duration))
    .option('--before <id>', 'the page before this event', positiveInteger)
    .option('--limit <number>', 'as many at most', positiveInteger, 50)
    .addHelpText(
      'after',
      '\nExamples:\n  branchline events --since 1h\n  branchline events --action vpn. --enterprise acme --json',
    )
    .action(async ({ since, ...options }: Options, command: Command) => {
      const page = await withAdmin(command, admin =>
        admin.events.list.query({
          ...options,
          ...(since === undefined ? {} : { since: new Date(Date.now() - since * 1000).toISOString() }),
        }),
      )
      outputOf(command).print(page, () => eventText(page))
    })
}

function eventText(page: Answers['events']['list']): string {
  const rows = page.events.toReversed().map(event => [when(event.time), event.actor, event.action, event.message])
  const more = page.next === null ? '' : `\nolder ones: --before ${page.next}`
  return table(['TIME', 'ACTOR', 'ACTION', 'WHAT'], rows, 'no such events') + more
}
