/**
 * The lab's network without the product:
 *
 *   a1 --- branch-a --- inet --- gw1       orchestrator --- (mgmt0 of every agent's node)
 */
import { readdirSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Capture } from '../../scripts/lab/capture.ts'
import { Flow } from '../../scripts/lab/flow.ts'
import { Lab } from '../../scripts/lab/lab.ts'
import { Probe } from '../../scripts/lab/probe.ts'
import { buildTools, FLOW } from '../../scripts/lab/tools.ts'
import { TcpTransfer } from '../../scripts/lab/traffic.ts'
import { until } from '../../scripts/lab/until.ts'

const id = `t${process.pid}`
let lab: Lab

beforeAll(async () => {
  await buildTools()
  lab = await Lab.up({
    id,
    topology: 'two-branches',
    machine: 'native',
    security: 'clear',
    detach: false,
    say: () => {},
    signal: new AbortController().signal,
  })
})
afterAll(() => lab?.down())

async function pingOnce(from: string, to: string): Promise<string> {
  const { stdout, stderr } = await lab.exec(from, ['ping', '-n', '-c', '1', '-W', '1', to])
  const ttl = /ttl=(\d+)/.exec(stdout)?.[1]
  return ttl === undefined ? stderr.trim() || 'silence' : `ttl ${ttl}`
}

describe('the network', () => {
  it.each([
    ['a1', '10.1.0.1', 'a host reaches its branch'],
    ['a1', '2001:db8:a:1::1', 'over IPv6 too'],
    ['branch-a', '192.0.2.1', 'a node reaches the orchestrator'],
  ])('%s -> %s directly: %s', async (from, to) => {
    expect(await pingOnce(from, to)).toBe('ttl 64')
  })

  it.each([
    ['branch-a', '198.51.100.2'],
    ['branch-a', '2001:db8:f000:1::2'],
    ['gw1', '203.0.113.14'],
  ])('%s -> %s is routed by the WAN', async (from, to) => {
    expect(await pingOnce(from, to)).toBe('ttl 63')
  })

  it.each([
    ['a1', '10.2.0.10'],
    ['a1', '2001:db8:a:2::10'],
    // The branch does not forward: nothing but the VPN joins LAN and WAN.
    ['a1', '198.51.100.2'],
    ['branch-a', '192.0.2.10'],
  ])('%s -> %s leads nowhere', async (from, to) => {
    expect(await pingOnce(from, to)).not.toContain('ttl')
  })

  it('shows no device in the namespace of this host', async () => {
    const { stdout } = await lab.machine.exec(['ip', '-o', 'link'])
    expect(stdout).not.toMatch(/wan-inet|lan0|mgmt0|to\d-/)
  })
})

