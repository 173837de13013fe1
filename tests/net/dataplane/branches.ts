/**
 * Two branches and a gateway, every session and route written by hand.
 *
 *   host-a -- lan0 edge-a wan0 ==MP== wan-a gateway wan-b ==MP== wan0 edge-b lan0 -- host-b
 *   10.1.0.2      vaddr .2                 vaddr .1                 vaddr .3     10.2.0.2
 *   fd01::2                        100.64.0.0/24                                 fd02::2
 *
 * A path handle is also the if_id of its SAs; session ids end in four zero bits.
 */
import { ABI_NH_F_SECURE, nexthopKind } from '../../../schema/abi.gen.ts'
import { Namespace, removeNamespaces, wire } from './namespace.ts'
import { StaticNode } from './static-node.ts'

export interface BranchOptions {
  outer: 4 | 6
  secure: boolean
  wanMtu: number
  /** Of every WAN device: a macvlan that cuts GSO packets. Default true. */
  segmenter?: boolean
  /** Native XDP on the gateway's WAN devices. Default false. */
  xdp?: boolean
}

const PREFIX = 'bldp-'
const GATEWAY_VADDR = '100.64.0.1'
const KEYS = {
  toGateway: { a: [1n, 2n], b: [5n, 6n] },
  toEdge: { a: [3n, 4n], b: [7n, 8n] },
}
const WAN = {
  4: { a: ['198.51.100.2', '198.51.100.1', 24], b: ['203.0.113.2', '203.0.113.1', 24] },
  6: { a: ['2001:db8:a::2', '2001:db8:a::1', 64], b: ['2001:db8:b::2', '2001:db8:b::1', 64] },
} as const
const SPI = { a: { up: 0x1001, down: 0x1002 }, b: { up: 0x2001, down: 0x2002 } }

/** Outer IP, UDP and MP header. */
export const overhead = (outer: 4 | 6) => (outer === 4 ? 20 : 40) + 8 + 40
/** DATAPLANE: what fits an ESP packet of AES-GCM inside mp0. */
export const secureMtu = (mp: number) => ((mp - 52) & ~3) - 2

type Side = 'a' | 'b'

export class Branches implements Disposable {
  readonly hosts: Record<Side, Namespace>
  readonly edges: Record<Side, StaticNode>
  readonly gateway: StaticNode
  readonly #namespaces: Namespace[] = []
  readonly #options: BranchOptions

  constructor(options: BranchOptions) {
    removeNamespaces(PREFIX)
    this.#options = options
    const mpMtu = options.wanMtu - overhead(options.outer)
    const node = (name: string, vaddr: string) =>
      new StaticNode(this.#namespace(name), { vaddr, secure: options.secure, mpMtu })
    this.hosts = { a: this.#namespace('host-a'), b: this.#namespace('host-b') }
    this.edges = { a: node('edge-a', '100.64.0.2'), b: node('edge-b', '100.64.0.3') }
    this.gateway = node('gateway', GATEWAY_VADDR)
    for (const side of ['a', 'b'] as const) {
      this.#connectWan(side)
      this.#connectLan(side)
    }
  }

  #namespace(name: string): Namespace {
    const namespace = new Namespace(PREFIX + name)
    this.#namespaces.push(namespace)
    return namespace
  }

  #connectWan(side: Side): void {
    const { outer, secure, wanMtu, segmenter = true, xdp = false } = this.#options
    const edge = this.edges[side]
    const { gateway } = this
    const [edgeAddress, gatewayAddress, length] = WAN[outer][side]
    const wanDevice = `wan-${side}`
    wire(edge.namespace, 'wan0', gateway.namespace, wanDevice, wanMtu)
    edge.namespace.run(`ip addr add ${edgeAddress}/${length} dev wan0${outer === 6 ? ' nodad' : ''}`)
    gateway.namespace.run(`ip addr add ${gatewayAddress}/${length} dev ${wanDevice}${outer === 6 ? ' nodad' : ''}`)
    edge.addWan('wan0', { segmenter })
    gateway.addWan(wanDevice, { segmenter, xdp })
    // The other end of a veth takes frames when it polls, as GRO makes it; and a frame has no checksum to be completed later.
    if (xdp) edge.namespace.run('ethtool -K wan0 gro on tx off')

    const peer = side === 'a' ? 1 : 2
    const edgeSid = peer * 0x100
    const gatewaySid = peer * 0x100 + 0x10
    const mp = wanMtu - overhead(outer)
    const mtu = { clear: mp, secure: secureMtu(mp) }
    edge.addSession(
      {
        sid: edgeSid,
        remoteSid: gatewaySid,
        peer: 9,
        vaddrRemote: GATEWAY_VADDR,
        txKey: KEYS.toGateway[side],
        rxKey: KEYS.toEdge[side],
        device: 'wan0',
        local: edgeAddress,
        remote: gatewayAddress,
        wanMtu,
      },
      mtu,
    )
    gateway.addSession(
      {
        sid: gatewaySid,
        remoteSid: edgeSid,
        peer,
        vaddrRemote: edge.vaddr,
        txKey: KEYS.toEdge[side],
        rxKey: KEYS.toGateway[side],
        device: wanDevice,
        local: gatewayAddress,
        remote: edgeAddress,
        wanMtu,
      },
      mtu,
    )
    if (secure) {
      associate(edge, gateway, SPI[side].up, edgeSid, gatewaySid)
      associate(gateway, edge, SPI[side].down, gatewaySid, edgeSid)
    }
  }

