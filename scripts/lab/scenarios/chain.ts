/**
 *   a1 --- branch-a === gw1 -> dpi -> anti-virus -> nat -> web      acme
 *   c1 --- branch-c === gw1 -> nat ---------------------> web      globex, with the same addresses
 *
 * A chain of three functions, end to end: what is clean arrives whole, what is not is withheld, and nobody reaches the Internet around it.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { ConnectionServer, Connections } from '../connections.ts'
import { inNamespace, steerToInternet, withFunctions } from '../functions.ts'
import type { Scenario, Stage } from '../scenario.ts'
import { switchOn } from '../steps.ts'
import { claim } from '../story.ts'
import { hostAddress, ping } from '../traffic.ts'
import { until } from '../until.ts'
import { Web } from '../web.ts'

const INSTANCES_DEADLINE_MS = 120_000
/** In the middle of connections that go on. */
const ORPHANED_MS = 2000
const CONNECTIONS = 50

export const chain: Scenario = {
  name: 'chain',
  about:
    'to the Internet through DPI, anti-virus and NAT: a clean file arrives, EICAR and SSH do not; also over IPv6, for two tenants, without an agent',
  topology: 'service-chains',
  enterprises: ['acme', 'globex'],
  configure: withFunctions(
    inNamespace('dpi', { env: { DPI_BLOCK: 'SSH' } }),
    inNamespace('anti-virus'),
    inNamespace('nat', { nat: true }),
  ),
  async run(stage) {
    const { story, lab, system } = stage
    const web = await Web.start(lab)
    for (const enterprise of ['acme', 'globex']) await switchOn(stage, enterprise)
    await story.step('without a policy nobody reaches the Internet', async () => {
      for (const host of ['a1', 'c1']) claim((await ping(lab, host, 'web', 4, 2)) === 0, `${host} reaches web`)
    })
    await story.step('acme: dpi, anti-virus, nat; globex: nat', async () => {
      await steerToInternet(system, { enterprise: 'acme', functions: ['dpi', 'anti-virus', 'nat'] })
      await steerToInternet(system, { enterprise: 'globex', functions: ['nat'] })
      for (const host of ['a1', 'c1'])
        for (const family of [4, 6] as const)
          await until(`${host} reaches web over IPv${family}`, INSTANCES_DEADLINE_MS, () => web.answers(host, family))
    })
    await story.step('10 MB arrive as they are, over IPv4 and IPv6', async () => {
      for (const host of ['a1', 'c1']) for (const family of [4, 6] as const) await web.getClean(host, family)
    })
    await story.step('web knows the addresses of instances only, other ones for each tenant', () =>
      addresses(stage, web),
    )
    await story.step('EICAR does not arrive at acme, which has an anti-virus', async () => {
      for (const family of [4, 6] as const) {
        claim((await web.get('a1', family, 'eicar.com')).status === 403, 'a1 gets the EICAR test file')
        claim((await web.get('c1', family, 'eicar.com')).status === 200, 'c1 does not get the EICAR test file')
      }
    })
    await story.step('SSH is refused to acme, on whatever port', () => ssh(stage))
    await story.step('branches go on reaching each other, not steered', async () => {
      for (const family of [4, 6] as const)
        claim((await ping(lab, 'a1', 'b1', family, 3)) === 3, 'a1 does not reach b1')
    })
    await agentKill(stage, web)
  },
}

async function addresses({ story, lab }: Stage, web: Web): Promise<void> {
  const gateway = lab.topology.nodes.find(node => node.name === 'gw1')
  const lent: readonly string[] = gateway?.kind === 'gateway' ? (gateway.upstream?.nat ?? []) : []
  const askers = new Set(web.askedFor('clean.bin'))
  story.note(`web was asked by ${[...askers].join(', ')}`)
  // Two tenants, two families.
  claim(askers.size === 4, `${askers.size} addresses instead of 4`)
  const strangers = [...askers].filter(address => !lent.includes(address))
  story.figure('addresses-leaked', strangers.length, 'addresses', 0)
}

async function ssh({ lab }: Stage): Promise<void> {
  const port = 8022
  await lab.start('web', {
    name: 'ssh',
    argv: ['busybox', 'nc', '-ll', '-p', String(port), '-e', 'sh', '-c', 'echo SSH-2.0-server; exec cat'],
  })
  const speak = `exec 3<>/dev/tcp/${hostAddress(lab, 'web', 4)}/${port} && echo SSH-2.0-OpenSSH_9.2 >&3 && sleep 1 && echo again >&3 && cat <&3`
  const spoken = (host: string) => lab.exec(host, ['timeout', '15', 'bash', '-c', speak])
  const acme = await spoken('a1')
  claim(/reset|refused|Broken pipe/i.test(acme.stderr), `a1 speaks SSH: ${acme.stdout} ${acme.stderr} (${acme.code})`)
  const globex = await spoken('c1')
  claim(globex.stdout.includes('again'), `c1 does not speak SSH: ${globex.stderr}`)
}

async function agentKill(stage: Stage, web: Web): Promise<void> {
  const { story, lab, system } = stage
  const gateway = system.agent('gw1')
  const server = await ConnectionServer.start(lab, 7400)
  const options = { from: 'a1', family: 4, port: 7400, count: CONNECTIONS, perSecond: 50 } as const
  const connections = await Connections.open(lab, options)
  await story.step(`gw1: kill -9, and ${ORPHANED_MS / 1000} s without it; 10 MB arrive meanwhile`, async () => {
    await gateway.kill('KILL')
    await web.getClean('a1', 4)
    await sleep(ORPHANED_MS)
  })
  await story.step('gw1: the next agent adopts instances and connections', async () => {
    await gateway.start()
    const { adoption } = await gateway.status()
    claim(adoption === 'adopted', `the dataplane was ${adoption}, not adopted`)
    for (const edge of system.edges) await system.connected(edge)
    const { opened, failed, broken } = await connections.finish()
    claim(opened === CONNECTIONS && failed === 0, `${opened} of ${CONNECTIONS} connections came to be`)
    story.figure('connections-broken', broken, 'connections', 0)
    await server.finish()
  })
}
