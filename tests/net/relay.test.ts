/** A gateway that relays by native XDP (topology: dataplane/branches.ts): the same packets, the same counts, hardly any by tc. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Branches } from './dataplane/branches.ts'
import { ping, transfer } from './dataplane/traffic.ts'

describe.each([4, 6] as const)('over IPv%i', outer => {
  let branches: Branches
  beforeAll(() => {
    branches = new Branches({ outer, secure: false, wanMtu: 1500, xdp: true })
  })
  afterAll(() => branches[Symbol.dispose]())

  it.each(['10.2.0.2', 'fd02::2'])('carries 64 MB to %s intact', async address => {
    const { gateway, hosts } = branches
    const before = gateway.counters()
    const { sent, received } = await transfer(hosts.a, hosts.b, address, 64)
    expect(received).toBe(sent)
    const after = gateway.counters()
    const count = (name: string) => (after[name] ?? 0) - (before[name] ?? 0)
    expect(count('mp-in')).toBeGreaterThan((64 << 20) / 1400)
    expect(count('relayed') / count('mp-in')).toBeGreaterThan(0.95)
    expect(count('mp-out')).toBe(count('mp-in') + count('probe-answered') - count('probe-reply-in'))
  })

  it.each(['10.2.0.2', 'fd02::2'])('leaves pings to %s to tc', address => {
    expect(ping(branches.hosts.a, address, 20)).toBe(20)
  })

  it('accepted every number once, and dropped nothing', () => {
    const { edges, gateway } = branches
    for (const node of [edges.a, edges.b, gateway]) expect(node.drops()).toEqual({})
    for (const [from, sid, to, toSid] of [
      [edges.a, 0x100, gateway, 0x110],
      [gateway, 0x210, edges.b, 0x200],
    ] as const) {
      const sent = from.maps.pathState.get(sid)
      expect(to.maps.pathState.get(toSid)).toMatchObject({
        rxPackets: sent?.txNumber,
        rxHighest: sent?.txNumber,
        rxBytes: sent?.txBytes,
      })
    }
  })
})
