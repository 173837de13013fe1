/** `branchline paths` and `branchline path history`: how the ways to this node's peers are, and what became of them. */
import type { Command } from 'commander'
import type { PathChangeRow, PathReport } from '../schema/agent-api.ts'
import { ask, view } from './ask.ts'
import { outputOf, span, table, when } from './output.ts'

export function addPaths(program: Command): void {
  view(
    program,
    'paths',
    'every path to a peer: condition, figures, and the classes that use it',
    agent => agent.paths.query({}),
    pathsText,
  )
  program
    .command('path')
    .description('what became of paths')
    .command('history')
    .description('the newest changes of paths, with the reason of each; kept until the agent ends')
    .option('--path <link>', 'only of this link or path id')
    .option('--peer <name>', 'only to this peer')
    .action(async (options: { path?: string; peer?: string }, command: Command) => {
      const rows = (await ask(command, agent => agent.pathHistory.query())).filter(
        ({ peer, path, link }) =>
          (options.peer ?? peer) === peer && [link, String(path)].includes(options.path ?? link),
      )
      outputOf(command).print(rows, () => historyText(rows))
    })
}

export function pathsText(rows: readonly PathReport[]): string {
  const ms = (value: number | null) => (value === null ? null : `${value.toFixed(value < 10 ? 1 : 0)} ms`)
  const share = (value: number | null) => (value === null ? null : `${(100 * value).toFixed(1)} %`)
  const why = ({ reason, returnsInMs }: PathReport) =>
    returnsInMs === null ? reason : `${reason}; back in ${span(returnsInMs)} if it stays well`
  return table(
    [
      'PEER',
      'PATH',
      'STATE',
      'SINCE',
      'RTT',
      'JITTER',
      'DELAY P95',
      'LOSS OUT',
      'IN',
      'MB/S OUT',
      'IN',
      'USED BY',
      'REASON',
    ],
    rows.map(row => [
      row.peer,
      `${row.path} ${row.link}`,
      row.condition,
      span(row.forMs),
      ms(row.rttMs),
      ms(row.jitterMs),
      row.delayP95Ms === null ? null : `+${ms(row.delayP95Ms)}`,
      share(row.lossOut),
      share(row.lossIn),
      row.mbpsOut.toFixed(2),
      row.mbpsIn.toFixed(2),
      row.classes.join(' '),
      why(row),
    ]),
    'no paths',
  )
}

function historyText(rows: readonly PathChangeRow[]): string {
  return table(
    ['TIME', 'PEER', 'PATH', 'FROM', 'TO', 'REASON'],
    rows.map(row => [when(row.time), row.peer, `${row.path} ${row.link}`, row.from, row.to, row.reason]),
    'nothing has changed',
  )
}
