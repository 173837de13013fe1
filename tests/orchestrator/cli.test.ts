/** The `branchline` command as a process, from the bundle that ships: what people and scripts see. */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { type AgentView, listen } from '../../agent/api.ts'

const REPO = join(import.meta.dirname, '../..')
// Below the repository: what stays outside the bundle is resolved from its node_modules.
const BUNDLE = join(REPO, '.cache/test', `cli-${process.pid}`)
const MAIN = join(BUNDLE, 'branchline.js')
const directory = mkdtempSync(join(tmpdir(), 'branchline-cli-'))
const data = join(directory, 'orchestrator')
const readySchema = z.object({ ready: z.literal(true), url: z.string(), pid: z.int(), database: z.string() })

interface Result {
  code: number
  out: string
  err: string
}

async function branchline(argv: string[], input = ''): Promise<Result> {
  const running = promisify(execFile)(process.execPath, [MAIN, ...argv], { timeout: 60_000 })
  running.child.stdin?.end(input)
  try {
    const { stdout, stderr } = await running
    return { code: 0, out: stdout, err: stderr }
  } catch (error) {
    return failedSchema.parse(error)
  }
}
const failedSchema = z
  .object({ code: z.number(), stdout: z.string(), stderr: z.string() })
  .transform(({ code, stdout, stderr }) => ({ code, out: stdout, err: stderr }))
const admin = (...argv: string[]) => branchline(['--data-dir', data, ...argv])
const keySchema = z.object({ id: z.string(), activationKey: z.string() })

let server: ChildProcess
let ready: z.infer<typeof readySchema>
beforeAll(async () => {
  await promisify(execFile)(process.execPath, [join(REPO, 'scripts/bundle.ts'), join(REPO, 'cli/main.ts'), BUNDLE])
  expect(await branchline(['orchestrator', 'init', '--data-dir', data])).toMatchObject({ code: 0, err: '' })
  server = spawn(
    process.execPath,
    [MAIN, 'orchestrator', 'run', '--data-dir', data, '--listen', '127.0.0.1:0', '--log-level', 'warn'],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  )
  if (!server.stdout) throw new Error('no stdout')
  const [line] = await once(server.stdout, 'data')
  ready = readySchema.parse(JSON.parse(String(line)))
}, 120_000)
afterAll(() => {
  server?.kill('SIGKILL')
  for (const made of [directory, BUNDLE]) rmSync(made, { recursive: true, force: true })
})

describe('orchestrator', () => {
  test('is ready with one JSON line; its keys are for the owner alone', () => {
    expect(ready).toMatchObject({ ready: true, pid: server.pid, database: 'PGlite' })
    for (const name of ['ca.key', 'server.key', 'grant.key', 'admin.json'])
      expect(statSync(join(data, name)).mode & 0o777, name).toBe(0o600)
  })

  test('a second one on the same data is refused by name, a second init too', async () => {
    const second = await branchline(['orchestrator', 'run', '--data-dir', data, '--listen', '127.0.0.1:0'])
    expect(second).toMatchObject({ code: 1, out: '' })
    expect(second.err).toBe(
      `branchline: another orchestrator (process ${server.pid}) uses this database; stop it, or use another --data-dir (lock file ${data}/db.lock)\n`,
    )
    expect((await branchline(['orchestrator', 'init', '--data-dir', data])).err).toBe(
      `branchline: ${data} holds an orchestrator already; it is not overwritten\n`,
    )
  })

  test('needs an init', async () => {
    const result = await branchline(['orchestrator', 'run', '--data-dir', join(directory, 'none')])
    expect(result.err).toBe(
      `branchline: ${join(directory, 'none')} holds no orchestrator; make one with 'branchline orchestrator init --data-dir ${join(directory, 'none')}'\n`,
    )
  })

  test('with PGlite it stays within 700 MB', () => {
    const status = readFileSync(`/proc/${server.pid}/status`, 'utf8')
    const resident = Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) / 1000
    console.log(`orchestrator with PGlite: ${Math.round(resident)} MB resident`)
    expect(resident).toBeLessThan(700)
  })
})

