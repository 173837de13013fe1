/**
 *   a1 === gw1 -> [ nat x 8 ] -> web          one address of the Internet for each instance: web counts
 *
 * Ten thousand connections that are open at once, over eight instances, chosen in each of the three ways.
 */
import { ConnectionServer, Connections } from '../connections.ts'
import { INTERNET, inNamespace, readyInstances, withFunctions } from '../functions.ts'
import type { Lab } from '../lab.ts'
import type { Scenario, Stage } from '../scenario.ts'
import { switchOn } from '../steps.ts'
import { claim } from '../story.ts'
import { until } from '../until.ts'

const INSTANCES = 8
const CONNECTIONS = 10_000
const INSTANCES_DEADLINE_MS = 180_000
/** What of a fair share an instance may have too much or too little, in percent. By chance it is 10 % for one in a thousand (binomial, 10,000 and 1/8). */
const WAYS = [
  { balance: 'turns', port: 7501, bar: 5 },
  { balance: 'least', port: 7502, bar: 5 },
  { balance: 'hash', port: 7503, bar: 15 },
] as const

export const balance: Scenario = {
  name: 'balance',
  about: 'ten thousand connections over eight instances: in turns, to the one with the fewest, and by a hash',
  topology: 'service-chains',
  enterprises: ['acme'],
  configure: withFunctions(
    ...WAYS.map(({ balance: way }) =>
      inNamespace(way, {
        recipe: 'nat',
        nat: true,
        balance: way,
        min: INSTANCES,
        perEnterprise: INSTANCES,
        max: INSTANCES,
      }),
    ),
  ),
  async run(stage) {
    const { story, system } = stage
    const { admin } = system.orchestrator
    await switchOn(stage, 'acme')
    await story.step(`${INSTANCES} instances for each way`, async () => {
      const enterprise = 'acme'
      for (const { balance: name, port } of WAYS) {
        await admin.chain.create.mutate({ enterprise, name, hops: [{ function: name, failOpen: false }] })
        await admin.rule.add.mutate({
          enterprise,
          name,
          destination: [...INTERNET],
          proto: 6,
          destinationPorts: [port, port],
          chain: name,
        })
      }
      await admin.policy.internet.mutate({ enterprise, enabled: true })
      for (const { balance: name } of WAYS)
        await until(`all instances of ${name} take connections`, INSTANCES_DEADLINE_MS, async () => {
          const count = await readyInstances(system, name)
          claim(count === INSTANCES, `${count} instances`)
          return true
        })
    })
    for (const way of WAYS)
      await story.step(`${way.balance}: ${stage.count ?? CONNECTIONS} connections`, () => spread(stage, way))
  },
}

async function spread({ story, lab, count = CONNECTIONS }: Stage, way: (typeof WAYS)[number]): Promise<void> {
  const { balance: name, port, bar } = way
  await untilAllServe(lab, port)
  const server = await ConnectionServer.start(lab, port)
  const perSecond = lab.machine.kind === 'native' ? 1000 : 100
  const connections = await Connections.open(lab, { from: 'a1', family: 4, port, count, perSecond })
  const { opened, failed, broken } = await connections.finish()
  claim(opened === count && failed === 0, `${opened} of ${count} connections came to be, ${failed} did not`)
  story.figure(`${name}-broken`, broken, 'connections', 0)
  const shares = [...(await server.finish()).values()]
  story.note(`shares: ${shares.join(' ')}`)
  claim(shares.length === INSTANCES, `${shares.length} instances had connections, not ${INSTANCES}`)
  const fair = shares.reduce((sum, share) => sum + share, 0) / INSTANCES
  const worst = Math.max(...shares.map(share => Math.abs(share - fair) / fair)) * 100
  story.figure(`${name}-off-fair-share`, Math.round(worst * 10) / 10, '%', bar)
}

/** An instance that is ready takes connections a moment later: shares are of eight that do. */
async function untilAllServe(lab: Lab, port: number): Promise<void> {
  await until(`connections go through ${INSTANCES} instances`, INSTANCES_DEADLINE_MS, async () => {
    const server = await ConnectionServer.start(lab, port)
    const some = await Connections.open(lab, { from: 'a1', family: 4, port, count: INSTANCES * 8, perSecond: 200 })
    await some.finish()
    const seen = (await server.finish()).size
    claim(seen === INSTANCES, `they go through ${seen}`)
    return true
  })
}
