/**
 * A chain of two functions on the gateway of dataplane/branches.ts, with real instances and the kernel's own TCP:
 *
 *   host-a -- edge-a ==MP== gateway ==MP== edge-b -- host-b
 *                          |f1i f1o|   |f2i f2o|
 *                        in  f1  out  in  f2  out      both route from one arm to the other
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  ABI_ADAPTER_OUTSIDE,
  ABI_CHAIN_HOPS,
  ABI_NH_F_OUTSIDE,
  ABI_POOL_LINE_SLOTS,
  ABI_STAGE_SHIFT,
  adapterCodec,
  adapterKind,
  nexthopKind,
  policyRuleCodec,
} from '../../schema/abi.gen.ts'
import { zero } from '../../schema/codec.ts'
import { Branches } from './dataplane/branches.ts'
import { Namespace, wire } from './dataplane/namespace.ts'
import { type StaticNode, VRF } from './dataplane/static-node.ts'
import { ping, transfer } from './dataplane/traffic.ts'

const CHAIN = 1

/** A function that forwards whatever comes in by one arm out of the other. */
function startRouter(gateway: StaticNode, name: string): { namespace: Namespace; macs: [number[], number[]] } {
  const namespace = new Namespace(`bldp-${name}`)
  for (const [arm, device] of [
    ['i', 'in'],
    ['o', 'out'],
  ] as const) {
    wire(namespace, device, gateway.namespace, `${name}${arm}`)
    gateway.namespace.run(`ip link set ${name}${arm} arp off`)
    gateway.attach('service', `${name}${arm}`)
    namespace.run(`ip route add 10.${arm === 'i' ? 1 : 2}.0.0/24 via 192.0.2.1 dev ${device} onlink`)
    namespace.run(`ip -6 route add fd0${arm === 'i' ? 1 : 2}::/64 via fe80::1 dev ${device} onlink`)
    for (const gone of ['192.0.2.1', 'fe80::1'])
      namespace.run(`ip neigh add ${gone} lladdr 02:00:00:00:00:fe dev ${device} nud permanent`)
  }
  for (const setting of [
    'ipv4.ip_forward=1',
    'ipv6.conf.all.forwarding=1',
    'ipv4.conf.all.rp_filter=0',
    'ipv4.conf.in.rp_filter=0',
    'ipv4.conf.out.rp_filter=0',
  ])
    namespace.run(`sysctl -qw net.${setting}`)
  const mac = (device: string) => {
    const [link] = JSON.parse(namespace.run(`ip -j link show dev ${device}`)) as { address: string }[]
    return (link?.address ?? '').split(':').map(byte => Number.parseInt(byte, 16))
  }
  return { namespace, macs: [mac('in'), mac('out')] }
}

function addAdapter(gateway: StaticNode, hop: number, name: string, macs: readonly [number[], number[]]): void {
  const { chain, nexthops } = gateway.maps
  const index = hop + 1
  const [inside, outside] = [`${name}i`, `${name}o`].map(device => gateway.namespace.ifindex(device)) as [
    number,
    number,
  ]
  chain.adapters.set(index, {
    ...zero(adapterCodec),
    kind: adapterKind.ADAPTER_ETHERNET,
    mtu: 1500,
    chain: CHAIN,
    hop,
    vrfStage: VRF | (index << ABI_STAGE_SHIFT),
    instance: index,
    nexthopInside: 100 + 2 * index,
    nexthopOutside: 101 + 2 * index,
    insideIfindex: inside,
    outsideIfindex: outside,
    insideMac: Uint8Array.from(macs[0]),
    outsideMac: Uint8Array.from(macs[1]),
  })
  const nexthop = { kind: nexthopKind.NH_ADAPTER, flags: 0, reserved: 0, target: index }
  nexthops.set(100 + 2 * index, nexthop)
  nexthops.set(101 + 2 * index, { ...nexthop, flags: ABI_NH_F_OUTSIDE })
  chain.adapterPorts.set(inside, index)
  chain.adapterPorts.set(outside, index | ABI_ADAPTER_OUTSIDE)
  const adapters = Array.from({ length: ABI_POOL_LINE_SLOTS }, (_, slot) => (slot === 0 ? index : 0))
  chain.poolLines.set(hop, { adapters })
  chain.pools.set(index, { slots: 1, balance: 0, firstLine: hop })
}

