/** The admin's connection to the orchestrator: where its file is found, one call or a few, and errors as exit codes. */
import { existsSync, readFileSync, statSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { createTRPCClient, createWSClient, type TRPCClient, TRPCClientError, wsLink } from '@trpc/client'
import type { inferRouterOutputs } from '@trpc/server'
import type { Command } from 'commander'
import { connectReason, orchestratorUrl, socketClass } from '../agent/intent/socket.ts'
import type { AppRouter } from '../orchestrator/api/router.ts'
import { type AdminFile, adminFileSchema } from '../schema/admin-file.ts'
import { CliError, EXIT } from './error.ts'
import type { GlobalOptions } from './output.ts'

export type Admin = TRPCClient<AppRouter>['admin']
export type Answers = inferRouterOutputs<AppRouter>['admin']

export const DATA_DIR = '/var/lib/branchline/orchestrator'
const TIMEOUT_MS = 15_000

/** @throws CliError naming the places that were looked at */
export function findAdminFile(options: GlobalOptions): string {
  const { BRANCHLINE_ADMIN: fromEnvironment } = process.env
  const given = options.dataDir ?? fromEnvironment
  if (given !== undefined) {
    const file = isDirectory(given) ? join(given, 'admin.json') : given
    if (existsSync(file)) return file
    throw new CliError(`there is no admin file ${file}; 'branchline orchestrator init' makes one`, EXIT.usage)
  }
  const places = [join(DATA_DIR, 'admin.json'), join(homedir(), '.config/branchline/admin.json')]
  const found = places.find(place => existsSync(place))
  if (found) return found
  throw new CliError(
    `no admin file at ${places.join(' or ')}; give --data-dir, set BRANCHLINE_ADMIN, or make one with 'branchline orchestrator init'`,
    EXIT.usage,
  )
}

function isDirectory(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false
}

function readAdminFile(file: string): AdminFile {
  try {
    return adminFileSchema.parse(JSON.parse(readFileSync(file, 'utf8')))
  } catch (cause) {
    const denied = cause instanceof Error && 'code' in cause && cause.code === 'EACCES'
    throw new CliError(
      denied ? `${file} may not be read by this user` : `${file} is not an admin file; copy it again`,
      EXIT.failed,
      { cause },
    )
  }
}

/**
 * Runs `use` with a connection and closes it.
 * @throws CliError: unreachable (3), usage for input that the orchestrator found wrong (2), failed for what it refused (1)
 */
export async function withAdmin<T>(
  command: Command,
  use: (admin: Admin) => Promise<T>,
  timeoutMs = TIMEOUT_MS,
): Promise<T> {
  const options = command.optsWithGlobals<GlobalOptions>()
  const file = readAdminFile(findAdminFile(options))
  const url = orchestratorUrl(options.url ?? process.env.BRANCHLINE_URL ?? file.url)
  if (!url) throw new CliError(`--url: ${options.url} is neither host:port nor wss://host:port`, EXIT.usage)
  const lost = Promise.withResolvers<never>()
  const fail = (reason: string) =>
    lost.reject(new CliError(`cannot reach the orchestrator at ${url}: ${reason}`, EXIT.unreachable))
  lost.promise.catch(() => {})
  const socket = createWSClient({
    url,
    WebSocket: socketClass({
      tls: () => file,
      onError: error => fail(connectReason(error)),
      onClose: (_code, reason) => fail(reason || 'it hung up'),
    }),
    // A failed connection ends the command; a pause before the next one would only hold it open.
    retryDelayMs: () => 50,
  })
  const timer = setTimeout(() => fail(`no answer within ${timeoutMs / 1000} s`), timeoutMs)
  try {
    const client = createTRPCClient<AppRouter>({ links: [wsLink({ client: socket })] })
    return await Promise.race([use(client.admin), lost.promise])
  } catch (error) {
    throw error instanceof TRPCClientError ? refusal(error) : error
  } finally {
    clearTimeout(timer)
    // An answer that will not come must not hold the command.
    void socket.close()
  }
}

function refusal(error: TRPCClientError<AppRouter>): CliError {
  return new CliError(error.message, error.data?.code === 'BAD_REQUEST' ? EXIT.usage : EXIT.failed, { cause: error })
}
