/** The running node as `branchline status`, `routes` and `drops` show it (schema/agent-api.ts). */
import type { PeerStatus, RouteRow, Status } from '../schema/agent-api.ts'
import type { NodeReport } from '../schema/node-state.ts'
import type { Edge } from './edge/edge.ts'
import type { Uplink } from './edge/uplink.ts'
import type { Gateway } from './gateway/gateway.ts'
import type { EdgePeer } from './gateway/peers.ts'
import type { Vrf } from './gateway/vrfs.ts'
import { Slices } from './loop/slices.ts'
import { handleOf } from './mp/session.ts'
import type { Node } from './node/node.ts'
import { outerAddress } from './node/path-conf.ts'
import { carriedBy } from './node/path-sizes.ts'
import type { LiveSession } from './node/sessions.ts'
import type { PathControl } from './paths/control.ts'

export type Role = { kind: 'edge'; edge: Edge } | { kind: 'gateway'; gateway: Gateway }

export function nodeOf(role: Role): Node {
  return role.kind === 'edge' ? role.edge.node : role.gateway.node
}

export function pathsOf(role: Role): PathControl {
  return role.kind === 'edge' ? role.edge.paths : role.gateway.paths
}

/** Other work of the event loop has its turn meanwhile: a gateway has 10,000 peers, with a map to read for each. */
export async function peerRows(role: Role): Promise<PeerStatus[]> {
  const node = nodeOf(role)
  const counts = sessionCounts(node)
  const slices = new Slices()
  const rows: PeerStatus[] = []
  if (role.kind === 'edge')
    for (const uplink of role.edge.uplinks.values()) rows.push(uplinkRow(role.edge, uplink, counts))
  else
    for (const peer of role.gateway.peers.all()) {
      rows.push(edgeRow(node, peer, counts))
      if (slices.over) await slices.rest()
    }
  return rows
}

export function peerStates(role: Role): NodeReport['peers'] {
  return role.kind === 'edge'
    ? Array.from(role.edge.uplinks.values(), uplink => {
        const { node, name } = uplink.gateway
        return { node, name, state: uplink.state, inUse: role.edge.quality.status(uplink).inUse }
      })
    : Array.from(role.gateway.peers.all(), ({ node, grant, state }) => ({ node, name: grant.nodeName, state }))
}

/** Sessions by peer index. */
function sessionCounts(node: Node): ReadonlyMap<number, number> {
  const counts = new Map<number, number>()
  for (const { peer } of node.sessions.values()) counts.set(peer, (counts.get(peer) ?? 0) + 1)
  return counts
}

export function routeRows(role: Role): RouteRow[] {
  return role.kind === 'edge' ? edgeRoutes(role.edge) : gatewayRoutes(role.gateway)
}

export async function associationCount(node: Node): Promise<number> {
  if (!node.capabilities.esp) return 0
  return (await node.kernel.xfrm.associations()).filter(association => association.ifId !== 0).length
}

function uplinkRow({ node, quality }: Edge, uplink: Uplink, counts: ReadonlyMap<number, number>): PeerStatus {
  const { gateway, addresses } = uplink
  const session = node.sessions.get(uplink.sid)
  const { metric, use } = quality.status(uplink)
  return {
    node: gateway.node,
    name: gateway.name,
    role: 'gateway',
    enterprise: null,
    state: uplink.state,
    reason: uplink.reason ?? null,
    virtualAddress: addresses?.vaddrLocal ?? null,
    ...sessionFields(node, counts.get(uplink.index), session),
    rekeys: uplink.rekeys,
    metric,
    use,
  }
}

function edgeRow(node: Node, peer: EdgePeer, counts: ReadonlyMap<number, number>): PeerStatus {
  return {
    node: peer.node,
    name: peer.grant.nodeName,
    role: peer.grant.role,
    enterprise: peer.grant.enterpriseName,
    state: peer.state,
    reason: null,
    virtualAddress: peer.vaddr,
    ...sessionFields(node, counts.get(peer.index), node.sessions.get(peer.sid)),
    rekeys: peer.rekeys,
    metric: null,
    use: null,
  }
}

