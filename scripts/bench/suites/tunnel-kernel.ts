/** What the kernel itself offers between two nodes: plain forwarding, and VXLAN. */
import { LAN, other, type Pair, SITES, WAN } from './tunnel-pair.ts'

export function routePlain({ nodes }: Pair): void {
  for (const site of SITES) nodes[site].run(`ip route add ${LAN[other(site)]} via ${WAN[other(site)]}`)
}

const VXLAN_ADDRESS = { a: '172.16.0.1', b: '172.16.0.2' }
/** WAN MTU less outer IPv4, UDP, VXLAN and Ethernet header. */
const VXLAN_MTU = 1450

export function routeVxlan({ nodes }: Pair): void {
  for (const site of SITES) {
    const node = nodes[site]
    node.run(
      `ip link add vxlan0 mtu ${VXLAN_MTU} type vxlan id 7 local ${WAN[site]} remote ${WAN[other(site)]} dev wan0 dstport 4789`,
    )
    node.run(`ip addr add ${VXLAN_ADDRESS[site]}/24 dev vxlan0`)
    node.run('ip link set vxlan0 up')
    node.run(`ip route add ${LAN[other(site)]} via ${VXLAN_ADDRESS[other(site)]}`)
  }
}
