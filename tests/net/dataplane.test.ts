/** Clear traffic between two branches over a gateway (topology: dataplane/branches.ts), both families inside and outside. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Branches } from './dataplane/branches.ts'
import { capture, ping, transfer } from './dataplane/traffic.ts'
import { CANARY } from './dataplane/transfer.ts'

describe.each([4, 6] as const)('clear MP over IPv%i', outer => {
  let branches: Branches
  beforeAll(() => {
    branches = new Branches({ outer, secure: false, wanMtu: 1500 })
  })
  afterAll(() => branches[Symbol.dispose]())

  it.each(['10.2.0.2', 'fd02::2'])('answers pings to %s', address => {
    expect(ping(branches.hosts.a, address, 50)).toBe(50)
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

  it('drops nothing and counts every number once', () => {
    const { a, b } = branches.edges
    for (const node of [a, b, branches.gateway]) expect(node.drops()).toEqual({})
    const sent = a.maps.pathState.get(0x100)
    const arrived = branches.gateway.maps.pathState.get(0x110)
    expect(arrived?.rxPackets).toBe(sent?.txPackets)
    expect(arrived?.rxHighest).toBe(sent?.txNumber)
  })
})
