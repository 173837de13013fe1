import { orchestratorSuite } from './suite.ts'

orchestratorSuite('PGlite', async () => ({}))
