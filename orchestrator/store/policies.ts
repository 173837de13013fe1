/** Policies: each change is a new version, signed and published to the enterprise's edges in the same transaction. */
import { eq, ne } from 'drizzle-orm'
import { signPolicy } from '../../agent/mp/policy.ts'
import { encodeSigned, keyId, type SigningKey } from '../../agent/mp/signed.ts'
import { NO_POLICY, type PolicyIntent } from '../../schema/policy.ts'
import { checkPolicy, NO_INTENT, type PolicyChange } from '../compile/policy.ts'
import { OrchestratorError } from '../error.ts'
import type { Database } from './database.ts'
import { type Enterprise, findEnterprise } from './enterprises.ts'
import { bumpEnterprise } from './revision.ts'
import { enterprises, policies } from './schema.ts'
import type { Work } from './store.ts'

export interface PolicyRow extends PolicyIntent {
  enterprise: string
  version: number
  /** Connections that an older version steered are steered anew. */
  oldest: number
  /** Null: there never was one. */
  issued: Date | null
}

export async function showPolicy(db: Database, name: string): Promise<PolicyRow> {
  const enterprise = await findEnterprise(db, name)
  const [row] = await db.select().from(policies).where(eq(policies.enterprise, enterprise.id))
  if (!row) return { enterprise: name, version: NO_POLICY, oldest: NO_POLICY, issued: null, ...NO_INTENT }
  const { version, oldest, issued, intent } = row
  return { enterprise: name, version, oldest, issued, ...intent }
}

type Stored = Pick<typeof policies.$inferSelect, 'version' | 'oldest' | 'lastRule' | 'intent'>

export class Policies {
  readonly #key: SigningKey
  readonly #signer: string

  constructor(key: SigningKey) {
    this.#key = key
    this.#signer = Buffer.from(keyId(key.publicKey)).toString('hex')
  }

  /** `changed`: false when everything was as asked already. @throws OrchestratorError for what cannot be done, nothing changed */
  async change(work: Work, name: string, change: PolicyChange): Promise<{ changed: boolean; version: number }> {
    const enterprise = await findEnterprise(work.db, name)
    const [row] = await work.db.select().from(policies).where(eq(policies.enterprise, enterprise.id))
    const before: Stored = row ?? { version: NO_POLICY, oldest: NO_POLICY, lastRule: 0, intent: NO_INTENT }
    let { lastRule } = before
    const edit = change(before.intent, () => ++lastRule)
    if (!edit) return { changed: false, version: before.version }
    const version = before.version + 1
    const oldest = edit.moves ? version : before.oldest
    await this.#store(work, enterprise, { version, oldest, lastRule, intent: checkPolicy(edit.intent) })
    await work.record({
      action: edit.action,
      object: edit.object === 'policy' ? `enterprise:${name}` : edit.object,
      enterprise: name,
      message: `${name}: ${edit.message}`,
      detail: { policy: version },
    })
    return { changed: true, version }
  }

  /** Policies of a key that was replaced get a new version: gateways may not know that key for long. */
  async renew(work: Work): Promise<void> {
    const rows = await work.db
      .select({ policy: policies, enterprise: enterprises })
      .from(policies)
      .innerJoin(enterprises, eq(enterprises.id, policies.enterprise))
      .where(ne(policies.signer, this.#signer))
    for (const { policy, enterprise } of rows)
      await this.#store(work, enterprise, { ...policy, version: policy.version + 1 })
  }

  async #store(work: Work, { id, security }: Enterprise, stored: Stored): Promise<void> {
    const { version, oldest, lastRule, intent } = stored
    const issued = Math.floor(work.now.getTime() / 1000)
    const body = { version: 1 as const, enterprise: id, serial: version, oldest, issued, security, ...intent }
    const envelope = Buffer.from(this.#sign(body)).toString('base64')
    const row = { version, oldest, lastRule, intent, envelope, signer: this.#signer, issued: work.now }
    await work.db
      .insert(policies)
      .values({ enterprise: id, ...row })
      .onConflictDoUpdate({ target: policies.enterprise, set: row })
    await bumpEnterprise(work, id)
  }

  #sign(body: Parameters<typeof signPolicy>[0]): Uint8Array {
    try {
      return encodeSigned(signPolicy(body, this.#key))
    } catch (cause) {
      throw cause instanceof RangeError ? new OrchestratorError('refused', cause.message, { cause }) : cause
    }
  }
}