describe('a chain of two functions', () => {
  let branches: Branches
  const functions: Namespace[] = []
  beforeAll(() => {
    branches = new Branches({ outer: 4, secure: false, wanMtu: 1500 })
    const { gateway } = branches
    for (const [hop, name] of ['f1', 'f2'].entries()) {
      const { namespace, macs } = startRouter(gateway, name)
      functions.push(namespace)
      addAdapter(gateway, hop, name, macs)
    }
    const pools = Array.from({ length: ABI_CHAIN_HOPS }, (_, hop) => (hop < 2 ? hop + 1 : 0))
    const { chain } = gateway.maps
    chain.chains.set(CHAIN, {
      vrf: VRF,
      hops: 2,
      flags: 0,
      reserved: 0,
      pools,
      hopFlags: new Uint8Array(ABI_CHAIN_HOPS),
    })
    chain.policyRules.set(0, { ...zero(policyRuleCodec), sportTo: 0xffff, dportTo: 0xffff, chain: CHAIN })
    chain.policies.set(VRF, { first: 0, rules: 1, reserved: 0, version: 1, oldest: 0 })
  })
  afterAll(() => {
    for (const namespace of functions) namespace[Symbol.dispose]()
    branches[Symbol.dispose]()
  })
  const forwarded = (namespace: Namespace, family: 4 | 6) =>
    Number(
      new RegExp(`${family === 4 ? 'IpForwDatagrams' : 'Ip6OutForwDatagrams'}\\s+(\\d+)`).exec(
        namespace.run('nstat -asz'),
      )?.[1],
    )

  it.each([
    ['10.2.0.2', 4],
    ['fd02::2', 6],
  ] as const)('carries pings and 20 MB to %s through both, and nothing is dropped', async (address, family) => {
    const { hosts, gateway } = branches
    expect(ping(hosts.a, address, 20)).toBe(20)
    const before = functions.map(namespace => forwarded(namespace, family))
    const { sent, received, seconds } = await transfer(hosts.a, hosts.b, address, 20)
    console.log(`${address} through two functions: ${((20 * 8.388608) / seconds / 1000).toFixed(2)} Gb/s`)
    expect(received).toBe(sent)
    expect(sent).toMatch(/^[0-9a-f]{64}$/)
    // GSO packets count as one; the answers go through them too.
    for (const [index, namespace] of functions.entries())
      expect(forwarded(namespace, family) - (before[index] ?? 0)).toBeGreaterThan(300)
    expect(gateway.drops()).toEqual({})
  })

  it('counts the connections of each instance until they end', () => {
    const { chain } = branches.gateway.maps
    for (const instance of [1, 2]) {
      const state = chain.instanceState.get(instance)
      // Two pings, whose flows nobody ends, and two TCP connections.
      expect(state).toEqual({ connections: 2n, opened: 4n })
      const traffic = chain.adapterTraffic(instance)
      expect(traffic?.fromPackets).toBe(traffic?.toPackets)
      expect(traffic?.fromPackets).toBeGreaterThan(600n)
    }
  })

  it('resets connections of a function that dies', async () => {
    const { chain } = branches.gateway.maps
    const { hosts } = branches
    const listener = hosts.b.spawn(
      [
        'node',
        '-e',
        "require('node:net').createServer(s => s.resume()).listen(7002, '10.2.0.2', () => console.log('ready'))",
      ].with(0, process.execPath),
    )
    try {
      await new Promise(done => listener.stdout?.once('data', done))
      const code = `const s = require('node:net').connect({ host: '10.2.0.2', port: 7002 })
        s.on('connect', () => { console.log('connected'); setInterval(() => s.write('x'), 20) })
        s.on('error', e => { console.log(e.code); process.exit() })
        setTimeout(() => { console.log('timeout'); process.exit() }, 10000)`
      const client = hosts.a.spawn([process.execPath, '-e', code])
      let told = ''
      client.stdout?.on('data', data => {
        told += data
      })
      await expect.poll(() => told, { timeout: 10_000 }).toContain('connected')
      const adapter = chain.adapters.get(2)
      if (!adapter) throw new Error('no adapter')
      chain.adapters.set(2, { ...adapter, flags: 1 })
      await expect.poll(() => told, { timeout: 10_000 }).toContain('ECONNRESET')
      expect(branches.gateway.drops()['instance-lost']).toBeGreaterThan(0)
    } finally {
      listener.kill()
    }
  })
})
