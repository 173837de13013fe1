/**
 * Puts two devices into a link, inside the namespace of its WAN:
 *
 *   before   node wan-inet ------------------------------------------ to2-edge (the router's addresses)
 *   after    node wan-inet --- nd2-edge  [relay or netem]  rt2-edge --- to2-edge
 *
 * nd2-edge is the old to2-edge under another name: the node's own device stays, keeps its carrier and its neighbour's MAC address. Addresses move
 * to the new to2-edge. What passes between nd and rt are whole Ethernet frames, so ARP and neighbour discovery suffer like the rest.
 */
import { LabError } from '../error.ts'
import type { Lab } from '../lab.ts'
import { sh } from '../machine.ts'
import { namespacePath, routerDevice, wanDevice } from '../network.ts'
import { familyOf, findNode, isAgent, routerAddress, type WanLink } from '../topology.ts'

export interface Splice {
  /** namespace of the WAN that holds the devices */
  readonly wan: string
  /** the end towards the node: `out` comes in here */
  readonly node: string
  /** the end towards the router: `in` comes in here */
  readonly router: string
  readonly mtu: number
}

export interface LinkName {
  /** an edge or gateway */
  readonly node: string
  /** of its WAN links */
  readonly link: string
}

/** @throws LabError `input` with the links that there are */
export function spliceOf(lab: Lab, { node: name, link: linkName }: LinkName) {
  const node = findNode(lab.topology, name)
  if (!isAgent(node)) throw new LabError('input', `${name} is a ${node.kind}: only edges and gateways have WAN links`)
  const index = node.wan.findIndex(each => each.name === linkName)
  const link = node.wan[index]
  if (!link)
    throw new LabError(
      'input',
      `${name} has no link ${linkName}; it has: ${node.wan.map(each => each.name).join(', ')}`,
    )
  const device = routerDevice(lab.topology, name, index)
  const rest = device.slice(2)
  return { wan: link.to, node: `nd${rest}`, router: `rt${rest}`, mtu: link.mtu, device, link }
}

/** Nothing happens when it is done already. What is under way in these few milliseconds may be lost. @throws LabError `command` */
export async function splice(lab: Lab, name: LinkName): Promise<Splice> {
  const { device, link, ...made } = spliceOf(lab, name)
  const script = `
    ! ip link show ${made.router} >/dev/null 2>&1 || exit 0
    mac=$(ip -br link show ${device} | awk '{ print $3 }')
    ip addr flush dev ${device}
    ip link set ${device} name ${made.node}
    ip link set ${made.node} address 02:00:00:00:00:01
    ip link add ${device} address $mac mtu ${link.mtu} type veth peer name ${made.router} mtu ${link.mtu}
    for end in ${made.node} ${made.router}; do
      # Frames are for those behind it: the router itself must answer neither ARP nor neighbour discovery here.
      echo 1 >/proc/sys/net/ipv6/conf/$end/disable_ipv6
      ip link set $end arp off up
    done
    ip link set ${device} up
    ${giveAddresses(link, device)}
    ${checksums(device, 'off')}`
  await inLink(lab, name, script, 'off')
  return made
}

/** The link as it was before. */
export async function unsplice(lab: Lab, name: LinkName): Promise<void> {
  const { device, link, node, router } = spliceOf(lab, name)
  const script = `
    ip link show ${router} >/dev/null 2>&1 || exit 0
    mac=$(ip -br link show ${device} | awk '{ print $3 }')
    ip link del ${router}
    tc qdisc del dev ${node} clsact 2>/dev/null || true
    tc qdisc del dev ${node} root 2>/dev/null || true
    ip link set ${node} name ${device}
    ip link set ${device} address $mac arp on
    echo 0 >/proc/sys/net/ipv6/conf/${device}/disable_ipv6
    ${giveAddresses(link, device)}`
  await inLink(lab, name, script, 'on')
}

/**
 * Runs a script in the WAN's namespace. Offloads are those of the two devices that send to ours: a super-packet or an unfinished checksum is
 * right between two veth devices, but not one packet on a wire. Without checksum offload the kernel segments and finishes before it sends.
 */
async function inLink(lab: Lab, name: LinkName, script: string, offload: 'on' | 'off'): Promise<void> {
  const { wan, link } = spliceOf(lab, name)
  await sh(
    lab.machine,
    `nsenter --net=${namespacePath(lab.id, wan)} sh -es <<'END'
${script}
END
nsenter --net=${namespacePath(lab.id, name.node)} ${checksums(wanDevice(link), offload)}`,
  )
}

function checksums(device: string, offload: 'on' | 'off'): string {
  return `ethtool -K ${device} tx ${offload} >/dev/null`
}

/** Commands, one a line. */
function giveAddresses(link: WanLink, device: string): string {
  const commands = link.addresses.map(
    address => `ip addr add ${routerAddress(address)} dev ${device}${familyOf(address) === 6 ? ' nodad' : ''}`,
  )
  return commands.join('\n    ')
}
