/**
 * Instances as network namespaces, of a gateway that is a namespace itself:
 *
 *   bls7i0 ==== in0  echo-7  out0 ==== bls7o0
 *                    mgmt0 ==== bls7m0
 */
import { execFileSync } from 'node:child_process'
import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { LinuxNetwork } from '../../agent/kernel/network.ts'
import { servicesSchema } from '../../agent/services/config.ts'
import type { LaunchSpec } from '../../agent/services/driver.ts'
import { lives } from '../../agent/services/drivers/command.ts'
import { NamespaceDriver } from '../../agent/services/drivers/namespace.ts'
import { enterFreshNamespace, type Namespace } from './namespace.ts'

const plumb = resolve(import.meta.dirname, '../../vagrant/functions/plumb')
let namespace: Namespace
let network: LinuxNetwork
let directory: string
let driver: NamespaceDriver

beforeEach(() => {
  namespace = enterFreshNamespace()
  network = new LinuxNetwork()
  directory = mkdtempSync(join(tmpdir(), 'branchline-instances-'))
  driver = new NamespaceDriver(join(directory, 'namespaces'), network)
})
afterEach(async () => {
  await driver.sweep(new Set())
  network.close()
  namespace.leave()
  rmSync(directory, { recursive: true, force: true })
})

function specOf(script: string, change: Record<string, unknown> = {}): LaunchSpec {
  const run = join(directory, 'run')
  writeFileSync(run, `#!/bin/sh\n${script}\n`)
  chmodSync(run, 0o755)
  const [config] = servicesSchema.parse({
    functions: [{ name: 'echo', driver: { kind: 'namespace', run, plumb }, startMs: 10_000, ...change }],
  }).functions
  if (!config) throw new TypeError('no function')
  return { name: 'echo-7', number: 7, function: config, nat: ['198.51.100.7', '2001:db8::7'] }
}

const own = (name: string) => join(directory, 'namespaces/echo-7/own', name)
const pidOf = (where: string) => Number(where.replace('process ', ''))
const inside = (pid: number, ...command: string[]) =>
  execFileSync('nsenter', [`--net=/proc/${pid}/ns/net`, '--', ...command], { encoding: 'utf8' })
const devices = async () => (await network.links()).map(({ name }) => name).filter(name => name.startsWith('bls'))

it('starts the function with what it is promised, and ends it with everything', async () => {
  const spec = specOf(
    'env | grep ^BRANCHLINE_ >"$BRANCHLINE_DIR/env"; trap \'echo bye >"$BRANCHLINE_DIR/../../said-bye"; exit 0\' TERM; echo ready; while :; do sleep 0.05; done',
  )
  const { where } = await driver.launch(spec)
  const text = execFileSync('cat', [own('env')], { encoding: 'utf8' })
  for (const line of ['BRANCHLINE_INSTANCE=echo-7', 'BRANCHLINE_NAT4=198.51.100.7', 'BRANCHLINE_NAT6=2001:db8::7'])
    expect(text).toContain(`${line}\n`)
  await driver.attach(spec, 0)
  await driver.stop(spec)
  expect(existsSync(join(directory, 'namespaces/said-bye'))).toBe(true)
  expect(existsSync(join(directory, 'namespaces/echo-7'))).toBe(false)
  // Killed, and gone as soon as its parent has taken notice.
  await vi.waitFor(() => expect(existsSync(`/proc/${pidOf(where)}`)).toBe(false))
  await vi.waitFor(async () => expect(await devices()).toEqual([]))
})