function sessionFields(
  node: Node,
  sessions: number | undefined,
  session: LiveSession | undefined,
): Pick<PeerStatus, 'esp' | 'sessions' | 'ageMs' | 'paths'> {
  return {
    esp: session?.esp ?? false,
    sessions: sessions ?? 0,
    ageMs: session ? node.sessions.ageMs(session) : null,
    paths: session?.paths.map(path => pathRow(node, session.sid, path)) ?? [],
  }
}

function pathRow(
  node: Node,
  sid: number,
  { path, link, ...sizes }: LiveSession['paths'][number],
): PeerStatus['paths'][number] {
  const handle = handleOf(sid, path)
  const conf = node.pathConf(handle)
  const state = node.pathState(handle)
  const address = (bytes: Uint8Array, port: number) =>
    conf
      ? conf.family === 6
        ? `[${outerAddress(6, bytes)}]:${port}`
        : `${outerAddress(4, bytes)}:${port}`
      : 'not known yet'
  return {
    path,
    link,
    local: conf ? address(conf.local, conf.localPort) : 'not known yet',
    remote: conf ? address(conf.remote, conf.remotePort) : 'not known yet',
    mtu: carriedBy(sizes),
    rttMs: state && state.rttUs > 0 ? state.rttUs / 1000 : null,
    idleMs: node.pathIdleMs(handle) ?? null,
    txPackets: Number(state?.txNumber ?? 0n),
    rxPackets: Number(state?.rxPackets ?? 0n),
    txBytes: Number(state?.txBytes ?? 0n),
    rxBytes: Number(state?.rxBytes ?? 0n),
  }
}

function edgeRoutes(edge: Edge): RouteRow[] {
  const { vpn } = edge.identity.state()
  const enterprise = vpn?.enterpriseName ?? ''
  const own: RouteRow[] = edge.lan.announced.map(subnet => ({
    enterprise,
    prefix: subnet.prefix,
    reachable: subnet.reachable,
    security: vpn?.security ?? 'esp',
    owner: edge.identity.grant().nodeName,
    via: `local ${subnet.interface}`,
    source: subnet.source,
  }))
  const learned = [...edge.table.prefixes()].flatMap((prefix): RouteRow[] => {
    const decision = edge.table.best(prefix)
    if (!decision) return []
    const via = decision.kind === 'via' ? decision.routes : []
    const route = decision.kind === 'via' ? decision.routes[0] : decision.route
    const names = via.map(({ gateway }) => edge.uplinks.get(gateway)?.gateway.name ?? gateway)
    return [
      {
        enterprise,
        prefix,
        reachable: decision.kind === 'via',
        security: route.security,
        owner: route.ownerName,
        via: names.length > 0 ? `${names.length > 1 ? 'peers' : 'peer'} ${names.join(', ')}` : 'unreachable',
        source: route.stale ? 'stale' : 'learned',
      },
    ]
  })
  return [...own, ...learned]
}

function gatewayRoutes(gateway: Gateway): RouteRow[] {
  return [...gateway.vrfs.all()].flatMap(vrf => [
    ...offeredRoutes(gateway, vrf),
    ...[...vrf.table.routes()].map((route): RouteRow => {
      const owner = vrf.members.get(route.owner)
      return {
        enterprise: vrf.name,
        prefix: route.prefix,
        reachable: route.reachable,
        security: owner?.security ?? 'esp',
        owner: owner?.name ?? route.owner,
        via: route.reachable ? `peer ${owner?.name ?? route.owner}` : 'unreachable',
        source: route.stale ? 'stale' : 'learned',
      }
    }),
  ])
}

/** The gateway's own, where no edge announces them. */
function offeredRoutes({ node, identity }: Gateway, { name, offer, table }: Vrf): RouteRow[] {
  const free = offer?.prefixes.filter(prefix => !table.get(prefix)) ?? []
  return free.map(prefix => ({
    enterprise: name,
    prefix,
    reachable: true,
    security: offer?.security ?? 'esp',
    owner: identity.grant().nodeName,
    via: `upstream ${node.config.services.upstream?.interface}, out of chains`,
    source: 'offered',
  }))
}

export type NodeStatus = Pick<Status, 'adoption' | 'kernel' | 'esp' | 'espReason'>

export function nodeStatus(node: Node): NodeStatus {
  return {
    adoption: node.dataplane.adoption,
    kernel: node.capabilities.kernel,
    esp: node.capabilities.esp,
    espReason: node.capabilities.espReason ?? null,
  }
}
