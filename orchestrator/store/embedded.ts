/** PGlite: PostgreSQL in this process, its files in one folder that a lock guards. */
import { PGlite } from '@electric-sql/pglite'
import { btree_gist } from '@electric-sql/pglite/contrib/btree_gist'
import { drizzle } from 'drizzle-orm/pglite'
import { migrate } from 'drizzle-orm/pglite/migrator'
import { OrchestratorError } from '../error.ts'
import { migrationsFolder, type OpenDatabase } from './database.ts'
import { takeLock } from './lock.ts'
import * as tables from './schema.ts'

export async function openEmbedded(directory: string): Promise<OpenDatabase> {
  const lock = takeLock(`${directory}.lock`)
  let client: PGlite | undefined
  try {
    client = await PGlite.create(directory, { extensions: { btree_gist } })
    const db = drizzle(client, { schema: tables })
    await migrate(db, { migrationsFolder: migrationsFolder() })
    return ready(client, db, lock)
  } catch (cause) {
    await client?.close()
    lock.release()
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new OrchestratorError('setup', `cannot open the database in ${directory}: ${reason}`, { cause })
  }
}

function ready(client: PGlite, db: OpenDatabase['db'], lock: { release(): void }): OpenDatabase {
  return {
    db,
    description: 'PGlite',
    // In one process nothing gets lost.
    listen: async (channel, listener) => {
      await client.listen(channel, listener)
    },
    close: async () => {
      await client.close()
      lock.release()
    },
  }
}
