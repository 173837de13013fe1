/** Questions to the agent of this machine, over its socket. */
import { setTimeout as delay } from 'node:timers/promises'
import { TRPCClientError } from '@trpc/client'
import { type Command, Option } from 'commander'
import { type AgentClient, agentClient } from '../agent/api.ts'
import { CliError, EXIT } from './error.ts'
import { type GlobalOptions, outputOf } from './output.ts'
import { positiveInteger } from './parse.ts'

/** A command that shows one answer, and with --watch the next ones. */
export function view<T>(
  program: Command,
  name: string,
  description: string,
  query: (agent: AgentClient) => Promise<T>,
  text: (value: T) => string,
): void {
  program
    .command(name)
    .description(description)
    .addOption(new Option('--watch [seconds]', 'again and again').preset('2').argParser(positiveInteger))
    .addHelpText(
      'after',
      `\nExamples:\n  branchline ${name}\n  branchline ${name} --watch 1\n  branchline ${name} --json`,
    )
    .action(async (options: { watch?: number }, command: Command) => {
      const output = outputOf(command)
      for (;;) {
        const value = await ask(command, query)
        output.print(value, () => (options.watch && process.stdout.isTTY ? `\x1b[2J\x1b[H${text(value)}` : text(value)))
        if (!options.watch) return
        await delay(options.watch * 1000)
      }
    })
}

/** @throws CliError (3) when no agent answers */
export async function ask<T>(command: Command, query: (agent: AgentClient) => Promise<T>): Promise<T> {
  const { socket = '' } = command.optsWithGlobals<GlobalOptions>()
  try {
    return await query(agentClient(socket))
  } catch (error) {
    if (!(error instanceof TRPCClientError)) throw error
    const { cause } = error
    const code = cause && 'code' in cause ? String(cause.code) : ''
    if (code === 'ENOENT' || code === 'ECONNREFUSED') {
      throw new CliError(
        `no agent listens on ${socket}; start it with 'branchline agent run', or give --socket`,
        EXIT.unreachable,
        { cause },
      )
    }
    if (code === 'EACCES')
      throw new CliError(`${socket} belongs to another user; use the agent's (mostly root)`, EXIT.unreachable, {
        cause,
      })
    // Without a shape the answer did not come from the agent's procedures.
    throw new CliError(error.message, error.shape ? EXIT.failed : EXIT.unreachable, { cause: error })
  }
}
