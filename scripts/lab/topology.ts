/**
 * A topology file (vagrant/topologies/*.json): which nodes there are and how they are wired. The namespace lab and Vagrant read the same files.
 *
 *   orchestrator   where agents reach the orchestrator; connected to every agent by a link of its own (mgmt0), not over the WAN
 *   wan            a router between nodes: each WAN link of a node is a subnet of its own, so packets are routed and lose TTL;
 *                  two of them are one network where they peer; one that translates addresses (NAT) hides what is attached to it
 *   edge, gateway  run the agent; any number of WAN links, edges any number of LAN ports; a gateway may have an upstream, its way to the Internet
 *   host           a machine behind one LAN port of an edge
 *   machine        something else with WAN links, without an agent: a service function of somebody else's
 *   server         a machine of the Internet, on the upstream network of one gateway
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { formatAddress, formatPrefix, networkBytes, type Prefix, parsePrefix } from '../../schema/address.ts'
import { addressSchema, nameSchema } from '../../schema/common.ts'
import { REPO } from '../guest/rundir.ts'
import { LabError } from './error.ts'
import { profileSchema } from './impairment/profile.ts'

const FOLDER = join(REPO, 'vagrant/topologies')

/** Address with the length of its subnet: `10.1.0.1/24`. */
const interfaceAddressSchema = z
  .string()
  .refine(text => parsePrefix(text) !== undefined, 'must be an address with a prefix length, like 10.1.0.1/24')

const addressesSchema = z.array(interfaceAddressSchema).min(1)
/** Also a device's name (`wan-<name>` must fit IFNAMSIZ). */
const linkNameSchema = nameSchema.max(11, 'must be 11 characters at most')

const impairmentSchema = z.strictObject({
  /** default auto: netem where the kernel has it, else the relay */
  with: z.enum(['relay', 'netem', 'auto']).default('auto'),
  /** from the node into the WAN, and back */
  out: profileSchema.default({}),
  in: profileSchema.default({}),
})

const wanLinkSchema = z.strictObject({
  name: linkNameSchema,
  /** a node of kind wan */
  to: nameSchema,
  /** The router's end gets the first address of each subnet. */
  addresses: addressesSchema,
  mtu: z.int().min(1280).max(65535).default(1500),
  /** What the agent is told about the link: its configuration's `wan[]`. That the link is no faster is for `impairment` to say. */
  upMbps: z.number().positive().optional(),
  downMbps: z.number().positive().optional(),
  backup: z.boolean().optional(),
  metered: z.boolean().optional(),
  /** What the link suffers from the start; `npm run lab -- impair` changes it. */
  impairment: impairmentSchema.optional(),
})
export type WanLink = z.output<typeof wanLinkSchema>

/** Between two nodes of kind wan, told by one of them. Either end routes to what is attached to the other, no further. */
const peeringSchema = z.strictObject({
  to: nameSchema,
  /** The other end gets the first address of each subnet. */
  addresses: addressesSchema,
})
export type Peering = z.output<typeof peeringSchema>

const wanLinksSchema = z.array(wanLinkSchema).min(1).max(16)
const lanPortSchema = z.strictObject({ name: linkNameSchema, addresses: addressesSchema })

/** Device `up0`: the network between a gateway and a server, which stands for the Internet. */
const upstreamSchema = z.strictObject({
  addresses: addressesSchema,
  /** Of the same network: for instances that translate addresses, an agent's `services.upstream.addresses`. */
  nat: z.array(addressSchema).default([]),
})