describe('the tools', () => {
  it('a flow counts what was lost, doubled and foreign', async () => {
    const common = { from: 'branch-a', to: 'gw1', address: '198.51.100.2', port: 7000, pps: 2000 }
    const flow = await Flow.start(lab, { ...common, tag: 'mine', count: 500 })
    await flow.sent(10_000)
    // Every second packet with another tag, the rest numbered as those before.
    for (const tag of ['other', 'mine'])
      await lab.run('branch-a', [
        ...[FLOW, 'send', '--to', '198.51.100.2', '--port', '7000'],
        ...['--tag', tag, '--pps', '2000', '--count', '20'],
      ])
    expect(await flow.finish()).toMatchObject({ sent: 500, received: 500, lost: 0, duplicated: 20, foreign: 20 })
  })

  it('a flow over a broken WAN is lost', async () => {
    const flow = await Flow.start(lab, {
      ...{ from: 'branch-a', to: 'gw1', address: '198.51.100.2', port: 7001, tag: 'x', pps: 1000 },
      count: 1000,
    })
    await lab.run('inet', ['sh', '-c', 'echo 0 >/proc/sys/net/ipv4/ip_forward'])
    await flow.sent(10_000)
    await lab.run('inet', ['sh', '-c', 'echo 1 >/proc/sys/net/ipv4/ip_forward'])
    const { sent, lost } = await flow.finish()
    expect(sent).toBe(1000)
    expect(lost).toBeGreaterThan(0)
  })

  it.each([
    [4, '198.51.100.2', 'ip dscp ef counter'],
    [6, '2001:db8:f000:1::2', 'ip6 dscp ef counter'],
  ] as const)(
    'a flow over IPv%i has its DSCP, and writes down when each packet came',
    async (family, address, rule) => {
      const table = `table inet dscp { chain input { type filter hook input priority 0; ${rule}\n }\n }`
      await lab.run('gw1', ['nft', '-f', '-'], { stdin: table })
      const options = { from: 'branch-a', to: 'gw1', address, port: 7010 + family, tag: 'ef', pps: 1000 }
      const flow = await Flow.start(lab, { ...options, count: 50, dscp: 46, log: true })
      await flow.sent(10_000)
      await until('all is written', 10_000, async () => flow.arrivals().length === 50)
      const arrivals = flow.arrivals(10)
      expect(arrivals.map(({ number }) => number)).toEqual(Array.from({ length: 40 }, (_, index) => index + 10))
      expect(arrivals.every(({ sentMs, arrivedMs }) => arrivedMs >= sentMs && arrivedMs < sentMs + 1000)).toBe(true)
      expect(await flow.finish()).toMatchObject({ received: 50, lost: 0 })
      expect(await lab.run('gw1', ['nft', 'list', 'table', 'inet', 'dscp'])).toContain('packets 50 ')
      await lab.run('gw1', ['nft', 'delete', 'table', 'inet', 'dscp'])
    },
  )

  it('a probe tells when answers begin and end', async () => {
    await lab.run('inet', ['sh', '-c', 'echo 0 >/proc/sys/net/ipv4/ip_forward'])
    const probe = await Probe.start(lab, { from: 'branch-a', to: 'gw1', address: '198.51.100.2' })
    await probe.becomes('silent', 1000)
    const begin = performance.now()
    await lab.run('inet', ['sh', '-c', 'echo 1 >/proc/sys/net/ipv4/ip_forward'])
    const answered = await probe.becomes('answered', 5000)
    expect(answered).toBeGreaterThan(begin)
    await lab.run('inet', ['sh', '-c', 'echo 0 >/proc/sys/net/ipv4/ip_forward'])
    await probe.becomes('silent', 5000)
    await lab.run('inet', ['sh', '-c', 'echo 1 >/proc/sys/net/ipv4/ip_forward'])
    await probe.stop()
  })

  it('a capture tells MP from neighbour discovery and from the rest, and finds a text', async () => {
    const capture = await Capture.start(lab, 'inet')
    await lab.run('branch-a', ['ip', 'neigh', 'flush', 'all'])
    await lab.run('branch-a', ['sh', '-c', 'echo needle | nc -u -w 1 -p 2426 198.51.100.2 2426'])
    await pingOnce('branch-a', '2001:db8:f000:1::2')
    const summary = await capture.stop('needle')
    // Each packet is seen coming and going; the ICMP error is neither MP nor the needle's only copy.
    expect(summary.packets.mp).toBe(2)
    expect(summary.packets.neighbour).toBeGreaterThan(0)
    expect(summary.packets.other).toBeGreaterThanOrEqual(4)
    expect(summary.matches).toBeGreaterThanOrEqual(2)
  })

  it('a TCP transfer is hashed at both ends, and one that stalls is no success', async () => {
    const source = 'head -c 3000000 /dev/urandom'
    const to = { address: '198.51.100.2', node: 'gw1' }
    await (await TcpTransfer.start(lab, { from: 'branch-a', to, family: 4, port: 7002, source })).finish(10_000)
    await lab.run('inet', ['sh', '-c', 'echo 0 >/proc/sys/net/ipv4/ip_forward'])
    const stalled = await TcpTransfer.start(lab, { from: 'branch-a', to, family: 4, port: 7003, source })
    await expect(stalled.finish(500)).rejects.toThrow('not within 500 ms')
    await lab.run('inet', ['sh', '-c', 'echo 1 >/proc/sys/net/ipv4/ip_forward'])
  })
})

describe('down', () => {
  it('leaves no namespace, mount, process or folder', async () => {
    const process = await lab.start('a1', { name: 'sleeper', argv: ['sleep', '1000'] })
    expect(await process.alive()).toBe(true)
    const { machine } = lab
    await lab.down()
    expect(readdirSync('/run/netns').filter(name => name.startsWith(`bl-${id}-`))).toEqual([])
    expect((await machine.exec(['cat', '/proc/self/mounts'])).stdout).not.toContain(lab.dir.path)
    expect((await machine.exec(['pgrep', '-f', `[s]leep 1000`])).stdout).toBe('')
    expect(readdirSync('/run/branchline-lab')).not.toContain(id)
  })
})
