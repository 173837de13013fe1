/** Reads the audit log. */
import { and, desc, eq, gte, like, lt } from 'drizzle-orm'
import type { Database } from './database.ts'
import { events } from './schema.ts'

export type EventRow = typeof events.$inferSelect

export interface EventFilter {
  /** An action or the start of one: `vpn.`, `node.event.` */
  action?: string | undefined
  actor?: string | undefined
  /** `node:edge-a`, `enterprise:acme` ... */
  object?: string | undefined
  enterprise?: string | undefined
  since?: Date | undefined
  /** The page after this id. */
  before?: number | undefined
  limit: number
}

/** Newest first; `next` is the `before` of the following page, null on the last one. */
export async function listEvents(
  db: Database,
  filter: EventFilter,
): Promise<{ events: EventRow[]; next: number | null }> {
  const rows = await db
    .select()
    .from(events)
    .where(
      and(
        filter.action === undefined
          ? undefined
          : like(events.action, `${filter.action.replaceAll(/[\\%_]/g, '\\$&')}%`),
        filter.actor === undefined ? undefined : eq(events.actor, filter.actor),
        filter.object === undefined ? undefined : eq(events.object, filter.object),
        filter.enterprise === undefined ? undefined : eq(events.enterprise, filter.enterprise),
        filter.since === undefined ? undefined : gte(events.time, filter.since),
        filter.before === undefined ? undefined : lt(events.id, filter.before),
      ),
    )
    .orderBy(desc(events.id))
    .limit(filter.limit + 1)
  const page = rows.slice(0, filter.limit)
  return { events: page, next: rows.length > filter.limit ? (page.at(-1)?.id ?? null) : null }
}