const nodeSchema = z.discriminatedUnion('kind', [
  z.strictObject({ name: nameSchema, kind: z.literal('orchestrator') }),
  z.strictObject({
    name: nameSchema,
    kind: z.literal('wan'),
    peers: z.array(peeringSchema).default([]),
    /** Source NAT of IPv4 towards its first peer, over which its default route leads. */
    nat: z.boolean().default(false),
  }),
  z.strictObject({
    name: nameSchema,
    kind: z.literal('gateway'),
    wan: wanLinksSchema,
    upstream: upstreamSchema.optional(),
  }),
  z.strictObject({
    name: nameSchema,
    kind: z.literal('edge'),
    enterprise: nameSchema,
    wan: wanLinksSchema,
    lan: z.array(lanPortSchema).min(1).max(64),
  }),
  z.strictObject({
    name: nameSchema,
    kind: z.literal('host'),
    /** `<edge>/<port>` */
    lan: z.string(),
    addresses: addressesSchema,
  }),
  z.strictObject({ name: nameSchema, kind: z.literal('machine'), wan: wanLinksSchema }),
  z.strictObject({
    name: nameSchema,
    kind: z.literal('server'),
    /** a gateway with an upstream */
    upstream: nameSchema,
    addresses: addressesSchema,
  }),
])
export type LabNode = z.output<typeof nodeSchema>
export type EdgeNode = Extract<LabNode, { kind: 'edge' }>
export type GatewayNode = Extract<LabNode, { kind: 'gateway' }>
export type AgentNode = EdgeNode | GatewayNode
export type WanNode = Extract<LabNode, { kind: 'wan' }>
export type HostNode = Extract<LabNode, { kind: 'host' }>
export type ServerNode = Extract<LabNode, { kind: 'server' }>

export const topologySchema = z
  .strictObject({
    name: nameSchema,
    about: z.string(),
    enterprises: z.array(nameSchema),
    nodes: z.array(nodeSchema),
  })
  .superRefine(checkReferences)
export type Topology = z.output<typeof topologySchema>

/** @param name a file of vagrant/topologies without its ending. @throws LabError naming the file and the field */
export function readTopology(name: string): Topology {
  const file = join(FOLDER, `${name}.json`)
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (cause) {
    const known = readdirSync(FOLDER).map(entry => entry.replace(/\.json$/, ''))
    throw new LabError('input', `no topology ${name}; there are: ${known.join(', ')}`, { cause })
  }
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch (cause) {
    throw new LabError('input', `${file} is not JSON: ${String(cause)}`, { cause })
  }
  const parsed = topologySchema.safeParse(json)
  if (parsed.success) return parsed.data
  const issues = parsed.error.issues.map(issue => `${issue.path.join('.') || 'document'}: ${issue.message}`)
  throw new LabError('input', `${file}: ${issues.slice(0, 3).join('; ')}`, { cause: parsed.error })
}

export function hasWan(node: LabNode): node is Extract<LabNode, { wan: unknown }> {
  return 'wan' in node
}

export function isAgent(node: LabNode): node is AgentNode {
  return node.kind === 'edge' || node.kind === 'gateway'
}

/** @throws LabError with the names that there are */
export function findNode(topology: Topology, name: string): LabNode {
  const node = topology.nodes.find(candidate => candidate.name === name)
  if (node) return node
  throw new LabError('input', `no node ${name}; there are: ${topology.nodes.map(each => each.name).join(', ')}`)
}

/** The subnets of the links that end at a WAN. */
export function attachedSubnets({ nodes }: Topology, wan: string): string[] {
  const links = nodes.filter(hasWan).flatMap(node => node.wan)
  return links.filter(link => link.to === wan).flatMap(link => link.addresses.map(subnetOf))
}

/** The prefixes of an edge's LAN ports. */
export function lanPrefixes(edge: EdgeNode): string[] {
  return edge.lan.flatMap(port => port.addresses.map(subnetOf))
}

/** `10.1.0.1/24` -> `10.1.0.0/24` */
export function subnetOf(interfaceAddress: string): string {
  const prefix = parsed(interfaceAddress)
  return formatPrefix({ ...prefix, bytes: networkBytes(prefix) })
}

/** The first usable address of the subnet, with its length: what a WAN router has. `203.0.113.6/30` -> `203.0.113.5/30` */
export function routerAddress(interfaceAddress: string): string {
  const prefix = parsed(interfaceAddress)
  const bytes = networkBytes(prefix)
  const last = bytes.length - 1
  bytes[last] = (bytes[last] ?? 0) | 1
  return formatPrefix({ ...prefix, bytes })
}