describe('from nothing to a toggle', () => {
  test('enterprise, gateway, edge, activation, VPN, all by hand', { timeout: 120_000 }, async () => {
    expect(await admin('enterprise', 'create', 'acme')).toMatchObject({
      code: 0,
      out: expect.stringMatching(/^enterprise acme created {2}\(.*\)\n$/),
    })
    const gateway = await admin(
      '--json',
      'node',
      'create',
      'gw1',
      '--role',
      'gateway',
      '--endpoint',
      '192.0.2.1',
      '--endpoint',
      '[2001:db8::1]:9',
    )
    expect(keySchema.parse(JSON.parse(gateway.out)).activationKey).toMatch(/^BL1-/)
    const edge = await admin(
      'node',
      'create',
      'edge-a',
      '--enterprise',
      'acme',
      '--subnet',
      '10.1.0.0/24',
      '--subnet',
      '10.2.0.0/24',
      '--json',
    )
    const key = keySchema.parse(JSON.parse(edge.out)).activationKey
    const state = join(directory, 'edge-a')
    const activated = await branchline(['agent', 'activate', '--url', ready.url, '--state-dir', state, '-'], `${key}\n`)
    expect(activated).toMatchObject({ code: 0, out: expect.stringMatching(/^this machine is edge edge-a now\n/) })
    for (const file of ['identity', 'state']) expect(statSync(join(state, file)).mode & 0o777).toBe(0o600)
    const again = await branchline(['agent', 'activate', '--url', ready.url, '--state-dir', state, key])
    expect(again).toMatchObject({
      code: 1,
      err: expect.stringMatching(/^branchline: not activated: this activation key was used at .*\n$/),
    })

    expect((await admin('vpn', 'on', 'acme')).out).toBe('VPN of acme is on\n')
    expect((await admin('vpn', 'on', 'acme')).out).toBe('VPN of acme was on already\n')
    expect(JSON.parse((await admin('vpn', 'off', 'acme', '--subnet', '10.2.0.0/24', '--json')).out)).toEqual({
      enterprise: 'acme',
      subnet: '10.2.0.0/24',
      enabled: false,
      changed: true,
    })
    expect((await admin('subnet', 'list')).out).toBe(
      [
        'ENTERPRISE  PREFIX       NODE    IN VPN  REACHABLE  GATEWAYS',
        'acme        10.1.0.0/24  edge-a  yes     yes        all',
        'acme        10.2.0.0/24  edge-a  no      no         all',
        '',
      ].join('\n'),
    )
    const shown = await admin('node', 'show', 'gw1')
    expect(shown.out).toContain('endpoint 192.0.2.1:2426\nendpoint [2001:db8::1]:9\n')
    const events = await admin('events', '--action', 'vpn.', '--json')
    expect(JSON.parse(events.out)).toMatchObject({
      events: [{ action: 'vpn.off' }, { action: 'vpn.on', actor: 'admin:admin' }],
      next: null,
    })
    expect((await admin('__complete', '--', 'vpn', 'on', 'a')).out).toBe('acme\n')
    expect((await admin('__complete', '--', 'node', 'show', '')).out).toBe('edge-a\ngw1\n')
  })
})

test('a gateway is added, drained, named for a subnet and removed', { timeout: 120_000 }, async () => {
  const made = await admin('gateway', 'add', 'gw2', '--endpoint', '192.0.2.2', '--location', '50.11,8.68', '--json')
  const key = keySchema.parse(JSON.parse(made.out)).activationKey
  const state = join(directory, 'gw2')
  expect(await branchline(['agent', 'activate', '--url', ready.url, '--state-dir', state, key])).toMatchObject({
    code: 0,
  })
  expect((await admin('subnet', 'gateways', 'edge-a', '10.2.0.0/24', 'gw2')).out).toBe(
    '10.2.0.0/24 of edge-a: announced to gw2 alone\n',
  )
  expect((await admin('subnet', 'list')).out).toMatch(/10\.2\.0\.0\/24 {2}edge-a {2}no {6}no {9}gw2\n/)
  expect((await admin('gateway', 'assign', 'acme', 'gw2', '--metric', '20')).code).toBe(0)
  expect((await admin('gateway', 'list')).out).toBe(
    [
      'GATEWAY  STATUS   DRAINED  EDGES  IN USE BY  SERVES     LOCATION     ENDPOINTS',
      'gw1      created  no       -              0  all        -            192.0.2.1:2426 [2001:db8::1]:9',
      'gw2      active   no       -              0  acme (20)  50.11, 8.68  192.0.2.2:2426',
      '',
    ].join('\n'),
  )
  expect(await admin('gateway', 'remove', 'gw2')).toMatchObject({
    code: 1,
    err: "branchline: gateway gw2 is not drained: 'branchline gateway drain gw2' first, or --now to lose what is under way\n",
  })
  expect((await admin('gateway', 'drain', 'gw2')).out).toBe('gateway gw2: flows leave it for other gateways\n')
  expect((await admin('gateway', 'drain', 'gw2')).out).toBe('gateway gw2: it was drained already\n')

  expect((await admin('node', 'location', 'edge-a', '--', '-33.87,151.21')).out).toBe('edge-a is at -33.87, 151.21\n')
  expect((await admin('gateway', 'remove', 'gw2')).out).toBe('gateway gw2 removed\n')
})

