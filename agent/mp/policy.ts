/** Signed policies (schema/policy.ts): made by the orchestrator, checked by edges, which pass them on, and by gateways, which act on them. */
import type { Signed } from '../../schema/grant.ts'
import { MAX_POLICY_BYTES, POLICY_CONTEXT, type PolicyBody, policyBodySchema } from '../../schema/policy.ts'
import { openBody, type SigningKey, signBody } from './signed.ts'

/** @throws ZodError on a body that nobody would accept, RangeError on one that is too large */
export function signPolicy(body: PolicyBody, key: SigningKey): Signed {
  const signed = signBody(POLICY_CONTEXT, policyBodySchema.parse(body), key)
  if (signed.body.length > MAX_POLICY_BYTES)
    throw new RangeError(
      `the policy takes ${signed.body.length} bytes, ${MAX_POLICY_BYTES} at most; join prefixes or rules`,
    )
  return signed
}

export type PolicyResult = { ok: true; policy: PolicyBody } | { ok: false; message: string }

/** @param enterprise whose policy it must be */
export function verifyPolicy(signed: Signed, anchors: readonly Uint8Array[], enterprise: string): PolicyResult {
  if (signed.body.length > MAX_POLICY_BYTES)
    return {
      ok: false,
      message: `the policy takes ${signed.body.length} bytes, more than the ${MAX_POLICY_BYTES} that any may`,
    }
  const opened = openBody(POLICY_CONTEXT, signed, anchors, policyBodySchema)
  if (!opened.ok) return { ok: false, message: `the policy ${opened.problem}` }
  if (opened.value.enterprise !== enterprise) return { ok: false, message: 'the policy is another enterprise’s' }
  return { ok: true, policy: opened.value }
}
