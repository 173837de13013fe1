/**
 * Pure: a topology -> the shell script that builds it out of network namespaces. One script, so that the guest runs it in one go.
 *
 *   a1 eth0 --- lan0 branch-a wan-inet --- branch-a/inet inet gw1/inet --- wan-inet gw1
 *                     |mgmt0                                                |mgmt0
 *                     +----- m1 orchestrator m0 ----------------------------+
 *
 * Devices are made inside their namespaces and never show in the machine's own one.
 */
import {
  addressOf,
  attachedSubnets,
  familyOf,
  hasWan,
  isAgent,
  type LabNode,
  type Peering,
  portOf,
  routerAddress,
  type Topology,
} from './topology.ts'

/** The orchestrator's address on every management link (RFC 5737 TEST-NET-1). */
export const ORCHESTRATOR_ADDRESS = '192.0.2.1'
const FIRST_MANAGEMENT_HOST = 10

export function namespaceOf(id: string, node: string): string {
  return `bl-${id}-${node}`
}

export function namespacePath(id: string, node: string): string {
  return `/run/netns/${namespaceOf(id, node)}`
}

/** A gateway's way to the Internet. */
export const UPSTREAM_DEVICE = 'up0'

export function wanDevice(link: { readonly name: string }): string {
  return `wan-${link.name}`
}

/** The router's end of a link: names are cut to IFNAMSIZ, hence numbered by the node's place. */
export function routerDevice(topology: Topology, node: string, link: number): string {
  const index = topology.nodes.findIndex(each => each.name === node)
  return `to${index}-${node}`.slice(0, 12) + (link === 0 ? '' : `.${link}`)
}

/** A WAN's end of a peering. */
export function peeringDevice(topology: Topology, to: string): string {
  return `ix${topology.nodes.findIndex(each => each.name === to)}-${to}`.slice(0, 15)
}

type Commands = Map<string, string[]>

/** @returns a script for `sh -e` */
export function buildScript(id: string, topology: Topology): string {
  const links: string[] = []
  const setup: Commands = new Map(topology.nodes.map(node => [node.name, ['link set lo up']]))
  const add = (node: string, ...commands: string[]) => setup.get(node)?.push(...commands)
  const cable = (a: End, b: End, mtu: number) => {
    links.push(
      `link add ${a.device} mtu ${mtu} netns ${namespaceOf(id, a.node)} type veth ` +
        `peer name ${b.device} mtu ${mtu} netns ${namespaceOf(id, b.node)}`,
    )
    for (const end of [a, b]) {
      for (const address of end.addresses)
        add(end.node, `addr add ${address} dev ${end.device}${familyOf(address) === 6 ? ' nodad' : ''}`)
      add(end.node, `link set ${end.device} up`)
    }
  }
  for (const node of topology.nodes) {
    wireWan(topology, node, cable, add)
    wireLan(topology, node, cable, add)
    wireUpstream(topology, node, cable)
    if (node.kind === 'wan') for (const peering of node.peers) wirePeering(topology, node.name, peering, cable, add)
  }
  wireManagement(topology, links, add, id)
  return [
    ...topology.nodes.map(node => `ip netns add ${namespaceOf(id, node.name)}`),
    ...topology.nodes.map(node => sysctls(id, node)),
    batch('ip -batch -', links),
    ...topology.nodes.map(node => batch(`ip -n ${namespaceOf(id, node.name)} -batch -`, setup.get(node.name) ?? [])),
    ...topology.nodes.flatMap(node => natRules(id, topology, node)),
  ].join('\n')
}

type End = { readonly node: string; readonly device: string; readonly addresses: readonly string[] }
type Cable = (a: End, b: End, mtu: number) => void
type Add = (node: string, ...commands: string[]) => void

function wireWan(topology: Topology, node: LabNode, cable: Cable, add: Add): void {
  if (!hasWan(node)) return
  node.wan.forEach((link, index) => {
    const own = { node: node.name, device: wanDevice(link), addresses: link.addresses }
    const device = routerDevice(topology, node.name, index)
    cable(own, { node: link.to, device, addresses: link.addresses.map(routerAddress) }, link.mtu)
    for (const address of link.addresses)
      add(
        node.name,
        `route add default via ${addressOf(routerAddress(address))} dev ${own.device} metric ${100 + index}`,
      )
  })
}

