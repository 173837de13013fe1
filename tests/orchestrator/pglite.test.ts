import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll } from 'vitest'
import { guardSuite } from './guards.ts'
import { orchestratorSuite } from './suite.ts'

const directory = mkdtempSync(join(tmpdir(), 'branchline-guards-'))
afterAll(() => rmSync(directory, { recursive: true, force: true }))

orchestratorSuite('PGlite', async () => ({}))
guardSuite('PGlite', async () => ({ directory }))