test('a policy is made of zones, chains and rules, and shown as a whole', { timeout: 120_000 }, async () => {
  expect((await admin('policy', 'show', 'acme')).out).toMatch(/^acme never had a policy\n\nno zones; /)
  expect((await admin('zone', 'add', 'acme', 'hosts', '10.1.0.0/24', '2001:db8:1::/48')).out).toBe(
    'zone hosts of acme has 10.1.0.0/24, 2001:db8:1::/48\n',
  )
  expect((await admin('chain', 'create', 'acme', 'inspect', '--functions', 'dpi:open,nat')).out).toBe(
    'chain inspect of acme: dpi:open, nat\n',
  )
  const web = ['rule', 'add', 'acme', 'web', '--source', 'hosts', '--proto', 'tcp', '--port', '80-443']
  expect(await admin(...web)).toMatchObject({ code: 2, err: expect.stringMatching(/--chain <chain> or --bypass/) })
  expect((await admin(...web, '--chain', 'inspect', '--existing', 'move')).out).toBe('rule web of acme is in force\n')
  expect((await admin('rule', 'add', 'acme', 'dns', '--proto', '17', '--bypass', '--before', 'web')).code).toBe(0)
  expect((await admin('internet', 'on', 'acme')).out).toBe('Internet for acme is on\n')
  expect((await admin('internet', 'on', 'acme')).out).toBe('Internet for acme was on already\n')
  const shown = (await admin('policy', 'show', 'acme')).out.split('\n')
  expect(shown[0]).toMatch(/^policy 6 of acme, since 20/)
  expect(shown.slice(1)).toEqual([
    'way to the Internet over gateways: on',
    '',
    'ZONE   PREFIXES',
    'hosts  10.1.0.0/24 2001:db8:1::/48',
    '',
    'CHAIN    FUNCTIONS     RULES',
    'inspect  dpi:open,nat      1',
    '',
    'RULE  SOURCE  DESTINATION  PROTOCOL  PORTS   DIRECTION  CHAIN    EXISTING',
    'dns   any     any          udp       any     out        none     keep',
    'web   hosts   any          tcp       80-443  out        inspect  move',
    '',
  ])
  expect((await admin('rule', 'move', 'acme', 'dns')).out).toBe('rule dns of acme stands last\n')
  expect(await admin('chain', 'delete', 'acme', 'inspect')).toMatchObject({
    code: 1,
    err: 'branchline: chain inspect is used by rule web; remove that first\n',
  })
  expect(await admin('chain', 'create', 'acme', 'loop', '--functions', 'nat,dpi,nat')).toMatchObject({
    code: 2,
    err: 'branchline: hops: a function may be in a chain only once\n',
  })
})

