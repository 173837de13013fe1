/** What keeps secure and clear traffic apart, and how secure traffic fails, on real SAs (topology: tests/net/dataplane/branches.ts). */
import { afterEach, beforeAll, describe, expect, it } from 'vitest'
import { ABI_NH_F_SECURE, nexthopKind } from '../../../schema/abi.gen.ts'
import { Branches } from '../../net/dataplane/branches.ts'
import { connectError, ping, transfer } from '../../net/dataplane/traffic.ts'
import { ethernet, ip, tcp, udp } from '../../packet/build.ts'
import { expectOutcome, NEXT, Rig, SHOT, SID } from '../../packet/rig.ts'

let branches: Branches
const start = (wanMtu: number) => {
  branches = new Branches({ outer: 4, secure: true, wanMtu })
}
afterEach(() => branches?.[Symbol.dispose]())

/** Packets of three pings that host A gets answered. */
const answered = (address = '10.2.0.2', options: string[] = []) => ping(branches.hosts.a, address, 3, options)

describe.each([
  ['10.2.0.2', '10.2.0.0/24'],
  ['fd02::2', 'fd02::/64'],
])('to %s', (address, prefix) => {
  it('what came over IPsec does not leave in clear, nor reach a clear LAN', () => {
    start(1500)
    branches.gateway.changeRoute(prefix, { flags: 0 })
    expect(answered(address)).toBe(0)
    expect(branches.gateway.drops()).toEqual({ 'secure-on-clear': 3 })
    branches.gateway.changeRoute(prefix, { flags: ABI_NH_F_SECURE })
    branches.edges.b.changeRoute(prefix, { flags: 0 })
    expect(answered(address)).toBe(0)
    expect(branches.edges.b.drops()).toEqual({ 'secure-on-clear': 3 })
  })

  it('what came in clear does not go on over IPsec, nor reach a secure LAN', () => {
    start(1500)
    branches.edges.a.changeRoute(prefix, { flags: 0 })
    expect(answered(address)).toBe(0)
    expect(branches.gateway.drops()).toEqual({ 'clear-on-secure': 3 })
    branches.gateway.changeRoute(prefix, { flags: 0 })
    expect(answered(address)).toBe(0)
    expect(branches.edges.b.drops()).toEqual({ 'clear-on-secure': 3 })
  })

  it('an ICMP error comes back over IPsec', () => {
    start(1500)
    branches.gateway.changeRoute(prefix, { kind: nexthopKind.NH_UNREACHABLE, target: 0 })
    expect(connectError(branches.hosts.a, address)).toBe('ENETUNREACH')
    // Neighbour discovery may take longer than TCP waits: then there are two.
    const { drops, counters } = { drops: branches.gateway.drops(), counters: branches.gateway.counters() }
    expect(Object.keys(drops)).toEqual(['unreachable'])
    expect(counters['to-peer-secure']).toBe(counters['icmp-sent'])
    expect(counters).not.toHaveProperty('to-peer-clear')
  })

  it('without a session or without an SA nothing leaves', () => {
    start(1500)
    const { a } = branches.edges
    a.maps.sessions.delete(0x100)
    expect(answered(address)).toBe(0)
    expect(a.drops()).toEqual({ 'no-sa': 3 })
    const sent = a.counters()['mp-out']
    a.namespace.run('ip xfrm state flush')
    expect(answered(address)).toBe(0)
    expect(a.counters()['mp-out']).toBe(sent)
  })
})

it('a packet that is too long and may be fragmented travels in ESP fragments', () => {
  start(1500)
  expect(answered('10.2.0.2', ['-s', '1440', '-M', 'dont'])).toBe(3)
  expect(branches.edges.a.drops()).toEqual({})
  // Two ESP packets for each ping.
  expect(branches.edges.a.counters()).toMatchObject({ 'to-peer-secure': 3, 'mp-out': 6 })
})

it.each([1400, 1280])(
  'TCP of 1 MB fits a WAN of MTU %i',
  async wanMtu => {
    start(wanMtu)
    for (const address of ['10.2.0.2', 'fd02::2']) {
      const { sent, received } = await transfer(branches.hosts.a, branches.hosts.b, address, 1)
      expect(received).toBe(sent)
    }
  },
  180_000,
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
