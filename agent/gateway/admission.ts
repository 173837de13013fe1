/**
 * Admission: from an authentic MP_INIT to installed sessions (seed A 0042-0043). Two halves, because the answer must name what is then installed:
 * `prepare` decides without touching the kernel, `install` puts the session in place; only then the answer leaves, so the edge's first packet finds it.
 * Between the two a worker thread makes the answer, and others are prepared: what `prepare` gives away is taken at once.
 *
 * Nothing here makes routes: MP_INIT's first message can be replayed to a gateway that lost its memory. Routes follow the route session, which proves
 * that the edge holds the keys now.
 */
import type { GrantBody, Signed } from '../../schema/grant.ts'
import type { InitPayload, RefusalCode, SessionSecrets } from '../../schema/mpinit.ts'
import { responderView } from '../mp/keys.ts'
import { traitsOf } from '../mp/link-traits.ts'
import type { AcceptPayload } from '../mp/responder.ts'
import type { SessionPath } from '../mp/session.ts'
import type { Arrival } from '../node/links.ts'
import type { Node } from '../node/node.ts'
import { pathConfOf } from '../node/path-conf.ts'
import type { PathControl } from '../paths/control.ts'
import type { AddressPool } from './address-pool.ts'
import { type EdgePeer, type EdgePeers, edgePaths } from './peers.ts'
import type { Vrfs } from './vrfs.ts'

/** What `prepare` set aside for one answer. */
export interface Admission {
  peer: EdgePeer
  /** Verified: of this edge and its key. */
  grant: GrantBody
  /** The edge was not known before: forgotten again when it never proves its keys. */
  fresh: boolean
  localSid: number
  init: InitPayload
  paths: SessionPath[]
  esp: boolean
  replaced: boolean
}

export type Decision =
  | { kind: 'admitted'; admission: Admission; payload: AcceptPayload }
  | { kind: 'refused'; code: RefusalCode; message: string }

export interface AdmissionContext {
  node: Node
  pool: AddressPool
  peers: EdgePeers
  vrfs: Vrfs
  paths: PathControl
  /** Removes an edge whose place a newer activation takes. */
  evict: (peer: EdgePeer, reason: string) => void
  /** A known edge showed this grant; it counts when it is newer. */
  renew: (peer: EdgePeer, grant: GrantBody, signed: Signed) => void
}

export function prepare(context: AdmissionContext, init: InitPayload, grant: GrantBody, arrival: Arrival): Decision {
  const { node, pool, peers } = context
  let known = peers.get(grant.node)
  const conflict = known && conflictOf(known.grant, grant)
  if (known && conflict) {
    if (grant.serial <= known.grant.serial) return { kind: 'refused', ...conflict }
    context.evict(known, 'its newer grant is of another machine or enterprise')
    known = undefined
  }
  const links = init.links.filter(
    link => link.path === init.via || node.wan.links.some(wan => wan.addresses.some(own => own.family === link.family)),
  )
  const localSid = node.sessions.newSid(links)
  const peer = localSid === undefined ? undefined : (known ?? newPeer(context, grant, init))
  if (localSid === undefined || !peer) {
    if (localSid !== undefined) node.sessions.remove(localSid)
    return { kind: 'refused', code: 'full', message: 'this gateway has no room for another edge' }
  }
  const esp = node.capabilities.esp && init.capabilities.esp
  const paths = links.map(link => {
    const mtu = Math.min(link.mtu, arrival.link.mtu)
    return {
      path: link.path,
      link: link.name,
      spiIn: esp ? node.sessions.newSpi() : 0,
      spiOut: esp ? link.spi : 0,
      mtu,
      ...traitsOf(link, 'gateway'),
      conf:
        link.path === init.via
          ? pathConfOf(arrival.socket.local, arrival.from, { ...arrival.link, mtu }, link.downMbps)
          : undefined,
    }
  })
  const replaced = init.replaces !== null && peer.sessions.has(init.replaces)
  return {
    kind: 'admitted',
    admission: { peer, grant, fresh: !known, localSid, init, paths, esp, replaced },
    payload: {
      ok: true,
      virtualAddress: peer.vaddr,
      peerAddress: pool.own,
      paths: paths.map(({ path, spiIn, mtu }) => ({ path, spi: spiIn, mtu })),
      capabilities: { esp },
      replaced,
      rekeyAfter: node.config.timers.rekeyAfterS,
    },
  }
}

/**
 * Makes the session exist in the kernel. Packets for the edge move to it at once, unless it replaces a session that the edge still uses: then when the
 * edge says so. An earlier session that the edge never proved goes: an edge that asks again has no use for the answer before.
 * @returns false, with everything taken back, when the kernel refused, or when the edge was removed or asked again meanwhile
 */
