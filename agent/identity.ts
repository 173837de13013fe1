/** Who this node is: its static key, and the newest state that the orchestrator published, decoded once. */
import { parsePrefix, prefixContains } from '../schema/address.ts'
import type { GrantBody, Signed, TrustBundle } from '../schema/grant.ts'
import type { NodeState } from '../schema/node-state.ts'
import { NO_POLICY } from '../schema/policy.ts'
import type { KeyPair } from './mp/dh.ts'
import { verifyGrant } from './mp/grant.ts'
import { verifyPolicy } from './mp/policy.ts'
import { decodeSigned } from './mp/signed.ts'
import { VIRTUAL_RANGE } from './node/devices.ts'

export class Identity {
  readonly node: string
  readonly staticKey: KeyPair
  #state: NodeState
  #decoded: Decoded

  /** @throws Error in one line when the state's grant cannot be read or is not for this key */
  constructor(staticKey: KeyPair, state: NodeState) {
    this.node = state.node
    this.staticKey = staticKey
    this.#decoded = decodeState(staticKey, state)
    this.#state = state
  }

  /** A newer revision; what cannot be used leaves the old one in force and throws. */
  update(state: NodeState): void {
    this.#decoded = decodeState(this.staticKey, state)
    this.#state = state
  }

  readonly state = (): NodeState => this.#state
  readonly signedGrant = (): Signed => this.#decoded.signed
  readonly grant = (): GrantBody => this.#decoded.grant
  readonly trust = (): TrustBundle => this.#decoded.trust
  /** The enterprise's, as gateways are told it; undefined while it never had one. */
  readonly signedPolicy = (): Signed | undefined => this.#decoded.policy?.signed
  readonly policyVersion = (): number => this.#decoded.policy?.serial ?? NO_POLICY

  /** A gateway's part of the virtual range. Throws an Error in one line when its grant names none. */
  virtualPool(): string {
    const range = parsePrefix(VIRTUAL_RANGE)
    const pool = this.#decoded.grant.prefixes.find(text => {
      const prefix = parsePrefix(text)
      return range && prefix && prefixContains(range, prefix)
    })
    if (pool === undefined)
      throw new Error(
        `the grant of ${this.#decoded.grant.nodeName} names no part of ${VIRTUAL_RANGE} to lend addresses from`,
      )
    return pool
  }
}

interface Decoded {
  signed: Signed
  grant: GrantBody
  trust: TrustBundle
  policy: { signed: Signed; serial: number } | undefined
}

function decodeState(staticKey: KeyPair, state: NodeState): Decoded {
  const signed = signedOf(state.grant, 'grant')
  const trust: TrustBundle = {
    anchors: state.trust.anchors.map(anchor => Buffer.from(anchor, 'base64')),
    revocations:
      state.trust.revocations === null ? undefined : signedOf(state.trust.revocations, 'list of revocations'),
  }
  // A node keeps working on an expired grant as far as others let it; what it must not do is take a forged one for its own.
  const verified = verifyGrant(
    signed,
    { ...trust, revocations: undefined },
    { now: Date.now() / 1000, tolerance: Number.MAX_SAFE_INTEGER },
  )
  if (!verified.ok) throw new Error(`the orchestrator's state cannot be used: ${verified.message}`)
  if (!Buffer.from(verified.grant.staticKey).equals(staticKey.publicKey.raw))
    throw new Error(
      `the grant of ${verified.grant.nodeName} is for another key than this node has; activate the node again`,
    )
  return { signed, grant: verified.grant, trust, policy: policyOf(state, trust, verified.grant) }
}

function policyOf({ policy }: NodeState, trust: TrustBundle, { enterprise }: GrantBody): Decoded['policy'] {
  if (policy === null || enterprise === null) return undefined
  const signed = signedOf(policy, 'policy')
  const verified = verifyPolicy(signed, trust.anchors, enterprise)
  if (!verified.ok) throw new Error(`the orchestrator's state cannot be used: ${verified.message}`)
  return { signed, serial: verified.policy.serial }
}

function signedOf(text: string, what: string): Signed {
  const decoded = decodeSigned(Buffer.from(text, 'base64'))
  if (!decoded.ok) throw new Error(`the orchestrator's ${what} cannot be read: ${decoded.problem}`)
  return decoded.value
}
