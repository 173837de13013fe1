/** What the database itself refuses, whoever asks and however. */
import { randomUUID } from 'node:crypto'
import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type OpenDatabase, openDatabase } from '../../orchestrator/store/database.ts'
import { enterprises, events, nodes, subnets } from '../../orchestrator/store/schema.ts'

export function guardSuite(database: string, options: () => Promise<{ url?: string; directory: string }>): void {
  describe(`database guards on ${database}`, () => {
    let open: OpenDatabase
    const enterprise = randomUUID()
    const [a, b] = [randomUUID(), randomUUID()]
    beforeAll(async () => {
      open = await openDatabase(await options())
      await open.db.insert(enterprises).values({ id: enterprise, name: 'acme', security: 'esp' })
      await open.db.insert(nodes).values([
        { id: a, name: 'a', role: 'edge', enterprise },
        { id: b, name: 'b', role: 'edge', enterprise },
      ])
      await open.db.insert(subnets).values({ enterprise, node: a, prefix: '10.1.0.0/16' })
    })
    afterAll(() => open?.close())

    test.each([
      [
        'a prefix inside another',
        () => open.db.insert(subnets).values({ enterprise, node: b, prefix: '10.1.2.0/24' }),
        'subnet_overlap',
      ],
      [
        'a prefix around another',
        () => open.db.insert(subnets).values({ enterprise, node: b, prefix: '0.0.0.0/0' }),
        'subnet_overlap',
      ],
      [
        "a subnet under an enterprise that is not its node's",
        () => open.db.insert(subnets).values({ enterprise: randomUUID(), node: a, prefix: '10.9.0.0/16' }),
        'subnet_owner',
      ],
      [
        'a second node of the same name',
        () => open.db.insert(nodes).values({ id: randomUUID(), name: 'a', role: 'edge', enterprise }),
        'node_name',
      ],
      [
        'an edge without enterprise',
        () => open.db.insert(nodes).values({ id: randomUUID(), name: 'c', role: 'edge' }),
        'edge_has_enterprise',
      ],
      [
        'an active node without key',
        () => open.db.insert(nodes).values({ id: randomUUID(), name: 'c', role: 'edge', enterprise, status: 'active' }),
        'active_has_key',
      ],
    ])('%s', async (_what, insert, constraint) => {
      await expect(insert()).rejects.toMatchObject({ cause: { constraint } })
    })

    test('the other family is no overlap', async () => {
      await open.db.insert(subnets).values({ enterprise, node: b, prefix: '::/0' })
    })

    test('the audit log cannot be rewritten', async () => {
      await open.db.insert(events).values({ severity: 'info', actor: 'x', action: 'x', object: 'x', message: 'x' })
      for (const statement of [sql`update events set actor = 'y'`, sql`delete from events`, sql`truncate events`]) {
        await expect(open.db.execute(statement)).rejects.toMatchObject({
          cause: { message: 'table events is append only' },
        })
      }
    })
  })
}
