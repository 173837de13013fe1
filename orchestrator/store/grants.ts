/** Grants and their revocation: what the database knows of nodes, signed. */
import { and, asc, eq, gt, inArray, isNull, lt, max, ne, sql } from 'drizzle-orm'
import { signGrant, signRevocations } from '../../agent/mp/grant.ts'
import type { SigningKey } from '../../agent/mp/signed.ts'
import { encodeSigned, keyId } from '../../agent/mp/signed.ts'
import { CLOCK_TOLERANCE } from '../../schema/grant.ts'
import { bumpAll } from './revision.ts'
import { enterprises, grants, nodes, revocationLists, revocations, signingKeys, subnets } from './schema.ts'
import type { Work } from './store.ts'
import { virtualPool } from './virtual-pool.ts'

export class Grants {
  readonly #key: SigningKey
  readonly #lifetimeMs: number

  /** @param lifetimeS how long a grant is good for; it is renewed at half of that */
  constructor(key: SigningKey, lifetimeS: number) {
    this.#key = key
    this.#lifetimeMs = lifetimeS * 1000
  }

  /** Makes this orchestrator's key an anchor of every node. */
  async anchor(work: Work): Promise<void> {
    const id = Buffer.from(keyId(this.#key.publicKey)).toString('hex')
    const added = await work.db
      .insert(signingKeys)
      .values({ id, publicKey: this.#key.publicKey, created: work.now })
      .onConflictDoNothing()
      .returning({ id: signingKeys.id })
    if (added.length === 0) return
    await work.record({ action: 'key.anchor', object: `key:${id}`, message: `grants are signed with key ${id}` })
    await bumpAll(work)
  }

  /** A new grant for each of these nodes that is active, and with it a new state. */
  async issue(work: Work, ids: readonly string[]): Promise<void> {
    if (ids.length === 0) return
    const rows = await work.db
      .select({ node: nodes, enterpriseName: enterprises.name, security: enterprises.security })
      .from(nodes)
      .leftJoin(enterprises, eq(enterprises.id, nodes.enterprise))
      .where(and(inArray(nodes.id, [...ids]), eq(nodes.status, 'active')))
    if (rows.length === 0) return
    const active = rows.map(row => row.node.id)
    const owned = Map.groupBy(
      await work.db
        .select({ node: subnets.node, prefix: subnets.prefix })
        .from(subnets)
        .where(inArray(subnets.node, active))
        .orderBy(asc(subnets.prefix)),
      row => row.node,
    )
    const issued = work.now.getTime()
    const expires = new Date(issued + this.#lifetimeMs)
    const signed = rows.flatMap(({ node, enterpriseName, security }) => {
      if (!node.staticKey) return []
      const body = {
        version: 1 as const,
        enterprise: node.enterprise,
        enterpriseName,
        node: node.id,
        nodeName: node.name,
        role: node.role,
        staticKey: node.staticKey,
        prefixes:
          node.virtualPool === null
            ? (owned.get(node.id)?.map(row => row.prefix) ?? [])
            : [virtualPool(node.virtualPool)],
        security: security ?? 'esp',
        serial: node.grantSerial + 1,
        notBefore: Math.floor(issued / 1000),
        expires: Math.floor(expires.getTime() / 1000),
      }
      return [
        {
          node: node.id,
          serial: body.serial,
          envelope: base64(encodeSigned(signGrant(body, this.#key))),
          issued: work.now,
          expires,
        },
      ]
    })
    await work.db.insert(grants).values(signed)
    await work.db
      .update(nodes)
      .set({ grantSerial: sql`${nodes.grantSerial} + 1`, revision: sql`${nodes.revision} + 1` })
      .where(inArray(nodes.id, active))
    if (active.length > 16) await work.changed({ scope: 'all' })
    else for (const node of active) await work.changed({ scope: 'node', node })
  }

  /**
   * Renews grants of which half of the life is over, oldest first, and forgets those that expired long ago.
   * @returns how many were renewed; `limit` means that there may be more
   */
  async renew(work: Work, limit: number): Promise<number> {
    const due = await work.db
      .select({ id: nodes.id })
      .from(nodes)
      .innerJoin(grants, and(eq(grants.node, nodes.id), eq(grants.serial, nodes.grantSerial)))
      .where(
        and(
          eq(nodes.status, 'active'),
          sql`${grants.issued} + (${grants.expires} - ${grants.issued}) / 2 <= ${work.now.toISOString()}::timestamptz`,
        ),
      )
      .orderBy(asc(grants.expires))
      .limit(limit)
    await this.issue(
      work,
      due.map(row => row.id),
    )
    if (due.length > 0) await this.#forget(work)
    return due.length
  }

  async #forget(work: Work): Promise<void> {
    const old = new Date(work.now.getTime() - 7 * 86_400_000)
    const superseded = sql`exists (select from nodes n where n.id = grants.node_id and n.grant_serial > grants.serial)`
    await work.db.delete(grants).where(and(lt(grants.expires, old), superseded))
  }

  /** From now on every grant of the node so far is refused, by every node that has heard of it. */
  async revoke(work: Work, node: { id: string; grantSerial: number }): Promise<void> {
    if (node.grantSerial === 0) return
    await work.db
      .update(grants)
      .set({ revoked: work.now })
      .where(and(eq(grants.node, node.id), isNull(grants.revoked)))
    const [last] = await work.db
      .select({ expires: max(grants.expires) })
      .from(grants)
      .where(eq(grants.node, node.id))
    const row = { upTo: node.grantSerial, expires: last?.expires ?? work.now, created: work.now }
    await work.db
      .insert(revocations)
      .values({ node: node.id, ...row })
      .onConflictDoUpdate({ target: revocations.node, set: row })
    await this.#publishRevocations(work)
  }

  async #publishRevocations(work: Work): Promise<void> {
    const cut = new Date(work.now.getTime() - CLOCK_TOLERANCE * 1000)
    await work.db.delete(revocations).where(lt(revocations.expires, cut))
    const revoked = await work.db
      .select({ node: revocations.node, upTo: revocations.upTo })
      .from(revocations)
      .where(gt(revocations.expires, cut))
      .orderBy(asc(revocations.node))
    const [newest] = await work.db.select({ serial: max(revocationLists.serial) }).from(revocationLists)
    const serial = (newest?.serial ?? 0) + 1
    const body = { version: 1 as const, serial, issued: Math.floor(work.now.getTime() / 1000), revoked }
    const envelope = base64(encodeSigned(signRevocations(body, this.#key)))
    await work.db.insert(revocationLists).values({ serial, envelope, issued: work.now })
    await work.db.delete(revocationLists).where(ne(revocationLists.serial, serial))
    await bumpAll(work)
  }
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('base64')
}