export async function install(
  context: AdmissionContext,
  admission: Admission,
  remoteSid: number,
  secrets: SessionSecrets,
): Promise<boolean> {
  const { peer, grant, localSid, init, paths, esp, replaced } = admission
  const { node, peers, pool } = context
  const { tagTx, tagRx, esp: espKey } = responderView(secrets)
  if (peers.get(peer.node) !== peer) {
    release(context, admission)
    return false
  }
  const earlier = peer.unproved
  if (earlier !== 0 && earlier !== init.replaces) {
    peers.removeSession(peer, earlier)
    node.sessions.remove(earlier)
  }
  peers.addSession(peer, localSid, secrets)
  const stands = () => peers.get(peer.node) === peer && peer.sessions.has(localSid)
  try {
    node.sessions.install({
      sid: localSid,
      remoteSid,
      peer: peer.index,
      vrf: peer.vrf?.id ?? 0,
      vaddrLocal: pool.own,
      vaddrRemote: peer.vaddr,
      policyVersion: init.policyVersion,
      tagTx,
      tagRx,
      paths,
      ...(esp ? { esp: espKey } : {}),
    })
    node.keepPathMtus(peer.sid, localSid)
    node.reconciler.want({ kind: 'vaddr', address: peer.vaddr, peer: peer.index })
    const [failure] = await node.reconciler.flush()
    if (failure) throw failure.error
  } catch (error) {
    node.log.warn(
      { err: error, node: peer.node },
      `${grant.nodeName} not admitted: ${error instanceof Error ? error.message : String(error)}`,
    )
    for (const { spiIn } of paths) node.sessions.releaseSpi(spiIn)
    node.sessions.remove(localSid)
    if (!stands()) return false
    peers.removeSession(peer, localSid)
    if (peer.sessions.size === 0) context.evict(peer, 'its session could not be made')
    await node.reconciler.flush()
    return false
  }
  if (!stands()) return false
  context.renew(peer, grant, init.grant)
  if (replaced) return true
  peer.sid = localSid
  peer.esp = esp
  peer.policyVersion = init.policyVersion
  peer.paths.use(localSid)
  await node.reconciler.flush()
  return stands()
}

/** Why an edge that is known by another grant cannot be taken for the same one. */
function conflictOf(known: GrantBody, grant: GrantBody): { code: RefusalCode; message: string } | undefined {
  if (!sameKey(known.staticKey, grant.staticKey))
    return {
      code: 'duplicate-node',
      message: `${grant.nodeName} is connected with another key and a newer grant; two machines use one identity`,
    }
  if (known.enterprise !== grant.enterprise)
    return { code: 'grant-invalid', message: `${grant.nodeName} is connected with a newer grant of another enterprise` }
  return undefined
}

function newPeer(context: AdmissionContext, grant: GrantBody, init: InitPayload): EdgePeer | undefined {
  const index = context.peers.newIndex()
  const vaddr = index === undefined ? undefined : context.pool.lend(init.virtualAddress ?? undefined)
  if (index === undefined || vaddr === undefined || grant.enterprise === null) return undefined
  const peer: EdgePeer = {
    node: grant.node,
    index,
    vaddr,
    grant,
    signedGrant: init.grant,
    esp: false,
    state: 'connecting',
    sid: 0,
    sessions: new Set(),
    unproved: 0,
    rekeys: 0,
    policyVersion: init.policyVersion,
    vrf: undefined,
    paths: edgePaths(context.paths, { index, vaddr, own: context.pool.own, peer: () => peer }),
    route: undefined,
    withheld: [],
    since: context.node.now(),
  }
  // The enterprise's VRF exists from the first connect on; the session's packets are looked up in it.
  peer.vrf = context.vrfs.join(grant.enterprise, grant.enterpriseName ?? grant.enterprise, {
    node: grant.node,
    name: grant.nodeName,
    peer: index,
    security: grant.security,
    tell: undefined,
  })
  context.peers.add(peer)
  return peer
}

function sameKey(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, index) => byte === b[index])
}

/** Takes back what `prepare` set aside: the answer could not be sent. */
export function abandon(context: AdmissionContext, admission: Admission): void {
  const { peer, fresh } = admission
  release(context, admission)
  if (!fresh || context.peers.get(peer.node) !== peer || peer.sessions.size > 0) return
  context.peers.remove(peer)
  context.paths.forget(peer.paths)
  context.pool.giveBack(peer.vaddr)
  if (peer.vrf) context.vrfs.leave(peer.vrf, peer.node)
}

function release({ node }: AdmissionContext, { localSid, paths }: Admission): void {
  node.sessions.remove(localSid)
  for (const { spiIn } of paths) node.sessions.releaseSpi(spiIn)
}
