/** A gateway's answer as a session in the kernel: with the virtual addresses that it brings, and without a trace when it cannot be made. */
import type { SessionSecrets } from '../../schema/mpinit.ts'
import type { Offer } from './handshake.ts'
import { type Accepted, sessionSpec } from './session-spec.ts'
import type { UplinkContext } from './uplink-context.ts'

/** What the uplink knows of its gateway's end; survives the session, and the agent by the snapshot. */
export interface UplinkAddresses {
  vaddrLocal: string
  vaddrRemote: string
}

export interface Answer {
  offer: Offer
  remoteSid: number
  payload: Accepted
  secrets: SessionSecrets
}

export function addressesOf({ virtualAddress, peerAddress }: Accepted): UplinkAddresses {
  return { vaddrLocal: virtualAddress, vaddrRemote: peerAddress }
}

/** @param index of the gateway in the peers map. @throws what the kernel refused; the session is taken back, its addresses are the caller's to drop */
export async function installSession(context: UplinkContext, index: number, answer: Answer): Promise<void> {
  const { node } = context
  const { offer, remoteSid, payload, secrets } = answer
  const { vaddrLocal, vaddrRemote } = addressesOf(payload)
  try {
    const own = { peer: index, esp: node.capabilities.esp, policyVersion: context.policyVersion() }
    const spec = sessionSpec(offer, remoteSid, payload, secrets, own)
    for (const [path, spi] of offer.spis)
      if (!spec.paths.some(accepted => accepted.path === path)) node.sessions.releaseSpi(spi)
    node.sessions.install(spec)
    node.reconciler.want({
      kind: 'address',
      value: { ifindex: node.devices.mp0.ifindex, address: vaddrLocal, prefixLength: 32 },
    })
    node.reconciler.want({ kind: 'vaddr', address: vaddrRemote, peer: index })
    node.wantNodeConfig(vaddrLocal)
    const [failure] = await node.reconciler.flush()
    if (failure) throw failure.error
  } catch (error) {
    node.sessions.remove(offer.sid)
    throw error
  }
}

/** Those of `addresses` that are not among the `kept` go. The caller flushes. */
export function dropAddresses(
  { node, prober }: UplinkContext,
  { vaddrLocal, vaddrRemote }: UplinkAddresses,
  kept: UplinkAddresses | undefined,
): void {
  if (vaddrLocal !== kept?.vaddrLocal) {
    prober.release(vaddrLocal)
    node.reconciler.drop(`address ${node.devices.mp0.ifindex} ${vaddrLocal}/32`)
  }
  if (vaddrRemote !== kept?.vaddrRemote) node.reconciler.drop(`vaddr ${vaddrRemote}`)
}
