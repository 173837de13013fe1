/**
 * The store: every change is one `Work`, a transaction that carries who acts, the audit events, and the notices of what changed. All three commit
 * together or not at all, on one replica or many.
 */
import { sql } from 'drizzle-orm'
import { type Change, parseChange } from '../publish/change.ts'
import { translate } from './constraint.ts'
import type { Database, OpenDatabase } from './database.ts'
import { events } from './schema.ts'

const CHANNEL = 'branchline'
/** Any constant that nobody else uses on this database. */
const WRITER_LOCK = 2429

export interface Entry {
  severity?: 'info' | 'warning' | 'error'
  action: string
  object: string
  enterprise?: string | undefined
  message: string
  detail?: unknown
}

export class Work {
  /** The transaction. */
  readonly db: Database
  /** `admin:<name>`, `node:<name>` or `orchestrator`. */
  readonly actor: string
  readonly now: Date

  constructor(db: Database, actor: string, now: Date) {
    this.db = db
    this.actor = actor
    this.now = now
  }

  /** Appends to the audit log. */
  async record(entry: Entry): Promise<void> {
    await this.db.insert(events).values({ severity: 'info', ...entry, actor: this.actor, time: this.now })
  }

  /** Tells every replica, once this work has committed. */
  async changed(change: Change): Promise<void> {
    await this.db.execute(sql`select pg_notify(${CHANNEL}, ${JSON.stringify(change)})`)
  }
}

export class Store {
  readonly #open: OpenDatabase
  readonly #now: () => Date

  constructor(open: OpenDatabase, now: () => Date = () => new Date()) {
    this.#open = open
    this.#now = now
  }

  get description(): string {
    return this.#open.description
  }

  get now(): Date {
    return this.#now()
  }

  /** For reads of one statement. */
  get db(): Database {
    return this.#open.db
  }

  /**
   * One work at a time over all replicas, so that works cannot deadlock or overtake each other; intent changes at the pace of people. Reads wait for nobody.
   * @throws OrchestratorError for what a database constraint refused; others pass through
   */
  async work<T>(actor: string, run: (work: Work) => Promise<T>): Promise<T> {
    try {
      return await this.db.transaction(async tx => {
        await tx.execute(sql`select pg_advisory_xact_lock(${WRITER_LOCK})`)
        return await run(new Work(tx, actor, this.#now()))
      })
    } catch (error) {
      throw translate(error)
    }
  }

  /** Entries that change nothing else need no work: they wait for no writer. */
  async append(actor: string, entries: readonly Entry[]): Promise<void> {
    await this.db
      .insert(events)
      .values(entries.map(entry => ({ severity: 'info' as const, ...entry, actor, time: this.now })))
  }

  /** Several reads of one moment. */
  async snapshot<T>(run: (db: Database) => Promise<T>): Promise<T> {
    return await this.db.transaction(tx => run(tx), { isolationLevel: 'repeatable read', accessMode: 'read only' })
  }

  /** Changes committed by any replica; after a cut `{scope: 'all'}`. */
  async follow(listener: (change: Change) => void): Promise<void> {
    await this.#open.listen(
      CHANNEL,
      payload => listener(parseChange(payload)),
      () => listener({ scope: 'all' }),
    )
  }

  close(): Promise<void> {
    return this.#open.close()
  }
}
