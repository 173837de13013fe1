/** Constraint violations as errors for people. The names are those in schema.ts and migrations/. */
import { OrchestratorError } from '../error.ts'

/** PostgreSQL, appendix A: error codes. */
const UNIQUE_VIOLATION = '23505'
const EXCLUSION_VIOLATION = '23P01'

const TEXTS: Readonly<Record<string, string>> = {
  enterprise_name: 'an enterprise with this name exists already; choose another name',
  enterprises_pkey: 'an enterprise with this id exists already',
  node_name: 'a node with this name exists already; choose another name',
  nodes_pkey: 'a node with this id exists already',
  node_static_key: 'another node uses this static key already; every node makes its own keys',
  gateway_endpoint: 'another gateway has this endpoint already',
  subnets_pkey: 'this prefix has an owner already',
}

/** Anything but a known violation comes back as it is. */
export function translate(error: unknown): unknown {
  const violation = violationOf(error)
  if (!violation) return error
  if (violation.code === EXCLUSION_VIOLATION) {
    return new OrchestratorError(
      'overlap',
      'the prefix overlaps one that was added at the same moment; list the subnets and try again',
      {
        cause: error,
      },
    )
  }
  const text = TEXTS[violation.constraint]
  return text ? new OrchestratorError('exists', text, { cause: error }) : error
}

export function isOverlap(error: unknown): boolean {
  return violationOf(error)?.code === EXCLUSION_VIOLATION
}

/** Both drivers put `code` and `constraint` on the error, and drizzle wraps that. */
function violationOf(error: unknown): { code: string; constraint: string } | undefined {
  for (let at: unknown = error, depth = 0; at instanceof Error && depth < 5; at = at.cause, depth++) {
    if (!('code' in at) || (at.code !== UNIQUE_VIOLATION && at.code !== EXCLUSION_VIOLATION)) continue
    return { code: at.code, constraint: 'constraint' in at ? String(at.constraint) : '' }
  }
  return undefined
}
