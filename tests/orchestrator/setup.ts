/** What the cases share: one orchestrator, an admin, and how to look into what nodes are told. */
import { verifyGrant, verifyRevocations } from '../../agent/mp/grant.ts'
import { decodeSigned } from '../../agent/mp/signed.ts'
import type { GrantBody, RevocationsBody, Signed } from '../../schema/grant.ts'
import type { NodeState } from '../../schema/node-state.ts'
import type { Bench, Client } from './harness.ts'

export interface Setup {
  /** For people: which database it stands on. */
  readonly database: string
  readonly bench: Bench
  readonly admin: Client['admin']
  /** Creates and activates an edge; its directory is `bench.stateDir(name)`. */
  edge(enterprise: string, name: string, subnets: string[]): Promise<{ id: string; state: NodeState }>
}

/** The grant, verified as every other node would. */
export function grantOf(state: NodeState): GrantBody {
  const result = verifyGrant(
    signedOf(state.grant),
    { anchors: anchorsOf(state), revocations: undefined },
    { now: Date.now() / 1000 },
  )
  if (!result.ok) throw new Error(result.message)
  return result.grant
}

export function revokedIn(state: NodeState): RevocationsBody['revoked'] {
  const result = verifyRevocations(signedOf(state.trust.revocations ?? ''), anchorsOf(state))
  if (!result.ok) throw new Error(result.message)
  return result.revocations.revoked
}

function anchorsOf(state: NodeState): Uint8Array[] {
  return state.trust.anchors.map(text => new Uint8Array(Buffer.from(text, 'base64')))
}

function signedOf(text: string): Signed {
  const signed = decodeSigned(Buffer.from(text, 'base64'))
  if (!signed.ok) throw new Error(signed.problem)
  return signed.value
}
