import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { ConfigError, readAgentConfig } from './config.ts'

let directory: string
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'branchline-config-'))
})
afterAll(() => rmSync(directory, { recursive: true }))

function readText(text: string) {
  const file = join(directory, 'agent.json')
  writeFileSync(file, text)
  return readAgentConfig(file)
}
const wan = [{ name: 'inet', interface: 'wan0' }]

test('one WAN link is enough; all else has defaults', () => {
  expect(readText(JSON.stringify({ wan }))).toEqual({
    stateDir: '/var/lib/branchline/agent',
    runDir: '/run/branchline',
    bpffs: '/sys/fs/bpf/branchline',
    socket: '/run/branchline/agent.sock',
    logLevel: 'info',
    lan: [],
    wan: [{ name: 'inet', interface: 'wan0', families: [4, 6], backup: false, metered: false }],
    timers: {
      probeMs: 500,
      silentMs: 1500,
      rekeyAfterS: 3600,
      graceMs: 3000,
      staleRoutesMs: 60_000,
      handshakeRetryMs: 500,
      holdMs: 5000,
      longestHoldMs: 300_000,
      leaveEveryMs: 10_000,
    },
    classes: {
      default: { spread: 'best', fec: false, playoutMs: 200 },
      realtime: { spread: 'auto', fec: true, playoutMs: 60 },
      transactional: { spread: 'best', fec: false, playoutMs: 100 },
      bulk: { spread: 'flows', fec: false, playoutMs: 200 },
    },
    handshake: { hybrid: 'preferred' },
    xdp: 'auto',
    services: { functions: [] },
  })
})

test('the socket follows the run directory unless it is named', () => {
  expect(readText(JSON.stringify({ wan, runDir: '/run/a' })).socket).toBe('/run/a/agent.sock')
  expect(readText(JSON.stringify({ wan, runDir: '/run/a', socket: '/run/b.sock' })).socket).toBe('/run/b.sock')
})

test.each([
  ['no WAN', { wan: [] }, 'wan: at least one WAN link is needed'],
  ['WAN missing', {}, 'wan: '],
  [
    'a hold above the longest',
    { wan, timers: { holdMs: 20, longestHoldMs: 10 } },
    'timers.holdMs: must not be above longestHoldMs',
  ],
  ['a hold of nothing', { wan, timers: { holdMs: 0 } }, 'timers.holdMs: '],
  ['a name twice', { wan: [...wan, { name: 'inet', interface: 'wan1' }] }, 'wan.1.name: inet is used twice'],
  ['an interface twice', { wan: [...wan, { name: 'lte', interface: 'wan0' }] }, 'wan.1.interface: wan0 is used twice'],
  [
    'a long interface name',
    { wan: [{ name: 'a', interface: 'abcdefghijklmnop' }] },
    'wan.0.interface: must be an interface name',
  ],
  ['a path as interface', { wan: [{ name: 'a', interface: '../x' }] }, 'wan.0.interface: must be an interface name'],
  ['a family', { wan: [{ name: 'a', interface: 'b', families: [5] }] }, 'wan.0.families.0: must be 4 or 6'],
  ['a rate of nothing', { wan: [{ name: 'a', interface: 'b', upMbps: 0 }] }, 'wan.0.upMbps: '],
  ['a rate in words', { wan: [{ name: 'a', interface: 'b', downMbps: '10M' }] }, 'wan.0.downMbps: '],
  ['host bits', { wan, lan: [{ interface: 'lan0', subnets: ['10.0.0.1/8'] }] }, 'lan.0.subnets.0: must be a prefix'],
  ['a relative path', { wan, stateDir: 'state' }, 'stateDir: must be an absolute path'],
  ['a plain URL', { wan, orchestrator: { url: 'http://x' } }, 'orchestrator.url: must be a wss:// URL'],
  ['a timer', { wan, timers: { probeMs: 0 } }, 'timers.probeMs: '],
  ['a field that is not known', { wan, lans: [] }, 'lans'],
  [
    'a depth that the encoder has no columns for',
    { wan, classes: { bulk: { fec: { packets: 5, depth: 8 } } } },
    'classes.bulk.fec',
  ],
])('%s is refused, the field named', (_what, config, message) => {
  expect(() => readText(JSON.stringify(config))).toThrow(message)
})

test('a file that is missing or no JSON is named', () => {
  expect(() => readAgentConfig(join(directory, 'none.json'))).toThrow(
    /cannot read the agent configuration .*none.json: ENOENT/,
  )
  expect(() => readText('{')).toThrow(ConfigError)
  expect(() => readText('{')).toThrow(/agent.json is not JSON/)
})
