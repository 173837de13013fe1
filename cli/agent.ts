/** `branchline agent activate|run` */
import type { Command } from 'commander'
import { CliError, EXIT } from './error.ts'
import { type GlobalOptions, outputOf } from './output.ts'

const CONFIG = '/etc/branchline/agent.json'
const STATE_DIR = '/var/lib/branchline/agent'

export function addAgent(program: Command): void {
  const noun = program.command('agent').description('make this machine a node and run it')
  noun
    .command('activate')
    .description("turn a one-time key into this machine's identity")
    .argument('<key>', 'BL1-..., from branchline node create; - reads it from stdin')
    .option('--state-dir <directory>', 'where identity and state are kept', STATE_DIR)
    .addHelpText(
      'after',
      `
Examples:
  branchline agent activate --url 192.0.2.9:2428 BL1-...
  ssh admin@orch branchline node key edge-a --json | jq -r .activationKey | branchline agent activate --url 192.0.2.9:2428 -`,
    )
    .action(async (key: string, options: { stateDir: string }, command: Command) => {
      const { activate } = await import('../agent/intent/activate.ts')
      const { IntentError } = await import('../agent/intent/error.ts')
      const { url } = command.optsWithGlobals<GlobalOptions>()
      if (url === undefined) throw new CliError("give the orchestrator's address: --url host:port", EXIT.usage)
      const text = key === '-' ? await readStdin() : key
      const node = await activate({ url, key: text, directory: options.stateDir }).catch(cause => {
        const codes = { unreachable: EXIT.unreachable, key: EXIT.usage }
        const code =
          cause instanceof IntentError && cause.code in codes ? codes[cause.code as keyof typeof codes] : EXIT.failed
        throw new CliError(cause instanceof Error ? cause.message : String(cause), code, { cause })
      })
      const { state: _state, ...shown } = node
      outputOf(command).print({ ...shown, stateDir: options.stateDir }, () =>
        [`this machine is ${node.role} ${node.name} now`, `start it: branchline agent run --config ${CONFIG}`].join(
          '\n',
        ),
      )
    })

  noun
    .command('run')
    .description('run the agent until SIGTERM; tunnels and traffic go on without it')
    .option('--config <file>', 'JSON; agent/config.ts describes it', CONFIG)
    .action(async (options: { config: string }) => {
      const { ConfigError, readAgentConfig } = await import('../agent/config.ts')
      const { runAgent } = await import('../agent/main.ts')
      const config = read(() => readAgentConfig(options.config), ConfigError)
      await runAgent(config)
    })
}

function read<T>(parse: () => T, wrong: new (message: string) => Error): T {
  try {
    return parse()
  } catch (cause) {
    throw cause instanceof wrong ? new CliError(cause.message, EXIT.usage, { cause }) : cause
  }
}

async function readStdin(): Promise<string> {
  let text = ''
  for await (const part of process.stdin.setEncoding('utf8')) text += part
  return text
}
