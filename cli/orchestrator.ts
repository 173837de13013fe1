/** `branchline orchestrator init|run` */
import { type Command, Option } from 'commander'
import { DATA_DIR } from './admin.ts'
import { CliError, EXIT } from './error.ts'
import { type GlobalOptions, outputOf } from './output.ts'
import { type HostPort, parseHostPort, positiveInteger } from './parse.ts'

export const ORCHESTRATOR_PORT = 2428

export function addOrchestrator(program: Command): void {
  const noun = program.command('orchestrator').description('make and run the orchestrator')
  noun
    .command('init')
    .description('make a data directory: CA, server and admin certificates, the key that signs grants, the database')
    .option('--name <name...>', 'DNS names and addresses by which the orchestrator is called, for its certificate', [])
    .option('--address <host:port>', 'what the admin file dials', `127.0.0.1:${ORCHESTRATOR_PORT}`)
    .option('--no-database', 'do not make the embedded database yet (PostgreSQL by DATABASE_URL needs none)')
    .addHelpText(
      'after',
      '\nExample:\n  branchline orchestrator init --data-dir /srv/branchline --name orch.example.net 192.0.2.9',
    )
    .action(async (options: { name: string[]; address: string; database: boolean }, command: Command) => {
      const directory = dataDir(command)
      const at = parseHostPort(options.address, ORCHESTRATOR_PORT)
      const { initDataDirectory } = await import('../orchestrator/pki/data-directory.ts')
      const names = [...new Set([...options.name, at.host, 'localhost', '127.0.0.1', '::1'])]
      const { adminFile } = await initDataDirectory(directory, names, `wss://${hostText(at)}`)
      if (options.database && !process.env.DATABASE_URL) await makeDatabase(directory)
      outputOf(command).print({ dataDir: directory, adminFile, names }, () =>
        [
          `made ${directory}; back it up: with its keys lost, every node must be activated again`,
          `admin file: ${adminFile} (copy it to ~/.config/branchline/admin.json of whoever administers)`,
          `start it: branchline orchestrator run --data-dir ${directory}`,
        ].join('\n'),
      )
    })

  noun
    .command('run')
    .description('run the orchestrator until SIGTERM; prints one JSON line when it is ready, logs on stderr')
    .option('--listen <host:port>', 'address and port; port 0 lets the kernel choose', `127.0.0.1:${ORCHESTRATOR_PORT}`)
    .addOption(new Option('--database-url <url>', 'PostgreSQL instead of the embedded database').env('DATABASE_URL'))
    .option('--grant-lifetime <seconds>', 'grants are renewed at half of it', positiveInteger, 86_400)
    .addOption(new Option('--log-level <level>').choices(['silent', 'error', 'warn', 'info', 'debug']).default('info'))
    .action(
      async (
        options: { listen: string; databaseUrl?: string; grantLifetime: number; logLevel: string },
        command: Command,
      ) => {
        const directory = dataDir(command)
        const at = parseHostPort(options.listen, ORCHESTRATOR_PORT)
        const { default: pino } = await import('pino')
        const { startOrchestrator } = await import('../orchestrator/main.ts')
        const { pointAdminFile } = await import('../orchestrator/pki/data-directory.ts')
        const log = pino({ level: options.logLevel }, pino.destination({ dest: 2, sync: true }))
        const orchestrator = await startOrchestrator({
          dataDir: directory,
          host: at.host,
          port: at.port,
          databaseUrl: options.databaseUrl,
          grantLifetimeS: options.grantLifetime,
          log,
        }).catch(cause => {
          throw listenError(cause, options.listen)
        })
        await pointAdminFile(directory, orchestrator.dialUrl)
        const { url, address, port, database } = orchestrator
        process.stdout.write(`${JSON.stringify({ ready: true, url, address, port, pid: process.pid, database })}\n`)
        await stopSignal()
        log.info('stopping')
        await orchestrator.close()
      },
    )
}

function dataDir(command: Command): string {
  return command.optsWithGlobals<GlobalOptions>().dataDir ?? DATA_DIR
}

/** The first start of PGlite takes seconds and half as much memory again: better here than in the server. */
async function makeDatabase(directory: string): Promise<void> {
  const { openDatabase } = await import('../orchestrator/store/database.ts')
  const database = await openDatabase({ directory })
  await database.close()
}

function hostText({ host, port }: HostPort): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}

/** Resolves at the first SIGTERM or SIGINT; a second one ends the process at once. */
function stopSignal(): Promise<void> {
  return new Promise(resolve => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => resolve())
  })
}

function listenError(cause: unknown, listen: string): unknown {
  const code = cause instanceof Error && 'code' in cause ? cause.code : undefined
  if (code === 'EADDRINUSE')
    return new CliError(`${listen} is taken; stop who listens there or give --listen another port`, EXIT.failed, {
      cause,
    })
  if (code === 'EADDRNOTAVAIL')
    return new CliError(`${listen} is no address of this machine; give --listen one that is`, EXIT.failed, { cause })
  return cause
}
