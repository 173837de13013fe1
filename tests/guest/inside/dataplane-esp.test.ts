/** Secure traffic between two branches over a gateway (topology: tests/net/dataplane/branches.ts): ESP inside MP, both families inside and outside. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Branches } from '../../net/dataplane/branches.ts'
import { capture, ping, transfer } from '../../net/dataplane/traffic.ts'
import { CANARY } from '../../net/dataplane/transfer.ts'

describe.each([4, 6] as const)('ESP in MP over IPv%i', outer => {
  let branches: Branches
  beforeAll(() => {
    branches = new Branches({ outer, secure: true, wanMtu: 1500 })
  })
  afterAll(() => branches[Symbol.dispose]())

  it.each(['10.2.0.2', 'fd02::2'])('answers pings to %s', address => {
    expect(ping(branches.hosts.a, address, 20)).toBe(20)
  })

  it.each(['10.2.0.2', 'fd02::2'])(
    'carries 4 MB to %s, and neither another packet nor a readable byte on the WAN',
    async address => {
      const wan = await capture(branches.gateway.namespace, 'wan-a', async () => {
        const { sent, received, seconds } = await transfer(branches.hosts.a, branches.hosts.b, address, 4)
        console.log(`IPv${outer} outside, ${address}: ${((4 * 8.388608) / seconds).toFixed(1)} Mb/s`)
        expect(received).toBe(sent)
        expect(sent).toMatch(/^[0-9a-f]{64}$/)
      })
      expect(wan.foreign).toEqual([])
      expect(wan.packets).toBeGreaterThan(2_500)
      expect(wan.bytes.includes(CANARY)).toBe(false)
    },
    180_000,
  )

  it('drops nothing, and hands nothing to a peer in clear', () => {
    const { a, b } = branches.edges
    for (const node of [a, b, branches.gateway]) {
      expect(node.drops()).toEqual({})
      expect(node.counters()).not.toHaveProperty('to-peer-clear')
      expect(node.counters()).not.toHaveProperty('from-peer-clear')
    }
    expect(branches.gateway.counters()['to-peer-secure']).toBe(branches.gateway.counters()['from-peer-secure'])
  })
})