it('gives an adapter two arms between which the instance forwards both families', async () => {
  const spec = specOf('echo ready; exec sleep infinity')
  const pid = pidOf((await driver.launch(spec)).where)
  const side = await driver.attach(spec, 0)
  const links = await network.links()
  const [inner, outer] = ['bls7i0', 'bls7o0'].map(name => links.find(link => link.name === name))
  expect(side).toMatchObject({
    kind: 'ethernet',
    mtu: 1500,
    insideIfindex: inner?.ifindex,
    outsideIfindex: outer?.ifindex,
  })
  expect(inner?.mac).toBe('02:b1:00:07:00:11')
  const [shown] = JSON.parse(inside(pid, 'ip', '-j', 'link', 'show', 'in0')) as [{ address: string }]
  expect(side).toMatchObject({ insideMac: shown.address })
  for (const [from, to] of [
    ['in0', 'out0'],
    ['out0', 'in0'],
  ] as const) {
    expect(inside(pid, 'ip', '-4', 'route', 'get', '203.0.113.9', 'from', '10.1.0.5', 'iif', from)).toContain(
      `dev ${to}`,
    )
    expect(inside(pid, 'ip', '-6', 'route', 'get', '2001:db8::9', 'from', '2001:db8:a::5', 'iif', from)).toContain(
      `dev ${to}`,
    )
  }
  await driver.attach(spec, 1)
  await driver.detach(spec, 0)
  expect((await devices()).sort()).toEqual(['bls7i1', 'bls7o1'])
})

it('gives it one arm where the operator wants that', async () => {
  const spec = specOf('echo ready; exec sleep infinity', { attachment: { kind: 'ethernet', arms: 1 } })
  await driver.launch(spec)
  const side = await driver.attach(spec, 0)
  expect(side).toMatchObject({ kind: 'ethernet' })
  if (side.kind === 'ethernet') expect(side.insideIfindex).toBe(side.outsideIfindex)
  expect(await devices()).toEqual(['bls7a0'])
})

it('has health checks reach it', async () => {
  const spec = specOf('echo "$BRANCHLINE_HEALTH" >"$BRANCHLINE_DIR/health"; echo ready; exec sleep infinity', {
    health: { kind: 'tcp', port: 8080 },
  })
  const { health } = await driver.launch(spec)
  expect(health).toEqual({ address: '169.254.128.30', port: 8080 })
  expect(execFileSync('cat', [own('health')], { encoding: 'utf8' })).toBe('169.254.128.30:8080\n')
  expect(execFileSync('ip', ['route', 'get', '169.254.128.30'], { encoding: 'utf8' })).toContain('dev bls7m0')
})

it.each([
  ['ends', 'echo "nft: not found" >&2; exit 3', /^it ended: nft: not found$/, {}],
  [
    'never gets ready',
    'echo warming up; exec sleep infinity',
    /^not ready within 300 ms: warming up$/,
    { startMs: 300 },
  ],
])('tells why a function that %s did not start, and leaves nothing', async (_name, script, message, change) => {
  await expect(driver.launch(specOf(script, change))).rejects.toThrow(message)
  expect(existsSync(join(directory, 'namespaces/echo-7'))).toBe(false)
})

it('notices an end that nobody asked for', async () => {
  const spec = specOf(
    'echo ready; while [ ! -e "$BRANCHLINE_DIR/end" ]; do sleep 0.05; done; echo out of memory; exit 1',
  )
  await driver.launch(spec)
  expect(driver.failure('echo-7')).toBeUndefined()
  writeFileSync(own('end'), '')
  await vi.waitFor(() => expect(driver.failure('echo-7')).toBe('its function has ended: out of memory'))
})

it('is found again by the next agent, and ended by one that does not know it', async () => {
  const spec = specOf('echo ready; exec sleep infinity')
  const pid = pidOf((await driver.launch(spec)).where)
  const next = new NamespaceDriver(join(directory, 'namespaces'), network)
  expect(await next.adopt(spec)).toBe(true)
  expect(next.failure('echo-7')).toBeUndefined()
  await next.attach(spec, 0)
  await next.sweep(new Set(['echo-7']))
  expect(lives(pid, `BRANCHLINE_KEPT=${join(directory, 'namespaces/echo-7')}`)).toBe(true)
  await next.sweep(new Set())
  await vi.waitFor(() => expect(existsSync(`/proc/${pid}`)).toBe(false))
  expect(await next.adopt(spec)).toBe(false)
})
