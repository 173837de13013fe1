/**
 * The lanes of suite `ipsec`, all in one machine: the same four namespaces and wires, the way between edge and gateway differs.
 *
 *   host-a -- lan0 edge wan0 -------- wan0 gateway lan0 -- host-b
 *   10.1.0.2          198.51.100.2    .1                  10.2.0.2
 *
 * WAN and LAN MTU 1500. SAs have the same cipher, replay window and ESN in both lanes that have any.
 */
import { ABI_NH_F_SECURE, nexthopKind } from '../../../schema/abi.gen.ts'
import { associate, overhead, secureMtu } from '../../../tests/net/dataplane/branches.ts'
import { Namespace, removeNamespaces, wire } from '../../../tests/net/dataplane/namespace.ts'
import { type SessionEnd, StaticNode } from '../../../tests/net/dataplane/static-node.ts'

const PREFIX = 'blbench-'
const WAN_MTU = 1500
const WAN = { edge: '198.51.100.2', gateway: '198.51.100.1' }
const PEER = 1

/** A host's own address, and one that nobody has: packets to it reach the host's device and end there without an answer. */
export const HOST_B = '10.2.0.2'
export const SINK = '10.2.0.9'

export interface Lane extends Disposable {
  readonly hostA: Namespace
  readonly hostB: Namespace
  /** Where a packet of host A goes first. */
  readonly routerMac: string
  /** What must be 0 after the run, by name. */
  faults(): Record<string, number>
}

/** Removes what a killed run left. */
export function removeLanes(): void {
  removeNamespaces(PREFIX)
}

/** The namespaces and their wires; forwarding between them is the lane's business. */
class Wires {
  readonly name: string
  readonly hostA: Namespace
  readonly edge: Namespace
  readonly gateway: Namespace
  readonly hostB: Namespace

  constructor(name: string) {
    this.name = name
    const namespace = (role: string) => new Namespace(`${PREFIX}${name}-${role}`)
    this.hostA = namespace('host-a')
    this.edge = namespace('edge')
    this.gateway = namespace('gateway')
    this.hostB = namespace('host-b')
  }

  /** Once the nodes have their own devices. */
  connect(): void {
    const { hostA, edge, gateway, hostB } = this
    wire(edge, 'wan0', gateway, 'wan0', WAN_MTU)
    edge.run(`ip addr add ${WAN.edge}/24 dev wan0`)
    gateway.run(`ip addr add ${WAN.gateway}/24 dev wan0`)
    for (const [host, node, net] of [
      [hostA, edge, 1],
      [hostB, gateway, 2],
    ] as const) {
      wire(host, 'eth0', node, 'lan0')
      host.run(`ip addr add 10.${net}.0.2/24 dev eth0`)
      node.run(`ip addr add 10.${net}.0.1/24 dev lan0`)
      host.run(`ip route add default via 10.${net}.0.1`)
    }
    gateway.run(`ip neigh add ${SINK} lladdr ${mac(hostB, 'eth0')} dev lan0`)
  }

  lane(faults: () => Record<string, number> = () => ({})): Lane {
    const all = [this.hostA, this.edge, this.gateway, this.hostB]
    return {
      hostA: this.hostA,
      hostB: this.hostB,
      routerMac: mac(this.edge, 'lan0'),
      faults,
      [Symbol.dispose]: () => {
        for (const namespace of all) namespace[Symbol.dispose]()
      },
    }
  }
}

/** The kernel forwards; nothing protects the packets. */
export function plainLane(name: string): Lane {
  const wires = forwarding(name)
  wires.edge.run(`ip route add 10.2.0.0/24 via ${WAN.gateway}`)
  wires.gateway.run(`ip route add 10.1.0.0/24 via ${WAN.edge}`)
  return wires.lane()
}

/** A tunnel as one makes it by hand with `ip xfrm`: SAs between the WAN addresses, policies by prefix, the kernel forwards. */
export function xfrmLane(name: string): Lane {
  const wires = forwarding(name)
  const { edge, gateway } = wires
  edge.run(`ip route add 10.2.0.0/24 via ${WAN.gateway}`)
  gateway.run(`ip route add 10.1.0.0/24 via ${WAN.edge}`)
  const states = [
    { src: WAN.edge, dst: WAN.gateway, spi: 0x1001 },
    { src: WAN.gateway, dst: WAN.edge, spi: 0x1002 },
  ]
  for (const { src, dst, spi } of states)
    for (const node of [edge, gateway])
      node.run(
        `ip xfrm state add src ${src} dst ${dst} proto esp spi ${spi} mode tunnel aead rfc4106(gcm(aes)) 0x${'5a'.repeat(20)} 128 ` +
          'reqid 1 replay-window 4096 flag esn',
      )
  const policy = (node: Namespace, direction: string, from: string, to: string, src: string, dst: string) =>
    node.run(
      `ip xfrm policy add src ${from} dst ${to} dir ${direction} tmpl src ${src} dst ${dst} proto esp reqid 1 mode tunnel`,
    )
  const [a, b] = ['10.1.0.0/24', '10.2.0.0/24']
  for (const [node, mine, other, src, dst] of [
    [edge, a, b, WAN.edge, WAN.gateway],
    [gateway, b, a, WAN.gateway, WAN.edge],
  ] as const) {
    policy(node, 'out', mine, other, src, dst)
    policy(node, 'fwd', other, mine, dst, src)
    policy(node, 'in', other, mine, dst, src)
  }
  return wires.lane(() => ({ 'no packet that an SA took': unprotected(edge) }))
}