function wirePeering(topology: Topology, name: string, { to, addresses }: Peering, cable: Cable, add: Add): void {
  const own = { node: name, device: peeringDevice(topology, to), addresses }
  const other = { node: to, device: peeringDevice(topology, name), addresses: addresses.map(routerAddress) }
  cable(own, other, 1500)
  if (isNat(topology, name)) {
    for (const address of other.addresses)
      if (topology.nodes.some(node => node.name === name && node.kind === 'wan' && node.peers[0]?.to === to))
        add(name, `route add default via ${addressOf(address)} dev ${own.device}`)
    return
  }
  for (const [near, far] of [
    [own, other],
    [other, own],
  ] as const)
    for (const subnet of attachedSubnets(topology, far.node)) {
      const via = far.addresses.find(address => familyOf(address) === familyOf(subnet))
      if (via) add(near.node, `route add ${subnet} via ${addressOf(via)} dev ${near.device}`)
    }
}

function isNat({ nodes }: Topology, name: string): boolean {
  return nodes.some(node => node.name === name && node.kind === 'wan' && node.nat)
}

/** Ports stay as they are where they can, as with most home routers. */
function natRules(id: string, topology: Topology, node: LabNode): string[] {
  const [upstream] = node.kind === 'wan' && node.nat ? node.peers : []
  if (!upstream) return []
  const rule = `table ip nat {
  chain out {
    type nat hook postrouting priority srcnat;
    oifname ${peeringDevice(topology, upstream.to)} masquerade
  }
}`
  return [batch(`nsenter --net=${namespacePath(id, node.name)} nft -f -`, [rule])]
}

function wireLan(topology: Topology, node: LabNode, cable: Cable, add: Add): void {
  if (node.kind !== 'host') return
  const { edge, port } = portOf(topology, node)
  cable(
    { node: edge.name, device: port.name, addresses: port.addresses },
    { node: node.name, device: 'eth0', addresses: node.addresses },
    1500,
  )
  for (const address of port.addresses) add(node.name, `route add default via ${addressOf(address)} dev eth0`)
}

/** One network: the server finds the addresses that a gateway lends to instances as any neighbour does, and knows no private ones. */
function wireUpstream({ nodes }: Topology, node: LabNode, cable: Cable): void {
  if (node.kind !== 'server') return
  const gateway = nodes.find(each => each.name === node.upstream)
  if (gateway?.kind !== 'gateway' || !gateway.upstream) return
  cable(
    { node: gateway.name, device: UPSTREAM_DEVICE, addresses: gateway.upstream.addresses },
    { node: node.name, device: 'eth0', addresses: node.addresses },
    1500,
  )
}

/** Point-to-point: no bridge, and nodes cannot reach each other here. */
function wireManagement(topology: Topology, links: string[], add: Add, id: string): void {
  const orchestrator = topology.nodes.find(node => node.kind === 'orchestrator')
  if (!orchestrator) return
  topology.nodes.filter(isAgent).forEach((node, index) => {
    const address = `192.0.2.${FIRST_MANAGEMENT_HOST + index}`
    links.push(
      `link add mgmt0 netns ${namespaceOf(id, node.name)} type veth ` +
        `peer name m${index} netns ${namespaceOf(id, orchestrator.name)}`,
    )
    add(node.name, `addr add ${address} peer ${ORCHESTRATOR_ADDRESS} dev mgmt0`, 'link set mgmt0 up')
    add(orchestrator.name, `addr add ${ORCHESTRATOR_ADDRESS} peer ${address} dev m${index}`, `link set m${index} up`)
  })
}

/** Before there are devices, so that `default` counts for all of them. */
function sysctls(id: string, node: LabNode): string {
  const forward = node.kind === 'wan' ? 1 : 0
  const values: [string, number][] = [
    ['net/ipv4/ip_forward', forward],
    // Whatever the machine's default is: branches of one lab must not differ from those of another.
    ['net/ipv4/conf/all/rp_filter', 0],
    ['net/ipv4/conf/default/rp_filter', 0],
    ['net/ipv6/conf/all/forwarding', forward],
    ['net/ipv6/conf/default/forwarding', forward],
    // No duplicate address detection and no router discovery: every address is given, and must be usable at once.
    ['net/ipv6/conf/default/accept_dad', 0],
    ['net/ipv6/conf/default/accept_ra', 0],
    // A router whose port was down has its addresses afterwards.
    ['net/ipv6/conf/default/keep_addr_on_down', 1],
  ]
  const writes = values.map(([key, value]) => `echo ${value} >/proc/sys/${key}`)
  // /proc/sys/net shows the namespace of whoever opens it.
  return `nsenter --net=${namespacePath(id, node.name)} sh -ec '${writes.join('; ')}'`
}

function batch(command: string, lines: readonly string[]): string {
  return `${command} <<'END'\n${lines.join('\n')}\nEND`
}
