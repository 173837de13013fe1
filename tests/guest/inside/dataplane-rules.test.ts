/** What keeps secure and clear traffic apart, and how secure traffic fails, on real SAs (topology: tests/net/dataplane/branches.ts). */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ABI_NH_F_SECURE, nexthopKind } from '../../../schema/abi.gen.ts'
import { Branches } from '../../net/dataplane/branches.ts'
import type { StaticNode } from '../../net/dataplane/static-node.ts'
import { connectError, ping, transfer } from '../../net/dataplane/traffic.ts'
import { ethernet, ip, tcp, udp } from '../../packet/build.ts'
import { expectOutcome, NEXT, Rig, SHOT, SID } from '../../packet/rig.ts'

/** Drops of a node while `action` runs. */
async function dropsOf(node: StaticNode, action: () => unknown): Promise<Record<string, number>> {
  const before = node.drops()
  await action()
  const rows = Object.entries(node.drops()).map(([reason, count]) => [reason, count - (before[reason] ?? 0)] as const)
  return Object.fromEntries(rows.filter(([, count]) => count !== 0))
}

describe('with a WAN of MTU 1500', () => {
  let branches: Branches
  beforeAll(() => {
    branches = new Branches({ outer: 4, secure: true, wanMtu: 1500 })
  })
  afterAll(() => branches[Symbol.dispose]())

  /** Answers to three pings of host A. */
  const answers = (address: string, options: string[] = []) => ping(branches.hosts.a, address, 3, options)
  const unanswered = (address: string) => () => expect(answers(address)).toBe(0)

  it('a packet that is too long and may be fragmented travels in ESP fragments', async () => {
    const { a } = branches.edges
    // The gateway's data may ask whether it has come, and is answered.
    const sent = () => (a.counters()['mp-out'] ?? 0) - (a.counters()['probe-answered'] ?? 0)
    const before = sent()
    expect(await dropsOf(a, () => expect(answers('10.2.0.2', ['-s', '1440', '-M', 'dont'])).toBe(3))).toEqual({})
    // Two for each ping.
    expect(sent()).toBe(before + 6)
  })

  describe.each([
    ['10.2.0.2', '10.2.0.0/24'],
    ['fd02::2', 'fd02::/64'],
  ])('to %s', (address, prefix) => {
    it('what came over IPsec does not leave in clear, nor reach a clear LAN', async () => {
      const { gateway } = branches
      const { b } = branches.edges
      gateway.changeRoute(prefix, { flags: 0 })
      expect(await dropsOf(gateway, unanswered(address))).toEqual({ 'secure-on-clear': 3 })
      gateway.changeRoute(prefix, { flags: ABI_NH_F_SECURE })
      b.changeRoute(prefix, { flags: 0 })
      expect(await dropsOf(b, unanswered(address))).toEqual({ 'secure-on-clear': 3 })
      b.changeRoute(prefix, { flags: ABI_NH_F_SECURE })
    })

    it('what came in clear does not go on over IPsec, nor reach a secure LAN', async () => {
      const { gateway } = branches
      const { a, b } = branches.edges
      a.changeRoute(prefix, { flags: 0 })
      expect(await dropsOf(gateway, unanswered(address))).toEqual({ 'clear-on-secure': 3 })
      gateway.changeRoute(prefix, { flags: 0 })
      expect(await dropsOf(b, unanswered(address))).toEqual({ 'clear-on-secure': 3 })
      for (const node of [a, gateway]) node.changeRoute(prefix, { flags: ABI_NH_F_SECURE })
    })

    it('an ICMP error comes back over IPsec', async () => {
      const { gateway } = branches
      const { target } = gateway.changeRoute(prefix, { kind: nexthopKind.NH_UNREACHABLE })
      const clear = gateway.counters()['to-peer-clear']
      const drops = await dropsOf(gateway, () => expect(connectError(branches.hosts.a, address)).toBe('ENETUNREACH'))
      // Neighbour discovery may take longer than TCP waits: then there are two.
      expect(Object.keys(drops)).toEqual(['unreachable'])
      expect(gateway.counters()['to-peer-clear']).toBe(clear)
      gateway.changeRoute(prefix, { kind: nexthopKind.NH_PEER, target })
    })

    it('works still', () => {
      expect(answers(address)).toBe(3)
    })
  })

  it('what the node itself sends to where it has no route ends at ipsec0', async () => {
    const { a } = branches.edges
    const drops = await dropsOf(a, () => expect(ping(a.namespace, '192.0.2.1', 3)).toBe(0))
    // The sender is told that there is no buffer for its packet, and ping tries again.
    expect(Object.keys(drops)).toEqual(['no-sa'])
  })

  it('without a session or without an SA nothing leaves', async () => {
    const { a } = branches.edges
    const session = a.maps.sessions.get(0x100)
    if (!session) throw new Error('no session')
    a.maps.sessions.delete(0x100)
    const sent = a.counters()['mp-out']
    for (const address of ['10.2.0.2', 'fd02::2']) expect(await dropsOf(a, unanswered(address))).toEqual({ 'no-sa': 3 })
    a.maps.sessions.set(0x100, session)
    a.namespace.run('ip xfrm state flush')
    for (const address of ['10.2.0.2', 'fd02::2']) unanswered(address)()
    expect(a.counters()['mp-out']).toBe(sent)
  })
})

it.each([1400, 1280])(
  'TCP of 1 MB fits a WAN of MTU %i',
  async wanMtu => {
    using branches = new Branches({ outer: 4, secure: true, wanMtu })
    for (const address of ['10.2.0.2', 'fd02::2']) {
      const { sent, received } = await transfer(branches.hosts.a, branches.hosts.b, address, 1)
      expect(received).toBe(sent)
    }
  },
  240_000,
)

describe('ipsec0 by test run', () => {
  let rig: Rig
  beforeAll(() => {
    rig = new Rig(['ipsec-egress', 'ipsec-ingress'])
    return () => rig[Symbol.dispose]()
  })
  const packet = ethernet(ip({ src: '10.1.0.2', dst: '10.3.0.5' }, tcp()))

  it.each([
    ['a live path', SID, NEXT, {}],
    ['another path of the session', SID | 1, NEXT, {}],
    ['no mark', 0, SHOT, { 'no-sa': 1 }],
    ['no handle', 0x5550, SHOT, { 'no-sa': 1 }],
  ])('egress: %s', (_name, mark, verdict, drops) => {
    rig.reset()
    expectOutcome(rig.run('ipsec-egress', packet, { mark }), { verdict, packet, mark, drops, counters: {} })
  })

  it('egress: the kernel’s own multicast', () => {
    const multicast = ethernet(ip({ src: 'fe80::1', dst: 'ff02::16' }, udp(1, 2)))
    expectOutcome(rig.run('ipsec-egress', multicast), { verdict: NEXT, packet: multicast, counters: {} })
  })

  it('ingress: a packet that no SA decrypted', () => {
    expectOutcome(rig.run('ipsec-ingress', packet), { verdict: SHOT, packet, drops: { 'no-sa': 1 }, counters: {} })
  })
})
