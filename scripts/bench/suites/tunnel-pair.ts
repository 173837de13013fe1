/**
 * Two sites and what joins them; every contender has namespaces of its own, wired alike.
 *
 *   host-a eth0 --- lan0 node-a wan0 =========== wan0 node-b lan0 --- eth0 host-b
 *   10.1.0.2        10.1.0.1  198.51.100.1  198.51.100.2    10.2.0.1     10.2.0.2
 *
 * A veth would carry a GSO packet whole; wan0 may not, so every packet on the WAN has the size that its MTU allows, as on a cable. It
 * passes GRO where it arrives, as on any NIC.
 */
import { Namespace, wire } from '../../../tests/net/dataplane/namespace.ts'

export const SITES = ['a', 'b'] as const
export type Site = (typeof SITES)[number]

export const WAN_MTU = 1500
export const WAN: Record<Site, string> = { a: '198.51.100.1', b: '198.51.100.2' }
export const LAN: Record<Site, string> = { a: '10.1.0.0/24', b: '10.2.0.0/24' }
export const HOST: Record<Site, string> = { a: '10.1.0.2', b: '10.2.0.2' }
export const other = (site: Site): Site => (site === 'a' ? 'b' : 'a')

export class Pair implements Disposable {
  readonly hosts: Record<Site, Namespace>
  readonly nodes: Record<Site, Namespace>
  readonly #namespaces: Namespace[] = []

  constructor(name: string) {
    const make = (part: string) => {
      const namespace = new Namespace(`${PREFIX}${name}-${part}`)
      this.#namespaces.push(namespace)
      return namespace
    }
    this.nodes = { a: make('node-a'), b: make('node-b') }
    this.hosts = { a: make('host-a'), b: make('host-b') }
    wire(this.nodes.a, 'wan0', this.nodes.b, 'wan0', WAN_MTU)
    for (const site of SITES) this.#build(site)
  }

  #build(site: Site): void {
    const [node, host] = [this.nodes[site], this.hosts[site]]
    const router = HOST[site].replace(/2$/, '1')
    wire(node, 'lan0', host, 'eth0')
    node.run('sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0')
    node.run(`ip addr add ${router}/24 dev lan0`)
    node.run(`ip addr add ${WAN[site]}/24 dev wan0`)
    host.run(`ip addr add ${HOST[site]}/24 dev eth0`)
    host.run(`ip route add default via ${router}`)
    node.run('ethtool -K wan0 tso off gso off gro on tx-udp_tnl-segmentation off tx-udp_tnl-csum-segmentation off')
  }

  [Symbol.dispose](): void {
    for (const namespace of this.#namespaces) namespace[Symbol.dispose]()
  }
}

export const PREFIX = 'blbt-'
