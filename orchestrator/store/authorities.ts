import { eq } from 'drizzle-orm'
import { OrchestratorError } from '../error.ts'
import type { Authority } from '../pki/authority.ts'
import { authorities } from './schema.ts'
import type { Work } from './store.ts'

/**
 * The first orchestrator on a database leaves its CA there; later ones must have the same, or half of the nodes could not connect.
 * @throws OrchestratorError `setup`
 */
export async function adoptAuthority(work: Work, authority: Authority): Promise<void> {
  const fingerprint = Buffer.from(authority.fingerprint).toString('hex')
  const [own] = await work.db.select().from(authorities).where(eq(authorities.fingerprint, fingerprint))
  if (own) return
  const [other] = await work.db.select().from(authorities).limit(1)
  if (other) {
    throw new OrchestratorError(
      'setup',
      `this database belongs to the orchestrator with CA ${other.fingerprint.slice(0, 16)}, this data directory has ${fingerprint.slice(0, 16)}; copy its ca, grant and settings files here`,
    )
  }
  await work.db.insert(authorities).values({ fingerprint, certificate: authority.certificate, created: work.now })
}