describe('mistakes', () => {
  test.each([
    ['no such verb', ['vpn', 'toggle', 'acme'], 2, /unknown command 'toggle'/],
    ['an argument missing', ['vpn', 'on'], 2, /missing required argument 'enterprise'/],
    [
      'an option value',
      ['node', 'create', 'x', '--role', 'king'],
      2,
      /--role <role>.*Allowed choices are edge, gateway/,
    ],
    [
      'an endpoint',
      ['node', 'create', 'x', '--role', 'gateway', '--endpoint', 'a:b:c'],
      2,
      /must be an address with a port/,
    ],
    [
      'a field',
      ['node', 'create', 'x', '--enterprise', 'acme', '--subnet', '10.0.0.1/8'],
      2,
      /^branchline: subnets\.0: must be a prefix like/,
    ],
    [
      'a name',
      ['enterprise', 'show', 'nobody'],
      1,
      /^branchline: there is no enterprise nobody; 'branchline enterprise list' shows them\n$/,
    ],
    [
      'an address where nobody listens',
      ['--url', '127.0.0.1:1', 'enterprise', 'list'],
      3,
      /^branchline: cannot reach the orchestrator at wss:\/\/127\.0\.0\.1:1: nobody listens there\n$/,
    ],
    [
      'no agent',
      ['--socket', '/nonexistent/agent.sock', 'status'],
      3,
      /^branchline: no agent listens on \/nonexistent\/agent\.sock; start it with/,
    ],
  ])('%s', async (_what, argv, code, message) => {
    const result = await admin(...argv)
    expect(result.err).toMatch(message)
    expect(result).toMatchObject({ code, out: '' })
  })

  test('no admin file', async () => {
    const result = await branchline(['--data-dir', '/nonexistent', 'enterprise', 'list'])
    expect(result).toMatchObject({ code: 2, err: expect.stringMatching(/there is no admin file \/nonexistent/) })
  })

  test('a key that is none, and an agent configuration that is wrong', async () => {
    expect(await branchline(['agent', 'activate', '--url', ready.url, 'BL1-X'])).toMatchObject({
      code: 2,
      err: 'branchline: this is no activation key; copy the whole text that begins with BL1-\n',
    })
    const file = join(directory, 'agent.json')
    writeFileSync(file, '{"wan":[]}')
    expect(await branchline(['agent', 'run', '--config', file])).toMatchObject({
      code: 2,
      err: `branchline: ${file}: wan: at least one WAN link is needed\n`,
    })
  })

  test('help is no mistake', async () => {
    const help = await branchline(['vpn', '--help'])
    expect(help.code).toBe(0)
    expect(help.out).toContain('switch the VPN of an enterprise on')
    expect((await branchline(['--help'])).out).toContain('Exit codes: 0 done, 1 refused or failed, 2 wrong usage')
  })
})

describe('the agent of this machine', () => {
  const view: AgentView = {
    status: () => {
      throw new Error('this node is still starting')
    },
    metrics: () => 'branchline_sessions 2\n',
    routes: () => [
      {
        enterprise: 'acme',
        prefix: '10.2.0.0/24',
        reachable: false,
        security: 'esp',
        owner: 'edge-b',
        via: 'unreachable',
        source: 'learned',
      },
    ],
    drops: () => ({ drops: { 'unreachable-subnet': 3, 'no-sa': 0 }, counters: { 'lan-in': 12 }, samples: [] }),
    paths: () => [],
    pathHistory: () => [],
    services: () => ({ chains: [], pools: [], instances: [] }),
    rekey: ({ peer }) => ({ peers: [peer ?? 'gw1'] }),
    events: () => [],
  }

  test('routes, drops, rekey and an error of the agent', async () => {
    const socket = join(directory, 'run/agent.sock')
    const agent = await listen(socket, view)
    const ask = (...argv: string[]) => branchline(['--socket', socket, ...argv])
    expect((await ask('routes')).out).toBe(
      'ENTERPRISE  PREFIX       REACHABLE  SECURITY  OWNER   VIA          SOURCE\nacme        10.2.0.0/24  no         esp       edge-b  unreachable  learned\n',
    )
    expect((await ask('drops')).out).toBe(
      'DROPPED BECAUSE     PACKETS\nunreachable-subnet        3\n\nCOUNTER  PACKETS\nlan-in        12\n',
    )
    expect(JSON.parse((await ask('rekey', 'gw2', '--json')).out)).toEqual({ peers: ['gw2'] })
    expect(await ask('status')).toMatchObject({ code: 1, err: 'branchline: this node is still starting\n' })
    await agent.close()
  })
})

test('SIGTERM ends it cleanly: exit code 0, no lock left, the data whole', { timeout: 60_000 }, async () => {
  const exited = once(server, 'exit')
  server.kill('SIGTERM')
  expect(await exited).toEqual([0, null])
  expect(() => statSync(join(data, 'db.lock'))).toThrow()
  const unreachable = await admin('enterprise', 'list')
  expect(unreachable).toMatchObject({ code: 3, err: expect.stringMatching(/cannot reach the orchestrator/) })
})