export function wireguardLane(name: string): Lane {
  const wires = forwarding(name)
  const { edge, gateway } = wires
  const key = (node: Namespace) => node.run('wg genkey').trim()
  const keys = { edge: key(edge), gateway: key(gateway) }
  for (const [node, mine, other, endpoint, nets] of [
    [edge, keys.edge, keys.gateway, WAN.gateway, '10.2.0.0/24'],
    [gateway, keys.gateway, keys.edge, WAN.edge, '10.1.0.0/24'],
  ] as const) {
    const peer = node.execute(['sh', '-c', `echo '${other}' | wg pubkey`]).trim()
    node.run('ip link add wg0 type wireguard')
    node.execute([
      'sh',
      '-c',
      `echo '${mine}' | wg set wg0 listen-port 51820 private-key /proc/self/fd/0 peer ${peer} endpoint ${endpoint}:51820 allowed-ips ${nets}`,
    ])
    node.run('ip link set wg0 up')
    node.run(`ip route add ${nets} dev wg0`)
  }
  return wires.lane()
}

/** Branchline's own programs, devices and SAs. */
export function branchlineLane(name: string): Lane {
  const wires = new Wires(name)
  const mp = WAN_MTU - overhead(4)
  const node = (namespace: Namespace, vaddr: string) => new StaticNode(namespace, { vaddr, secure: true, mpMtu: mp })
  const edge = node(wires.edge, '100.64.0.2')
  const gateway = node(wires.gateway, '100.64.0.1')
  wires.connect()
  const sids = { edge: 0x100, gateway: 0x110 }
  const keys = { up: [1n, 2n], down: [3n, 4n] }
  const end = { peer: PEER, device: 'wan0', wanMtu: WAN_MTU }
  const ends: [StaticNode, SessionEnd, string, number][] = [
    [
      edge,
      {
        ...end,
        sid: sids.edge,
        remoteSid: sids.gateway,
        vaddrRemote: gateway.vaddr,
        txKey: keys.up,
        rxKey: keys.down,
        local: WAN.edge,
        remote: WAN.gateway,
      },
      '10.1.0',
      2,
    ],
    [
      gateway,
      {
        ...end,
        sid: sids.gateway,
        remoteSid: sids.edge,
        vaddrRemote: edge.vaddr,
        txKey: keys.down,
        rxKey: keys.up,
        local: WAN.gateway,
        remote: WAN.edge,
      },
      '10.2.0',
      1,
    ],
  ]
  const flags = ABI_NH_F_SECURE
  for (const [node, session, net, other] of ends) {
    node.addWan('wan0')
    node.addSession(session, { clear: mp, secure: secureMtu(mp) })
    node.addPort('lan0', `${net}.1`, '::')
    node.addRoute(`${net}.0/24`, { kind: nexthopKind.NH_LAN, flags, target: node.namespace.ifindex('lan0') })
    node.addRoute(`10.${other}.0.0/24`, { kind: nexthopKind.NH_PEER, flags, target: PEER })
  }
  associate(edge, gateway, 0x1001, sids.edge, sids.gateway)
  associate(gateway, edge, 0x1002, sids.gateway, sids.edge)
  const lane = wires.lane(() => ({
    'packets dropped': sum(edge.drops()) + sum(gateway.drops()),
    'packets sent in clear': edge.counters()['to-peer-clear'] ?? 0,
  }))
  return {
    ...lane,
    [Symbol.dispose]: () => {
      for (const node of [edge, gateway]) node[Symbol.dispose]()
      lane[Symbol.dispose]()
    },
  }
}

function forwarding(name: string): Wires {
  const wires = new Wires(name)
  wires.connect()
  for (const node of [wires.edge, wires.gateway]) node.run('sysctl -qw net.ipv4.ip_forward=1')
  return wires
}

/** 1 when the node's SAs never carried a byte. */
function unprotected(node: Namespace): number {
  const bytes = node.run('ip -s xfrm state').matchAll(/lifetime current:\s+(\d+)\(bytes\)/g)
  return [...bytes].some(([, count]) => Number(count) > 0) ? 0 : 1
}

function mac(namespace: Namespace, device: string): string {
  const [link] = JSON.parse(namespace.run(`ip -j link show dev ${device}`)) as { address: string }[]
  return link?.address ?? ''
}

function sum(values: Record<string, number>): number {
  return Object.values(values).reduce((total, value) => total + value, 0)
}
