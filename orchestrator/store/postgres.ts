/** PostgreSQL >= 15 by URL: a pool for queries and one connection that listens. */
import { setTimeout as delay } from 'node:timers/promises'
import { drizzle } from 'drizzle-orm/node-postgres'
import { migrate } from 'drizzle-orm/node-postgres/migrator'
import pg from 'pg'
import { OrchestratorError } from '../error.ts'
import { migrationsFolder, type OpenDatabase } from './database.ts'
import * as tables from './schema.ts'

/** Advisory lock under which replicas migrate one after the other; an arbitrary constant. */
const MIGRATION_LOCK = 2428
const OLDEST = 15

export async function openPostgres(url: string): Promise<OpenDatabase> {
  const pool = new pg.Pool({ connectionString: url, max: 10, connectionTimeoutMillis: 10_000 })
  // An idle connection that the server closes is replaced by the pool; without a listener it would end the process.
  pool.on('error', () => {})
  // One in use, between two queries of a transaction, is its user's to hear; the next query fails, and that is how the user learns of it.
  pool.on('connect', client => void client.on('error', () => {}))
  try {
    const version = await serverVersion(pool)
    await migrateAlone(pool)
    const listener = new Listener(url)
    return {
      db: drizzle(pool, { schema: tables }),
      description: `PostgreSQL ${version}`,
      listen: (channel, onPayload, onLost) => listener.start(channel, onPayload, onLost),
      close: async () => {
        await listener.close()
        await pool.end()
      },
    }
  } catch (cause) {
    await pool.end()
    if (cause instanceof OrchestratorError) throw cause
    throw new OrchestratorError('setup', `cannot use the database at ${withoutPassword(url)}: ${reasonOf(cause)}`, {
      cause,
    })
  }
}

async function serverVersion(pool: pg.Pool): Promise<string> {
  const answer = await pool.query<{ server_version: string }>('show server_version')
  const version = answer.rows[0]?.server_version ?? '0'
  if (Number.parseInt(version, 10) < OLDEST) {
    throw new OrchestratorError('setup', `PostgreSQL ${version} is too old: Branchline needs ${OLDEST} or newer`)
  }
  return version
}

async function migrateAlone(pool: pg.Pool): Promise<void> {
  const client = await pool.connect()
  try {
    await client.query('select pg_advisory_lock($1)', [MIGRATION_LOCK])
    await migrate(drizzle(client), { migrationsFolder: migrationsFolder() })
    await client.query('select pg_advisory_unlock($1)', [MIGRATION_LOCK])
  } finally {
    client.release()
  }
}

/** LISTEN on a connection of its own that comes back after a cut. */
class Listener {
  readonly #url: string
  #client: pg.Client | undefined
  #closed = false

  constructor(url: string) {
    this.#url = url
  }

  async start(channel: string, onPayload: (payload: string) => void, onLost: () => void): Promise<void> {
    const client = new pg.Client({ connectionString: this.#url, keepAlive: true })
    client.on('notification', message => onPayload(message.payload ?? ''))
    client.on('error', () => {})
    client.on('end', () => {
      if (!this.#closed && this.#client === client) void this.#again(channel, onPayload, onLost)
    })
    await client.connect()
    await client.query(`listen ${pg.escapeIdentifier(channel)}`)
    this.#client = client
  }

  async #again(channel: string, onPayload: (payload: string) => void, onLost: () => void): Promise<void> {
    for (let wait = 100; !this.#closed; wait = Math.min(wait * 2, 5000)) {
      await delay(wait, undefined, { ref: false })
      try {
        await this.start(channel, onPayload, onLost)
        onLost()
        return
      } catch {
        // The database is still away; queries tell so to whoever asks.
      }
    }
  }

  async close(): Promise<void> {
    this.#closed = true
    await this.#client?.end()
  }
}

function withoutPassword(url: string): string {
  return URL.canParse(url) ? url.replace(/:\/\/([^:@/]*):[^@/]*@/, '://$1:***@') : 'DATABASE_URL (not a URL)'
}

function reasonOf(cause: unknown): string {
  if (cause instanceof AggregateError && cause.errors.length > 0) return reasonOf(cause.errors[0])
  if (!(cause instanceof Error)) return String(cause)
  return cause.cause instanceof Error ? cause.cause.message : cause.message
}
