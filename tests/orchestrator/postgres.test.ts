/** The suite on PostgreSQL, and what only a shared database can do: replicas, cuts, a wrong neighbour. */
import { cpSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openPostgres } from '../../orchestrator/store/postgres.ts'
import { guardSuite } from './guards.ts'
import { Bench, messageOf, stateWhere } from './harness.ts'
import { type PostgresServer, startPostgres } from './postgres.ts'
import { orchestratorSuite } from './suite.ts'

let server: PostgresServer
beforeAll(async () => {
  server = await startPostgres()
})
afterAll(() => server?.stop())

orchestratorSuite('PostgreSQL 15', async () => ({ databaseUrl: await server.createDatabase('suite') }))

guardSuite('PostgreSQL 15', async () => ({ url: await server.createDatabase('guards'), directory: '/nonexistent' }))

test('a cut between two queries of a transaction ends that transaction and nothing else', {
  timeout: 20_000,
}, async () => {
  const { db, close } = await openPostgres(await server.createDatabase('cut'))
  const cut = db.transaction(async transaction => {
    await transaction.execute('select 1')
    await server.cutConnections()
    // The connection's end has to be here before anybody asks again.
    await delay(200)
    await transaction.execute('select 2')
  })
  await expect(cut).rejects.toThrow()
  expect(await db.execute('select 3 as answer')).toMatchObject({ rows: [{ answer: 3 }] })
  await close()
})

describe('replicas over one PostgreSQL', () => {
  //   admin ── replica A ──┐
  //                        ├── PostgreSQL
  //   node  ── replica B ──┘
  let a: Bench
  let b: Bench
  let databaseUrl: string
  beforeAll(async () => {
    databaseUrl = await server.createDatabase('replicas')
    a = await Bench.start({ databaseUrl })
    b = await Bench.start({ databaseUrl }, data => cpSync(a.data, data, { recursive: true }))
  })
  afterAll(async () => {
    await b?.close()
    await a?.close()
  })

  test('a toggle at one reaches a node at the other; so do revocations; also after the database cut everybody off', async () => {
    const admin = a.admin()
    await admin.enterprise.create.mutate({ name: 'acme' })
    const made = await admin.node.create.mutate({ name: 'edge-a', enterprise: 'acme', subnets: ['10.1.0.0/24'] })
    await b.activate('edge-a', made.activationKey)
    const node = await b.connect('edge-a')
    await admin.vpn.set.mutate({ enterprise: 'acme', enabled: true })
    await stateWhere(node, state => state.vpn?.enabled === true)

    await server.cutConnections()
    // While the listening connections come back, a notice may be missed; it must be made up for.
    await retry(() => admin.vpn.set.mutate({ enterprise: 'acme', enabled: false }))
    await stateWhere(node, state => state.vpn?.enabled === false)

    await delay(500)
    const lost = new Promise(resolve => node.once('connected', resolve))
    await retry(() => admin.node.revoke.mutate({ name: 'edge-a' }))
    expect(await lost).toBe(false)
  })

  test('an orchestrator with another CA is kept off the database', async () => {
    expect(await messageOf(Bench.start({ databaseUrl }))).toMatch(/this database belongs to the orchestrator with CA/)
  })
})

test('a database that cannot be reached is said in one line, without the password', async () => {
  const message = await messageOf(Bench.start({ databaseUrl: 'postgres://me:secret@127.0.0.1:1/x' }))
  expect(message).toBe('cannot use the database at postgres://me:***@127.0.0.1:1/x: connect ECONNREFUSED 127.0.0.1:1')
})

async function retry<T>(run: () => Promise<T>): Promise<T> {
  for (let tries = 0; ; tries++) {
    try {
      return await run()
    } catch (error) {
      if (tries > 20) throw error
      await delay(100)
    }
  }
}
