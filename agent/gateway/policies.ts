/**
 * The policies of a gateway's enterprises, as their edges tell them: each edge the newest that it has, the gateway takes the highest. What counts is the
 * orchestrator's signature and the enterprise of the session; an edge can withhold a policy, it cannot make one.
 */
import type { Signed, TrustBundle } from '../../schema/grant.ts'
import type { NodeEvent } from '../../schema/node-state.ts'
import { NO_POLICY } from '../../schema/policy.ts'
import type { RouteMessage } from '../../schema/route-messages.ts'
import { verifyPolicy } from '../mp/policy.ts'
import { decodeSigned, encodeSigned } from '../mp/signed.ts'
import type { Runtime, RuntimeItem } from '../node/runtime.ts'
import { servicePolicyOf } from '../services/expand-policy.ts'
import type { ServicePolicy } from '../services/policy.ts'
import type { EdgePeer } from './peers.ts'
import type { Vrf, Vrfs } from './vrfs.ts'

export type PolicyMessage = Extract<RouteMessage, { type: 'policy' }>

export interface HeldPolicy {
  readonly signed: Signed
  readonly policy: ServicePolicy
}

export interface PoliciesOptions {
  vrfs: Vrfs
  trust: () => TrustBundle
  /** ms, monotonic. */
  now: () => number
  /** The VRF has another policy now. */
  changed: (vrf: Vrf, policy: ServicePolicy) => void
  /** `peer.policyVersion` is another now. */
  learned: (peer: EdgePeer) => void
  report: (event: Omit<NodeEvent, 'time'>) => void
}

/** An edge is asked for its policy at most so often: every packet says that it has a newer one. */
const ASK_MS = 1000

export class Policies {
  readonly #options: PoliciesOptions
  readonly #asked = new WeakMap<EdgePeer, number>()
  /** What was last said of an edge: it tells the same again with every route session. */
  readonly #reported = new WeakMap<EdgePeer, string>()

  constructor(options: PoliciesOptions) {
    this.#options = options
  }

  told(peer: EdgePeer, { version, document }: PolicyMessage): void {
    const { vrf } = peer
    if (!vrf) return
    const known = versionOf(vrf)
    if (version > known) {
      const problem = document ? this.#take(vrf, document, version) : `it names version ${version} and does not show it`
      if (problem !== undefined) {
        this.#refused(peer, version, problem)
        return
      }
    } else if (version < known) this.#stale(peer, version, known)
    if (peer.policyVersion === version) return
    peer.policyVersion = version
    this.#options.learned(peer)
  }

  /** Packets of the edge name a version that it has not told. */
  ahead(peer: EdgePeer, version: number): void {
    const now = this.#options.now()
    if (now - (this.#asked.get(peer) ?? Number.NEGATIVE_INFINITY) < ASK_MS) return
    this.#asked.set(peer, now)
    peer.route?.send({ type: 'policy-request', version })
  }

  /** @param version that it is said to be @returns why not */
  #take(vrf: Vrf, signed: Signed, version?: number): string | undefined {
    const verified = verifyPolicy(signed, this.#options.trust().anchors, vrf.enterprise)
    if (!verified.ok) return verified.message
    const { serial } = verified.policy
    if (version !== undefined && serial !== version) return `it is called version ${version} and is version ${serial}`
    try {
      vrf.policy = { signed, policy: servicePolicyOf(verified.policy) }
    } catch (error) {
      return error instanceof Error ? error.message : String(error)
    }
    this.#options.changed(vrf, vrf.policy.policy)
    return undefined
  }

  #refused(peer: EdgePeer, version: number, problem: string): void {
    const message = `policy ${version} from ${peer.grant.nodeName} refused: ${problem}`
    if (this.#reported.get(peer) === message) return
    this.#reported.set(peer, message)
    const detail = { node: peer.node, version }
    this.#options.report({ severity: 'warning', code: 'policy-refused', message, detail })
  }

  /** An edge that the orchestrator has not reached for a while. */
  #stale(peer: EdgePeer, version: number, known: number): void {
    const message = `${peer.grant.nodeName} has policy ${version}; ${known} stays in force`
    if (this.#reported.get(peer) === message) return
    this.#reported.set(peer, message)
    const detail = { node: peer.node, version, known }
    this.#options.report({ severity: 'info', code: 'policy-stale', message, detail })
  }

  *snapshot(): Iterable<RuntimeItem> {
    for (const { enterprise, policy } of this.#options.vrfs.all())
      if (policy) yield { policies: { enterprise, document: encodeSigned(policy.signed) } }
  }

  /** Of a former agent; of VRFs that were taken over. What does not verify any more is left out: edges tell it again. */
  adopt({ policies }: Runtime): void {
    for (const { enterprise, document } of policies) {
      const vrf = this.#options.vrfs.get(enterprise)
      const signed = decodeSigned(document)
      if (vrf && signed.ok) this.#take(vrf, signed.value)
    }
  }
}

function versionOf({ policy }: Vrf): number {
  return policy?.policy.version ?? NO_POLICY
}
