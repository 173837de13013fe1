import { afterAll, beforeAll } from 'vitest'
import { type PostgresServer, startPostgres } from './postgres.ts'
import { orchestratorSuite } from './suite.ts'

let server: PostgresServer
beforeAll(async () => {
  server = await startPostgres()
})
afterAll(() => server?.stop())

orchestratorSuite('PostgreSQL 15', async () => ({ databaseUrl: await server.createDatabase('suite') }))
