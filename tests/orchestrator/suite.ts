/**
 * What an orchestrator does, whatever database it stands on.
 *
 *   admin ── wss ── orchestrator ── wss ── nodes (the agent's own client, real sockets, real certificates)
 *
 * The cases share one orchestrator, each with an enterprise of its own, and run in this order: the last ones restart it.
 */
import { afterAll, beforeAll, describe } from 'vitest'
import { activationCases } from './cases/activation.ts'
import { inputCases } from './cases/input.ts'
import { intentCases } from './cases/intent.ts'
import { policyCases } from './cases/policy.ts'
import { stateCases } from './cases/state.ts'
import { Bench, type BenchOptions, type Client } from './harness.ts'
import type { Setup } from './setup.ts'

export function orchestratorSuite(database: string, options: () => Promise<BenchOptions>): void {
  describe(`orchestrator on ${database}`, () => {
    let bench: Bench
    let admin: Client['admin']
    beforeAll(async () => {
      bench = await Bench.start(await options())
      admin = bench.admin()
    })
    afterAll(() => bench?.close())
    const setup: Setup = {
      database,
      get bench() {
        return bench
      },
      get admin() {
        return admin
      },
      edge: async (enterprise, name, subnets) => {
        const made = await admin.node.create.mutate({ name, enterprise, subnets })
        return { id: made.id, state: await bench.activate(name, made.activationKey) }
      },
    }
    activationCases(setup)
    intentCases(setup)
    inputCases(setup)
    policyCases(setup)
    stateCases(setup)
  })
}
