/** The netlink part of the port against this kernel: its words in errors, many requests at once, lost notifications. */
import { execFileSync, spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { cable, expectCode, type Machine } from '../../agent/kernel/conformance.ts'
import type { NetworkChange, Route } from '../../agent/kernel/port.ts'
import { linuxMachine } from './kernel-machine.ts'

let machine: Machine
let ifindex: number
beforeEach(async () => {
  machine = linuxMachine()
  const [link] = await cable(machine, 'lan0', 'host0')
  ifindex = link.ifindex
})
afterEach(() => machine.end())

const network = () => machine.kernel.network
const manyRoutes = (count: number): Route[] =>
  Array.from({ length: count }, (_, index) => ({
    destination: `10.${index >> 8}.${index & 255}.0/24`,
    ifindex,
    table: 1001,
  }))

it("says what was tried, on what, and the kernel's own words", async () => {
  const route = { destination: '10.1.0.0/16', ifindex, gateway: '192.0.2.1' }
  await expect(network().addRoute(route)).rejects.toThrow(
    `add route 10.1.0.0/16 via 192.0.2.1 dev ${ifindex} table 254: ENETUNREACH (Nexthop has invalid gateway)`,
  )
  await expect(network().setFeatures(ifindex, { 'rx-lro': true })).rejects.toThrow(
    `set features rx-lro of device ${ifindex}: EOPNOTSUPP (the device does not change rx-lro)`,
  )
})

it('answers each of 20,000 requests at once, in their order', async () => {
  const routes = manyRoutes(20_000)
  const results = await Promise.allSettled([...routes, ...routes.slice(0, 3)].map(route => network().addRoute(route)))
  const failed = results.flatMap((result, index) => (result.status === 'rejected' ? [index] : []))
  expect(failed).toEqual([20_000, 20_001, 20_002])
  expect((await network().routes(1001)).length).toBe(20_000)
})

it('runs dumps that are asked for at once', async () => {
  const [links, addresses, routes] = await Promise.all([network().links(), network().addresses(), network().routes()])
  expect(links.length).toBe(3)
  expect(await Promise.all([network().addresses(), network().routes(), network().links()])).toEqual([
    addresses,
    routes,
    links,
  ])
})

it('tells when notifications were lost, and goes on', async () => {
  const seen: NetworkChange[] = []
  const stop = network().watch(change => seen.push(change))
  // This process reads nothing while it waits for ip: more notifications than the socket holds.
  const lines = manyRoutes(60_000).map(({ destination }) => `route add ${destination} dev lan0 table 1001`)
  execFileSync('ip', ['-batch', '-'], { input: lines.join('\n') })
  await expect.poll(() => seen).toContainEqual({ what: 'overflow' })
  expect((await network().routes(1001)).length).toBe(60_000)
  seen.length = 0
  await network().addRoute({ destination: '192.0.2.0/24', ifindex })
  await expect.poll(() => seen).toContainEqual({ what: 'route', ifindex })
  stop()
})

it('shows a route of several next hops as one each, and IPv4 over IPv6', async () => {
  await network().addAddress({ ifindex, address: '10.0.0.1', prefixLength: 24 })
  const ip = (...args: string[]) => execFileSync('ip', args)
  ip('route', 'add', '10.5.0.0/16', 'nexthop', 'via', '10.0.0.2', 'nexthop', 'via', '10.0.0.3')
  await network().addRoute({ destination: '10.6.0.0/16', ifindex, gateway: 'fe80::9' })
  const found = (await network().routes()).filter(({ protocol }) => protocol !== 2)
  expect(found.map(({ destination, gateway }) => [destination, gateway])).toEqual([
    ['10.5.0.0/16', '10.0.0.2'],
    ['10.5.0.0/16', '10.0.0.3'],
    ['10.6.0.0/16', 'fe80::9'],
  ])
  expect(execFileSync('ip', ['route', 'show', '10.6.0.0/16'], { encoding: 'utf8' })).toContain(
    'via inet6 fe80::9 dev lan0',
  )
})

it('leaves out rules and routes that the port does not speak of', async () => {
  const ip = (...args: string[]) => execFileSync('ip', args)
  ip('rule', 'add', 'fwmark', '7', 'lookup', '50')
  ip('route', 'add', 'unreachable', '10.7.0.0/16')
  expect(await network().rules()).toEqual([])
  expect((await network().routes()).map(({ destination }) => destination)).not.toContain('10.7.0.0/16')
})

it('fails requests after it was closed', async () => {
  const { kernel } = machine
  const underWay = kernel.network.links()
  kernel.close()
  await expectCode(underWay, 'ECANCELED')
  await expectCode(kernel.network.links(), 'ECANCELED')
})

it('keeps a process alive for an answer, not for notifications', () => {
  const port = join(import.meta.dirname, '../../agent/kernel/linux.ts')
  const script = `
    import { openLinuxKernel } from ${JSON.stringify(port)}
    const { network } = openLinuxKernel()
    network.watch(() => {})
    console.log((await network.links()).length)`
  const child = spawnSync(process.execPath, ['--input-type=module', '--eval', script], {
    encoding: 'utf8',
    timeout: 20_000,
  })
  expect(child).toMatchObject({ status: 0, stdout: '3\n' })
})
