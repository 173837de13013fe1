/**
 * Opens the database: PGlite in a folder of the data directory, or PostgreSQL by URL. Both give the same drizzle database, the same migrations,
 * and notifications that a transaction sends when it commits.
 */
import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { PgDatabase, PgQueryResultHKT } from 'drizzle-orm/pg-core'
import type * as tables from './schema.ts'

export type Database = PgDatabase<PgQueryResultHKT, typeof tables>

export interface OpenDatabase {
  db: Database
  /** `PGlite` or `PostgreSQL`, and the version. */
  description: string
  /**
   * Calls `listener` with the payload of each notification on the channel, from this process and others.
   * @param lost called when some may have been missed (the connection was cut and is back)
   */
  listen(channel: string, listener: (payload: string) => void, lost: () => void): Promise<void>
  close(): Promise<void>
}

export interface DatabaseOptions {
  /** postgres:// URL; without it PGlite in `directory`. */
  url?: string | undefined
  directory: string
}

/** @throws OrchestratorError in one line when the database cannot be had */
export async function openDatabase(options: DatabaseOptions): Promise<OpenDatabase> {
  // Imported when used: PGlite alone costs half a gigabyte.
  if (options.url) return (await import('./postgres.ts')).openPostgres(options.url)
  const directory = join(options.directory, 'db')
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  return (await import('./embedded.ts')).openEmbedded(directory)
}

/** Beside this file, or beside the bundle that this file became part of. */
export function migrationsFolder(): string {
  const here = fileURLToPath(new URL('./migrations', import.meta.url))
  if (!existsSync(here)) throw new Error(`database migrations are missing: ${here}`)
  return here
}