/** `10.1.0.1/24` -> `10.1.0.1` */
export function addressOf(interfaceAddress: string): string {
  return formatAddress(parsed(interfaceAddress).bytes)
}

export function familyOf(interfaceAddress: string): 4 | 6 {
  return parsed(interfaceAddress).family
}

/** The node's address of one family. @throws LabError when it has none */
export function addressFor(node: HostNode | ServerNode, family: 4 | 6): string {
  const found = node.addresses.find(address => familyOf(address) === family)
  if (!found) throw new LabError('input', `${node.name} has no IPv${family} address`)
  return addressOf(found)
}

/** The port of a host's edge. */
export function portOf(topology: Topology, host: HostNode): { edge: EdgeNode; port: EdgeNode['lan'][number] } {
  const [edgeName = '', portName] = host.lan.split('/')
  const edge = findNode(topology, edgeName)
  const port = edge.kind === 'edge' ? edge.lan.find(each => each.name === portName) : undefined
  if (edge.kind !== 'edge' || !port) throw new LabError('input', `${host.name}: no LAN port ${host.lan}`)
  return { edge, port }
}

function parsed(text: string): Prefix {
  const prefix = parsePrefix(text)
  if (!prefix) throw new TypeError(`not an address with a prefix length: ${text}`)
  return prefix
}

function checkReferences(topology: { enterprises: string[]; nodes: LabNode[] }, context: z.core.$RefinementCtx): void {
  const complain = (index: number, message: string) =>
    context.addIssue({ code: 'custom', path: ['nodes', index], message })
  const byName = new Map(topology.nodes.map(node => [node.name, node]))
  if (topology.nodes.filter(node => node.kind === 'orchestrator').length !== 1)
    context.addIssue({ code: 'custom', path: ['nodes'], message: 'exactly one orchestrator is needed' })
  const takenPorts = new Set<string>()
  topology.nodes.forEach((node, index) => {
    if (byName.get(node.name) !== node) complain(index, `${node.name} is used twice`)
    if (node.kind === 'edge' && !topology.enterprises.includes(node.enterprise))
      complain(index, `${node.name}: no enterprise ${node.enterprise}`)
    if (hasWan(node))
      for (const link of node.wan) {
        if (byName.get(link.to)?.kind !== 'wan') complain(index, `${node.name}: ${link.to} is no node of kind wan`)
        for (const address of link.addresses)
          if (routerAddress(address) === address)
            complain(index, `${node.name}: ${address} is the router's; take another of the subnet`)
      }
    if (node.kind === 'wan' && node.nat && node.peers.length === 0) complain(index, `${node.name}: a NAT needs a peer`)
    if (node.kind === 'wan')
      for (const { to } of node.peers)
        if (to === node.name || byName.get(to)?.kind !== 'wan')
          complain(index, `${node.name}: ${to} is no other node of kind wan`)
    if (node.kind === 'server') {
      const gateway = byName.get(node.upstream)
      if (gateway?.kind !== 'gateway' || !gateway.upstream)
        complain(index, `${node.name}: ${node.upstream} is no gateway with an upstream`)
      if (takenPorts.has(node.upstream)) complain(index, `${node.name}: ${node.upstream} has a server already`)
      takenPorts.add(node.upstream)
    }
    if (node.kind === 'host') {
      const [edgeName = '', portName] = node.lan.split('/')
      const edge = byName.get(edgeName)
      if (edge?.kind !== 'edge' || !edge.lan.some(port => port.name === portName))
        complain(index, `${node.name}: no LAN port ${node.lan}`)
      // A port is one cable; more hosts need more ports.
      if (takenPorts.has(node.lan)) complain(index, `${node.name}: ${node.lan} has a host already`)
      takenPorts.add(node.lan)
    }
  })
}
