/** Queues on the WAN device of edge-a (topology: dataplane/branches.ts): what the programs write into skb->priority finds its class. */
import { once } from 'node:events'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { openLinuxKernel } from '../../agent/kernel/linux.ts'
import { silent } from '../../agent/log.ts'
import type { WanLink } from '../../agent/node/links.ts'
import { Queues } from '../../agent/node/queues.ts'
import { Branches } from './dataplane/branches.ts'
import { ping, transfer } from './dataplane/traffic.ts'

const CLASSES = { 'real-time': '16', transactional: '14', default: '10', bulk: '12' }

let branches: Branches
beforeAll(() => {
  branches = new Branches({ outer: 4, secure: false, wanMtu: 1500 })
})
afterAll(() => branches[Symbol.dispose]())
beforeEach(() => shape(20))

/** As a new agent does that finds what is there. */
async function shape(upMbps: number | undefined): Promise<void> {
  const { namespace } = branches.edges.a
  const ifindex = namespace.ifindex('wan0')
  const link = { name: 'inet', ifindex, mtu: 1500, upMbps } as WanLink
  await namespace.within(async () => {
    const kernel = openLinuxKernel()
    await new Queues(kernel.network, silent).refresh([link])
    kernel.close()
  })
}

/** Packets by class. */
function sent(): Record<string, number> {
  const text = branches.edges.a.namespace.run('tc -s class show dev wan0')
  const counts = [...text.matchAll(/class htb 2426:(\w+) .*\n Sent \d+ bytes (\d+) pkt/g)]
  return Object.fromEntries(counts.map(([, minor = '', packets]) => [minor, Number(packets)]))
}

describe.each(['10.2.0.2', 'fd02::2'])('to %s', address => {
  it.each([
    ['EF', 'real-time', 46],
    ['AF41', 'transactional', 34],
    ['no DSCP', 'default', 0],
    ['CS1', 'bulk', 8],
  ] as const)('%s waits in the %s queue', (_dscp, name, dscp) => {
    const minor = CLASSES[name]
    const before = sent()
    expect(ping(branches.hosts.a, address, 30, ['-Q', String(dscp << 2)])).toBe(30)
    const after = sent()
    const busy = Object.values(CLASSES).filter(each => (after[each] ?? 0) - (before[each] ?? 0) >= 30)
    expect(busy).toEqual([minor])
  })

  it('TCP is cut before it waits: no packet in a queue is longer than the link’s MTU', async () => {
    const { sent: hash, received } = await transfer(branches.hosts.a, branches.hosts.b, address, 2)
    expect(received).toBe(hash)
    const text = branches.edges.a.namespace.run('tc -s class show dev wan0')
    const [, bytes = 0, packets = 1] = /2426:10 .*\n Sent (\d+) bytes (\d+) pkt/.exec(text) ?? []
    expect(Number(bytes)).toBeGreaterThan(2_000_000)
    expect(Number(bytes) / Number(packets)).toBeLessThanOrEqual(1514)
  })
})

it('a later agent takes the queues over, with another rate, and loses no packet', async () => {
  const command = ['ping', '-n', '-c', '150', '-i', '0.01', '-W', '2', '10.2.0.2']
  const pinging = branches.hosts.a.spawn(command)
  let output = ''
  pinging.stdout?.on('data', chunk => {
    output += chunk
  })
  const ended = once(pinging, 'close')
  for (const upMbps of [10, 30, 5, 20]) {
    await shape(upMbps)
    const text = branches.edges.a.namespace.run('tc class show dev wan0')
    expect(text).toContain(`2426:1 root rate ${upMbps * 970}Kbit`)
  }
  await ended
  expect(output).toContain('150 packets transmitted, 150 received')
})

it('goes when no rate is configured any more', async () => {
  await shape(undefined)
  expect(branches.edges.a.namespace.run('tc qdisc show dev wan0')).not.toContain('htb')
  expect(ping(branches.hosts.a, '10.2.0.2', 10)).toBe(10)
})