  #connectLan(side: Side): void {
    const flags = this.#options.secure ? ABI_NH_F_SECURE : 0
    const edge = this.edges[side]
    const host = this.hosts[side]
    const [mine, other] = side === 'a' ? [1, 2] : [2, 1]
    wire(host, 'eth0', edge.namespace, 'lan0')
    host.run(`ip addr add 10.${mine}.0.2/24 dev eth0`)
    host.run(`ip addr add fd0${mine}::2/64 dev eth0 nodad`)
    edge.namespace.run(`ip addr add 10.${mine}.0.1/24 dev lan0`)
    edge.namespace.run(`ip addr add fd0${mine}::1/64 dev lan0 nodad`)
    host.run(`ip route add default via 10.${mine}.0.1`)
    host.run(`ip route add default via fd0${mine}::1`)
    edge.addPort('lan0', `10.${mine}.0.1`, `fd0${mine}::1`)
    const lan = { kind: nexthopKind.NH_LAN, flags, target: edge.namespace.ifindex('lan0') }
    const away = { kind: nexthopKind.NH_PEER, flags, target: 9 }
    for (const prefix of [`10.${mine}.0.0/24`, `fd0${mine}::/64`]) edge.addRoute(prefix, lan)
    for (const prefix of [`10.${mine}.0.1/32`, `fd0${mine}::1/128`])
      edge.addRoute(prefix, { kind: nexthopKind.NH_LOCAL, flags: 0, target: 0 })
    for (const prefix of [`10.${other}.0.0/24`, `fd0${other}::/64`]) edge.addRoute(prefix, away)
    for (const prefix of [`10.${mine}.0.0/24`, `fd0${mine}::/64`])
      this.gateway.addRoute(prefix, { kind: nexthopKind.NH_PEER, flags, target: mine })
  }

  [Symbol.dispose](): void {
    for (const node of [this.edges.a, this.edges.b, this.gateway]) node[Symbol.dispose]()
    for (const namespace of this.#namespaces) namespace[Symbol.dispose]()
  }
}

/** One SA on both of its ends, and the sender's policies. Without af-unspec an SA between IPv4 addresses takes no IPv6 packets. */
export function associate(from: StaticNode, to: StaticNode, spi: number, fromHandle: number, toHandle: number): void {
  const ends = `src ${from.vaddr} dst ${to.vaddr}`
  const state = (ifId: number) =>
    `ip xfrm state add ${ends} proto esp spi ${spi} mode tunnel aead rfc4106(gcm(aes)) 0x${'5a'.repeat(20)} 128 ` +
    `if_id ${ifId} reqid ${ifId} replay-window 4096 flag esn af-unspec`
  from.namespace.run(state(fromHandle))
  to.namespace.run(state(toHandle))
  for (const any of ['0.0.0.0/0', '::/0'])
    from.namespace.run(
      `ip xfrm policy add src ${any} dst ${any} dir out if_id ${fromHandle} tmpl ${ends} proto esp reqid ${fromHandle} mode tunnel`,
    )
}
