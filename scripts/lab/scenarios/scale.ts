/**
 *   a1 === gw1 -> [ nat x 1..4 ] -> web
 *
 * One instance is enough for few connections. As they become more instances are launched; when they end, instances end. No connection notices.
 */
import { ConnectionServer, Connections } from '../connections.ts'
import { allInstances, inNamespace, readyInstances, steerToInternet, withFunctions } from '../functions.ts'
import type { Scenario, Stage } from '../scenario.ts'
import { switchOn } from '../steps.ts'
import { claim } from '../story.ts'
import { until } from '../until.ts'

const PORT = 7600
const MOST = 4
/** Connections that one instance can hold. */
const CAPACITY = 100
const FEW = 40
const WAVE = 60
const WAVES = 5
const LAUNCH_DEADLINE_MS = 120_000
const SHRINK_DEADLINE_MS = 120_000

export const scale: Scenario = {
  name: 'scale',
  about: 'instances come with the connections and go with them, one to four and back; no connection breaks',
  topology: 'service-chains',
  enterprises: ['acme'],
  configure: withFunctions(
    inNamespace('nat', {
      nat: true,
      max: MOST,
      perEnterprise: MOST,
      capacityConnections: CAPACITY,
      settleMs: 3000,
      drainMs: 60_000,
    }),
  ),
  async run(stage) {
    const { story, lab, system } = stage
    await switchOn(stage, 'acme')
    const server = await ConnectionServer.start(lab, PORT)
    const open: Connections[] = []
    const add = async (count: number) =>
      open.push(await Connections.open(lab, { from: 'a1', family: 4, port: PORT, count, perSecond: 100 }))
    await story.step(`one instance carries ${FEW} connections`, async () => {
      await steerToInternet(system, { enterprise: 'acme', functions: ['nat'] })
      await untilInstances(stage, 1, LAUNCH_DEADLINE_MS)
      await until('a connection is answered', LAUNCH_DEADLINE_MS, async () => {
        const one = await Connections.open(lab, { from: 'a1', family: 4, port: PORT, count: 1, perSecond: 1 })
        return (await one.finish()).opened === 1
      })
      await add(FEW)
      claim((await allInstances(system, 'nat')) === 1, 'there are more instances than one')
    })
    await story.step(`${WAVES} x ${WAVE} more: ${MOST} instances`, async () => {
      const begin = performance.now()
      for (let wave = 0; wave < WAVES; wave++) await add(WAVE)
      await untilInstances(stage, MOST, LAUNCH_DEADLINE_MS)
      story.figure('grown-after', Math.round(performance.now() - begin), 'ms', null)
    })
    await story.step('every connection lives, and new ones use every instance', async () => {
      await until('every instance has connections', LAUNCH_DEADLINE_MS, async () => {
        await add(MOST)
        const seen = await lab.run('web', ['ss', '-Htn', 'state', 'established', `sport = :${PORT}`])
        return new Set([...seen.matchAll(/198\.18\.0\.\d+(?=\]?:\d+\s*$)/gm)].map(([address]) => address)).size === MOST
      })
      let broken = 0
      for (const connections of open) {
        const result = await connections.finish()
        claim(result.failed === 0, `${result.failed} connections did not come to be`)
        broken += result.broken
      }
      story.figure('connections-broken', broken, 'connections', 0)
    })
    await story.step('without connections one instance stays', async () => {
      const begin = performance.now()
      await untilInstances(stage, 1, SHRINK_DEADLINE_MS)
      story.figure('shrunk-after', Math.round(performance.now() - begin), 'ms', null)
      await server.finish()
    })
  },
}

async function untilInstances({ system }: Stage, wanted: number, deadlineMs: number): Promise<void> {
  await until(`there are ${wanted} instances`, deadlineMs, async () => {
    const [all, ready] = [await allInstances(system, 'nat'), await readyInstances(system, 'nat')]
    claim(all === wanted && ready === wanted, `there are ${all}, of which ${ready} take connections`)
    return true
  })
}
