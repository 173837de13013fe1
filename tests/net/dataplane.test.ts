/** Clear traffic between two branches over a gateway (topology: dataplane/branches.ts), both families inside and outside. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { nexthopKind } from '../../schema/abi.gen.ts'
import { Branches } from './dataplane/branches.ts'
import type { Namespace } from './dataplane/namespace.ts'
import { capture, connectError, ping, sendProbe, transfer } from './dataplane/traffic.ts'
import { CANARY } from './dataplane/transfer.ts'

/** Packets that a device has received. */
function received(namespace: Namespace, device: string): number {
  const [link] = JSON.parse(namespace.run(`ip -s -j link show dev ${device}`)) as {
    stats64: { rx: { packets: number } }
  }[]
  return link?.stats64.rx.packets ?? 0
}

describe.each([4, 6] as const)('clear MP over IPv%i', outer => {
  let branches: Branches
  beforeAll(() => {
    branches = new Branches({ outer, secure: false, wanMtu: 1500 })
  })
  afterAll(() => branches[Symbol.dispose]())

  it.each(['10.2.0.2', 'fd02::2'])('answers pings to %s, whose packets become MP where they come in', address => {
    const nodes = [branches.edges.a, branches.gateway, branches.edges.b]
    const before = nodes.map(({ namespace }) => received(namespace, 'mp1'))
    expect(ping(branches.hosts.a, address, 50)).toBe(50)
    // 50 and 50 answers; a few are a new device's own.
    for (const [index, { namespace }] of nodes.entries())
      expect(received(namespace, 'mp1') - (before[index] ?? 0)).toBeLessThan(20)
  })

  it.each(['10.2.0.2', 'fd02::2'])('carries 50 MB to %s, and nothing but MP on the WAN', async address => {
    const wan = await capture(branches.gateway.namespace, 'wan-a', async () => {
      const { sent, received, seconds } = await transfer(branches.hosts.a, branches.hosts.b, address, 50)
      console.log(`IPv${outer} outside, ${address}: ${((50 * 8.388608) / seconds / 1000).toFixed(2)} Gb/s`)
      expect(received).toBe(sent)
      expect(sent).toMatch(/^[0-9a-f]{64}$/)
    })
    expect(wan.foreign).toEqual([])
    expect(wan.packets).toBeGreaterThan(30_000)
    // The check of the capture itself: in clear the canary must be seen.
    expect(wan.bytes.includes(CANARY)).toBe(true)
  })

  it('carries the node’s own packets between virtual addresses', async () => {
    const { namespace } = branches.edges.a
    expect(ping(namespace, '100.64.0.1', 10)).toBe(10)
    const { sent, received } = await transfer(namespace, branches.gateway.namespace, '100.64.0.1', 5)
    expect(received).toBe(sent)
    expect(branches.edges.a.counters()['local-out']).toBeGreaterThan(1000)
  })

  it('measures the round trip by a probe', async () => {
    const { a } = branches.edges
    const replies = () => a.maps.pathState.get(0x100)?.probeReplies ?? 0
    const before = replies()
    sendProbe(a.namespace, '100.64.0.1', 0)
    await expect.poll(replies).toBe(before + 1)
    expect(a.maps.pathState.get(0x100)?.rttUs).toBeLessThan(1_000_000)
    // Data that asks is answered too, on every path of the gateway.
    expect(branches.gateway.counters()['probe-answered']).toBeGreaterThanOrEqual(replies())
  })

  it('drops nothing and counts every number once', () => {
    const { a, b } = branches.edges
    for (const node of [a, b, branches.gateway]) expect(node.drops()).toEqual({})
    const sent = a.maps.pathState.get(0x100)
    const arrived = branches.gateway.maps.pathState.get(0x110)
    expect(arrived?.rxPackets).toBe(sent?.txNumber)
    expect(arrived?.rxHighest).toBe(sent?.txNumber)
  })
})

it.each([
  ['10.2.0.2', '10.2.0.0/24'],
  ['fd02::2', 'fd02::/64'],
])('an ICMP error of the gateway reaches the host: %s', (address, prefix) => {
  using branches = new Branches({ outer: 4, secure: false, wanMtu: 1500 })
  branches.gateway.changeRoute(prefix, { kind: nexthopKind.NH_UNREACHABLE, target: 0 })
  expect(connectError(branches.hosts.a, address)).toBe('ENETUNREACH')
  // Neighbour discovery may take longer than TCP waits: then there are two.
  expect(Object.keys(branches.gateway.drops())).toEqual(['unreachable'])
})

/** The host's TCP leaves checksums to its device, and the edge cuts such a packet down to an ICMP quote: the error's checksum must hold on a wire. */
describe('ICMP errors made of packets with unfinished checksums', () => {
  let branches: Branches
  beforeAll(() => {
    branches = new Branches({ outer: 4, secure: false, wanMtu: 1500 })
  })
  afterAll(() => branches[Symbol.dispose]())

  it.each([
    ['finished by the sender', 'off', 'on'],
    ['never finished', 'on', 'on'],
    ['finished behind the edge', 'on', 'off'],
  ])('%s', (_name, atHost, atEdge) => {
    const { hosts, edges } = branches
    hosts.a.run(`ethtool -K eth0 tx ${atHost}`)
    edges.a.namespace.run(`ethtool -K lan0 tx ${atEdge}`)
    for (const address of ['10.99.0.1', 'fd99::1']) expect(connectError(hosts.a, address)).toBe('ENETUNREACH')
  })
})
