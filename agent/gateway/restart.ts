/** What a gateway's agent remembers for its successor, and how the successor takes over: the same indexes, sessions and routes, no packet lost. */
import type { TrustBundle } from '../../schema/grant.ts'
import { NO_POLICY } from '../../schema/policy.ts'
import { verifyGrant } from '../mp/grant.ts'
import { decodeSigned, encodeSigned } from '../mp/signed.ts'
import type { TimestampTable } from '../mp/timestamp.ts'
import type { Node } from '../node/node.ts'
import type { Runtime, RuntimeItem } from '../node/runtime.ts'
import type { PathControl } from '../paths/control.ts'
import type { AddressPool } from './address-pool.ts'
import { type EdgePeer, type EdgePeers, edgePaths } from './peers.ts'
import { subnetsOf } from './route-peer.ts'
import type { Vrfs } from './vrfs.ts'

/** @param own virtual address */
export function* snapshotPeers(
  peers: EdgePeers,
  vrfs: Vrfs,
  own: string,
  timestamps: TimestampTable,
): Iterable<RuntimeItem> {
  for (const { id, enterprise, name } of vrfs.all()) yield { vrfs: { id, enterprise, name } }
  for (const peer of peers.all())
    yield {
      peers: {
        index: peer.index,
        node: peer.node,
        name: peer.grant.nodeName,
        role: peer.grant.role,
        enterprise: peer.grant.enterprise,
        grant: peer.signedGrant ? encodeSigned(peer.signedGrant) : null,
        vaddrLocal: own,
        vaddrRemote: peer.vaddr,
        esp: peer.esp,
        sid: peer.sid,
        rekeys: peer.rekeys,
        subnets: [...peer.withheld, ...subnetsOf(peer)],
      },
    }
  const { floor, newest } = timestamps.export()
  yield { floor }
  for (const entry of newest) yield { newest: entry }
}

/**
 * Edges whose grant still counts and whose session is whole in the kernel are taken over as `stale`: their routes stay until they announce again
 * or the stale time ends. All others are left to the sweep.
 */
export function adoptPeers(
  former: Runtime,
  context: {
    node: Node
    peers: EdgePeers
    vrfs: Vrfs
    pool: AddressPool
    paths: PathControl
    timestamps: TimestampTable
    trust: () => TrustBundle
  },
): void {
  const { node, peers, vrfs, pool } = context
  context.timestamps.import(former.timestamps)
  const vrfIds = new Map(former.vrfs.map(vrf => [vrf.enterprise, vrf]))
  for (const saved of former.peers) {
    const signed = saved.grant && decodeSigned(saved.grant)
    if (!signed?.ok || saved.enterprise === null || saved.vaddrLocal !== pool.own) continue
    const verified = verifyGrant(signed.value, context.trust(), { now: Date.now() / 1000 })
    const session = former.sessions.find(({ sid }) => sid === saved.sid)
    const vrfId = vrfIds.get(saved.enterprise)
    if (!verified.ok || !session || !vrfId || pool.lend(saved.vaddrRemote) !== saved.vaddrRemote) continue
    if (!node.sessions.adopt(session)) {
      pool.giveBack(saved.vaddrRemote)
      continue
    }
    const { grant } = verified
    const peer: EdgePeer = {
      node: saved.node,
      index: saved.index,
      vaddr: saved.vaddrRemote,
      grant,
      signedGrant: signed.value,
      esp: saved.esp,
      state: 'stale',
      sid: saved.sid,
      sessions: new Set([saved.sid]),
      unproved: 0,
      rekeys: saved.rekeys,
      policyVersion: policyVersionOf(node, saved.sid),
      vrf: undefined,
      paths: edgePaths(context.paths, {
        index: saved.index,
        vaddr: saved.vaddrRemote,
        own: pool.own,
        peer: () => peer,
      }),
      route: undefined,
      withheld: [],
      since: node.now(),
    }
    if (!vrfs.get(saved.enterprise)) vrfs.restore(vrfId.id, saved.enterprise, vrfId.name)
    peer.vrf = vrfs.join(saved.enterprise, vrfId.name, {
      node: saved.node,
      name: grant.nodeName,
      peer: saved.index,
      security: grant.security,
      tell: undefined,
    })
    peers.add(peer)
    node.reconciler.want({ kind: 'vaddr', address: peer.vaddr, peer: peer.index })
    peer.paths.use(peer.sid)
    vrfs.announce(peer.vrf, peer.node, saved.subnets, true)
    peer.vrf.table.markStale(peer.node)
  }
}

/** What the former agent was told. */
function policyVersionOf(node: Node, sid: number): number {
  const session = node.reconciler.desired(`session ${sid}`)
  return session?.kind === 'session' ? session.value.policyVersion : NO_POLICY
}
