/** Debian's PostgreSQL 15, started for one test file: own folder, own socket, no TCP, an unprivileged user. */
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chownSync, existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import pg from 'pg'

const BIN = '/usr/lib/postgresql/15/bin'
const run = promisify(execFile)

export interface PostgresServer {
  /** A new empty database. @returns its URL */
  createDatabase(name: string): Promise<string>
  /** Ends every connection to the server, as a failover does. */
  cutConnections(): Promise<void>
  stop(): Promise<void>
}

export async function startPostgres(): Promise<PostgresServer> {
  if (!existsSync(join(BIN, 'postgres')))
    throw new Error(`${BIN}/postgres is missing; install it with: apt-get install postgresql-15`)
  const folder = mkdtempSync(join(tmpdir(), 'branchline-pg-'))
  // PostgreSQL refuses to run as root.
  const { uid, gid } = process.getuid?.() === 0 ? await unprivileged() : { uid: undefined, gid: undefined }
  if (uid !== undefined && gid !== undefined) chownSync(folder, uid, gid)
  const as = { ...(uid !== undefined && { uid }), ...(gid !== undefined && { gid }), cwd: folder }
  const data = join(folder, 'data')
  await run(
    join(BIN, 'initdb'),
    ['-D', data, '-U', 'branchline', '-A', 'trust', '-E', 'UTF8', '--locale=C', '--no-sync'],
    as,
  )
  const server = spawn(
    join(BIN, 'postgres'),
    ['-D', data, '-k', folder, '-c', 'listen_addresses=', '-c', 'fsync=off', '-c', 'max_connections=50'],
    { ...as, stdio: ['ignore', 'ignore', 'pipe'] },
  )
  let log = ''
  server.stderr.setEncoding('utf8').on('data', (text: string) => {
    log += text
  })
  const url = (database: string) => `postgres://branchline@localhost/${database}?host=${folder}`
  const query = async (sql: string) => {
    const client = new pg.Client({ connectionString: url('postgres') })
    await client.connect()
    await client.query(sql).finally(() => client.end())
  }
  for (let tries = 0; ; tries++) {
    const reason = await query('select 1').then(
      () => undefined,
      (error: Error) => error.message,
    )
    if (reason === undefined) break
    if (tries > 100 || server.exitCode !== null) throw new Error(`PostgreSQL does not start: ${reason}\n${log}`)
    await new Promise(resolve => setTimeout(resolve, 100))
  }
  return {
    createDatabase: async name => {
      await query(`create database ${pg.escapeIdentifier(name)}`)
      return url(name)
    },
    cutConnections: () => query('select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid()'),
    stop: async () => {
      const gone = once(server, 'exit')
      // SIGINT: fast shutdown (postgres(1)).
      server.kill('SIGINT')
      await gone
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

async function unprivileged(): Promise<{ uid: number; gid: number }> {
  for (const user of ['postgres', 'nobody']) {
    try {
      const [uid, gid] = await Promise.all(
        ['-u', '-g'].map(async what => Number((await run('id', [what, user])).stdout)),
      )
      if (uid && gid) return { uid, gid }
    } catch {
      // That user does not exist here.
    }
  }
  throw new Error('no unprivileged user to run PostgreSQL as')
}
