/** The gateway's end of a route session: what an edge announces, asks and switches; and what the gateway tells it. */
import type { Subnet } from '../../schema/common.ts'
import type { GrantBody, Signed } from '../../schema/grant.ts'
import type { NodeEvent } from '../../schema/node-state.ts'
import { PREFIXES_PER_MESSAGE, type RouteEntry, type RouteMessage } from '../../schema/route-messages.ts'
import { Slices } from '../loop/slices.ts'
import type { RouteSession } from '../mp/route-session.ts'
import type { EdgePeer } from './peers.ts'
import type { PolicyMessage } from './policies.ts'
import type { Vrfs } from './vrfs.ts'

export interface RoutePeerContext {
  vrfs: Vrfs
  virtualAddress: string
  node: string
  /** May the grant's holder announce this prefix? */
  allowed: (grant: GrantBody, prefix: string) => boolean
  /** Checks a renewed grant; the text says why not. */
  verify: (signed: Signed) => GrantBody | string
  /** The edge moved to session `sid`: send there from now on. */
  switchTo: (peer: EdgePeer, sid: number) => Promise<void>
  policyTold: (peer: EdgePeer, message: PolicyMessage) => void
  /** What the edge found a path to carry, outer headers included; 0: it is of no use. */
  pathMtu: (peer: EdgePeer, path: number, mtu: number) => void
  report: (event: Omit<NodeEvent, 'time'>) => void
  changed: () => void
  /** What went wrong where nobody waits. */
  failed: (error: unknown) => void
}

/** First messages of the gateway after the edge's hello: itself, everything it knows of the others, and the end of that burst. */
export function welcome(context: RoutePeerContext, peer: EdgePeer): void {
  const { route, vrf } = peer
  if (!route || !vrf) return
  route.send({ type: 'hello', node: context.node, virtualAddress: context.virtualAddress, version: 1 })
  const member = vrf.members.get(peer.node)
  if (member) member.tell = message => route.send(message)
  tellAll(context.vrfs.routesFor(vrf, peer.node), route).catch(context.failed)
}

/** Piece by piece, as the connection takes it. Changes are told meanwhile: each piece says how its routes are when it leaves. */
async function tellAll(all: Iterable<RouteEntry>, route: RouteSession): Promise<void> {
  const slices = new Slices()
  let full = true
  let routes: RouteEntry[] = []
  for (const entry of all) {
    if (routes.push(entry) < PREFIXES_PER_MESSAGE) continue
    const room = route.send({ type: 'routes', full, routes })
    full = false
    routes = []
    if (!room) await route.drained()
    if (slices.over) await slices.rest()
    if (route.closed) return
  }
  route.send({ type: 'routes', full, routes })
  route.send({ type: 'end-of-rib' })
}

/** What the edge announced and this gateway took. */
export function subnetsOf({ vrf, node }: EdgePeer): Subnet[] {
  return vrf ? Array.from(vrf.table.ownedBy(node), ({ prefix, reachable }) => ({ prefix, reachable })) : []
}

export async function receive(context: RoutePeerContext, peer: EdgePeer, message: RouteMessage): Promise<void> {
  const { vrfs } = context
  const { vrf, route } = peer
  if (!vrf || !route) return
  switch (message.type) {
    case 'announce': {
      const taken = message.subnets.filter(({ prefix }) => {
        if (context.allowed(peer.grant, prefix)) return true
        refuse(
          context,
          peer,
          prefix,
          'outside-grant',
          `${prefix} is outside what ${peer.grant.nodeName} may announce (${peer.grant.prefixes.join(', ')})`,
        )
        return false
      })
      const named = message.subnets.map(({ prefix }) => prefix)
      peer.withheld = message.full ? [] : without(peer.withheld, named)
      for (const refusal of vrfs.announce(vrf, peer.node, taken, message.full))
        refuse(context, peer, refusal.prefix, refusal.code, refusal.message)
      context.changed()
      return
    }
    case 'withdraw':
      peer.withheld = without(peer.withheld, message.prefixes)
      vrfs.withdrawn(vrf, vrf.table.withdraw(peer.node, message.prefixes))
      context.changed()
      return
    case 'end-of-rib':
      vrfs.withdrawn(vrf, vrf.table.sweepStale(peer.node))
      return
    case 'switch':
      // The session has changed its keys and answered already; packets follow.
      await context.switchTo(peer, message.sid)
      return
    case 'grant': {
      const verified = context.verify(message.grant)
      const problem = typeof verified === 'string' ? verified : misfit(peer, verified)
      if (problem !== undefined)
        context.report({
          severity: 'warning',
          code: 'grant-refused',
          message: `renewed grant of ${peer.grant.nodeName} refused: ${problem}`,
        })
      else if (typeof verified !== 'string') renewGrant(context, peer, verified, message.grant)
      return
    }
    case 'path-mtu':
      for (const { path, mtu } of message.paths) context.pathMtu(peer, path, mtu)
      return
    case 'policy':
      context.policyTold(peer, message)
      return
    default:
      // hello is checked where the session starts; ping and pong are the session's own; the rest is what gateways send.
      return
  }
}

function without(subnets: readonly Subnet[], prefixes: readonly string[]): readonly Subnet[] {
  if (subnets.length === 0) return subnets
  const named = new Set(prefixes)
  return subnets.filter(({ prefix }) => !named.has(prefix))
}

/** A grant for another key or enterprise needs a new handshake, which makes a new peer of the edge. */
function misfit(peer: EdgePeer, grant: GrantBody): string | undefined {
  if (grant.node !== peer.node) return 'it is another node’s'
  if (!Buffer.from(grant.staticKey).equals(peer.grant.staticKey)) return 'it is for another key'
  if (grant.enterprise !== peer.grant.enterprise) return 'it is of another enterprise'
  return undefined
}

/** A newer grant takes effect, whichever way it came: what it does not cover any more is withdrawn. An older one changes nothing. */
export function renewGrant(context: RoutePeerContext, peer: EdgePeer, grant: GrantBody, signed: Signed): void {
  const { vrf } = peer
  if (!vrf || grant.serial <= peer.grant.serial) return
  peer.grant = grant
  peer.signedGrant = signed
  const member = vrf.members.get(peer.node)
  if (member) Object.assign(member, { security: grant.security, name: grant.nodeName })
  const outside = [...subnetsOf(peer), ...vrf.table.waitingOf(peer.node), ...peer.withheld]
    .map(({ prefix }) => prefix)
    .filter(prefix => !context.allowed(grant, prefix))
  for (const prefix of outside)
    refuse(context, peer, prefix, 'outside-grant', `${prefix} is no longer granted to ${grant.nodeName}`)
  peer.withheld = without(peer.withheld, outside)
  context.vrfs.withdrawn(vrf, vrf.table.withdraw(peer.node, outside))
  context.vrfs.changed(
    vrf,
    Array.from(vrf.table.ownedBy(peer.node), owned => owned.prefix),
  )
  context.changed()
}

/** Tells the edge and the operator. */
export function refuse(
  context: RoutePeerContext,
  peer: EdgePeer,
  prefix: string,
  code: 'outside-grant' | 'overlap' | 'full',
  message: string,
): void {
  peer.route?.send({ type: 'refused', prefix, code, message })
  context.report({
    severity: 'warning',
    code: 'prefix-refused',
    message,
    detail: { prefix, node: peer.node, reason: code },
  })
}
