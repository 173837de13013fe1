/**
 * TCP through clear tunnels in large packets (topology: dataplane/branches.ts): GSO packets are encapsulated whole and cut by a macvlan,
 * and what arrives is joined again before the LAN. The WAN shows single packets, each with its own number.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Branches } from './dataplane/branches.ts'
import { transfer } from './dataplane/traffic.ts'

const MEGABYTES = 64

describe.each([4, 6] as const)('over IPv%i', outer => {
  let branches: Branches
  beforeAll(() => {
    branches = new Branches({ outer, secure: false, wanMtu: 1500 })
  })
  afterAll(() => branches[Symbol.dispose]())

  it.each(['10.2.0.2', 'fd02::2'])('carries 64 MB to %s intact, whole at both ends', async address => {
    const { a, b } = branches.edges
    const before = counts(branches)
    const { sent, received } = await transfer(branches.hosts.a, branches.hosts.b, address, MEGABYTES)
    expect(received).toBe(sent)
    const after = counts(branches)
    const packets = after.mpOut - before.mpOut
    expect(packets).toBeGreaterThan((MEGABYTES << 20) / 1400)
    // Dozens of pieces a burst; and the host's device gets far fewer packets than the tunnel.
    expect(after.bursts - before.bursts).toBeGreaterThan(0)
    expect(packets / (after.bursts - before.bursts)).toBeGreaterThan(5)
    expect(after.hostPackets - before.hostPackets).toBeLessThan(packets / 3)
    for (const node of [a, b, branches.gateway]) expect(node.drops()).toEqual({})
  })

  it('accepted every number once', () => {
    const sent = branches.edges.a.maps.pathState.get(0x100)
    const arrived = branches.gateway.maps.pathState.get(0x110)
    expect(arrived?.rxPackets).toBe(sent?.txNumber)
    expect(arrived?.rxHighest).toBe(sent?.txNumber)
    expect(arrived?.rxBytes).toBe(sent?.txBytes)
  })
})

it('a WAN device without macvlan carries the same by mp0 and mp1', async () => {
  using branches = new Branches({ outer: 4, secure: false, wanMtu: 1500, segmenter: false })
  const { sent, received } = await transfer(branches.hosts.a, branches.hosts.b, '10.2.0.2', 8)
  expect(received).toBe(sent)
  expect(branches.edges.a.counters()['burst-out']).toBeUndefined()
})

function counts({ edges, hosts }: Branches) {
  const counters = edges.a.counters()
  const [link] = JSON.parse(hosts.b.run('ip -j -s link show dev eth0')) as { stats64: { rx: { packets: number } } }[]
  return {
    mpOut: counters['mp-out'] ?? 0,
    bursts: counters['burst-out'] ?? 0,
    hostPackets: link?.stats64.rx.packets ?? 0,
  }
}
