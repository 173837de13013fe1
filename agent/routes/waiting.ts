/** Prefixes that a gateway refused because another edge has an overlapping one: taken as soon as that one goes, first come first served. */
import type { Subnet } from '../../schema/common.ts'

/** Per owner; more are refused for good, so that nobody can make the gateway remember without end. */
const LIMIT = 1024

export class Waiting {
  readonly #byOwner = new Map<string, Map<string, Subnet>>()

  add(owner: string, subnet: Subnet): void {
    const known = this.#byOwner.get(owner)
    const subnets = known ?? new Map<string, Subnet>()
    if (!known) this.#byOwner.set(owner, subnets)
    if (subnets.size < LIMIT || subnets.has(subnet.prefix)) subnets.set(subnet.prefix, subnet)
  }

  remove(owner: string, prefix: string): void {
    const subnets = this.#byOwner.get(owner)
    if (subnets?.delete(prefix) && subnets.size === 0) this.#byOwner.delete(owner)
  }

  forget(owner: string): void {
    this.#byOwner.delete(owner)
  }

  of(owner: string): Subnet[] {
    return [...(this.#byOwner.get(owner)?.values() ?? [])]
  }

  /** May be removed from while it runs. */
  *all(): Iterable<{ owner: string; subnet: Subnet }> {
    for (const [owner, subnets] of this.#byOwner) for (const subnet of subnets.values()) yield { owner, subnet }
  }
}
