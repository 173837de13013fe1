/** From what an edge offered and its gateway accepted to the session that both install. */
import type { ResponsePayload, SessionSecrets } from '../../schema/mpinit.ts'
import { traitsOf } from '../mp/link-traits.ts'
import type { SessionPath, SessionSpec } from '../mp/session.ts'
import { pathConfOf } from '../node/path-conf.ts'
import type { Offer } from './handshake.ts'
import { EDGE_VRF } from './lan.ts'

export type Accepted = Extract<ResponsePayload, { ok: true }>

/** @param own index of the gateway in the peers map, what this node can do, and the policy version in use */
export function sessionSpec(
  offer: Offer,
  remoteSid: number,
  payload: Accepted,
  secrets: SessionSecrets,
  own: { peer: number; esp: boolean; policyVersion: number },
): SessionSpec {
  const paths = offer.paths.flatMap(({ path, link, local, remote }): SessionPath[] => {
    const accepted = payload.paths.find(candidate => candidate.path === path)
    if (!accepted) return []
    const mtu = Math.min(link.mtu, accepted.mtu)
    const conf = pathConfOf(local, remote, { ...link, mtu })
    const spis = { spiIn: offer.spis.get(path) ?? 0, spiOut: accepted.spi }
    return [{ path, link: link.name, ...spis, mtu, ...traitsOf(link, 'edge'), conf }]
  })
  return {
    sid: offer.sid,
    remoteSid,
    peer: own.peer,
    vrf: EDGE_VRF,
    vaddrLocal: payload.virtualAddress,
    vaddrRemote: payload.peerAddress,
    policyVersion: own.policyVersion,
    tagTx: secrets.tagTx,
    tagRx: secrets.tagRx,
    paths,
    ...(own.esp && payload.capabilities.esp ? { esp: secrets.esp } : {}),
  }
}
