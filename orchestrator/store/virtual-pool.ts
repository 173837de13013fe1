/**
 * Every gateway lends virtual addresses (DESIGN §3) from a part of 100.64.0.0/10 of its own, named in its grant: an edge may have tunnels with any
 * two gateways of this orchestrator without two peers of one address.
 */
import { asc, isNotNull } from 'drizzle-orm'
import { OrchestratorError } from '../error.ts'
import { nodes } from './schema.ts'
import type { Work } from './store.ts'

/** 16,384 addresses each: an edge takes one. */
const POOL_LENGTH = 18
const POOLS = 2 ** (POOL_LENGTH - 10)

/** @returns the CIDR of a pool, 0 to 255 */
export function virtualPool(index: number): string {
  return `100.${64 + (index >> 2)}.${(index & 3) << 6}.0/${POOL_LENGTH}`
}

/** The lowest pool that no gateway has. Changes run one after the other, so it is still free when the caller's transaction ends. */
export async function freeVirtualPool(work: Work): Promise<number> {
  const taken = await work.db
    .select({ pool: nodes.virtualPool })
    .from(nodes)
    .where(isNotNull(nodes.virtualPool))
    .orderBy(asc(nodes.virtualPool))
  const used = new Set(taken.map(row => row.pool))
  for (let index = 0; index < POOLS; index++) if (!used.has(index)) return index
  throw new OrchestratorError('refused', `an orchestrator has at most ${POOLS} gateways; delete one that is out of use`)
}
