/**
 * The chains of all enterprises and their numbers: service path id, and for each hop a pool and a stage. A chain is its name and its functions in order:
 * one that people change is another chain, and connections of the old one go through the old one's adapters until they end.
 */
import { ABI_CHAIN_HOPS, ABI_MAX_CHAINS, ABI_MAX_POOLS, ABI_MAX_STAGES } from '../../schema/abi.gen.ts'
import { Numbers } from './numbers.ts'
import type { ServiceChain, ServicePolicy } from './policy.ts'

export interface Hop {
  function: string
  failOpen: boolean
  pool: number
  /** Of the VRF. */
  stage: number
}

export interface Chain {
  /** Enterprise, name and functions. */
  key: string
  id: number
  vrf: number
  enterprise: string
  name: string
  secure: boolean
  hops: Hop[]
  /** ms; no rule names it since. */
  retiredMs: number | undefined
}

/** What rules lead to whose chain could not be had: nothing is there, so it is dropped rather than let through. */
export const NOWHERE = ABI_MAX_CHAINS - 1

export interface Tenant {
  vrf: number
  enterprise: string
  policy: ServicePolicy
}

export class Chains {
  readonly #chains = new Map<string, Chain>()
  readonly #ids = new Numbers('service paths', 1, NOWHERE - 1)
  readonly #pools = new Numbers('pools', 1, ABI_MAX_POOLS - 1)
  readonly #stages = new Map<number, Numbers>()

  all(): Iterable<Chain> {
    return this.#chains.values()
  }

  get(key: string): Chain | undefined {
    return this.#chains.get(key)
  }

  /** The chain that the name means in this policy. */
  of(enterprise: string, chain: ServiceChain): Chain | undefined {
    return this.#chains.get(keyOf(enterprise, chain))
  }

  adopt(chain: Chain): boolean {
    if (this.#chains.has(chain.key) || !this.#ids.adopt(chain.id)) return false
    for (const { pool, stage } of chain.hops) {
      this.#pools.adopt(pool)
      this.#stagesOf(chain.vrf).adopt(stage)
    }
    this.#chains.set(chain.key, chain)
    return true
  }

  /**
   * Makes the chains that a policy names and retires the others of its enterprise.
   * @returns in one line each, which could not be made
   */
  follow({ vrf, enterprise, policy }: Tenant, nowMs: number): string[] {
    const problems: string[] = []
    const named = new Set<string>()
    for (const wanted of policy.chains) {
      const key = keyOf(enterprise, wanted)
      named.add(key)
      try {
        const chain = this.#chains.get(key) ?? this.#make(key, vrf, enterprise, wanted)
        chain.secure = policy.secure
        chain.retiredMs = undefined
        for (const [place, { failOpen }] of wanted.hops.entries()) {
          const hop = chain.hops[place]
          if (hop) hop.failOpen = failOpen
        }
      } catch (error) {
        problems.push(`chain ${wanted.name}: ${error instanceof Error ? error.message : String(error)}`)
      }
    }
    for (const chain of this.#chains.values())
      if (chain.enterprise === enterprise && !named.has(chain.key)) chain.retiredMs ??= nowMs
    return problems
  }

  #make(key: string, vrf: number, enterprise: string, { name, hops }: ServiceChain): Chain {
    if (hops.length === 0 || hops.length > ABI_CHAIN_HOPS)
      throw new RangeError(`a chain has 1 to ${ABI_CHAIN_HOPS} functions, not ${hops.length}`)
    const chain: Chain = {
      key,
      id: this.#ids.take(),
      vrf,
      enterprise,
      name,
      secure: false,
      hops: [],
      retiredMs: undefined,
    }
    try {
      for (const hop of hops) {
        // 0 is no pool and no stage: what to give back when the next one cannot be had.
        const made: Hop = { function: hop.function, failOpen: hop.failOpen, pool: 0, stage: 0 }
        chain.hops.push(made)
        made.pool = this.#pools.take()
        made.stage = this.#stagesOf(vrf).take()
      }
    } catch (error) {
      this.#release(chain)
      throw error
    }
    this.#chains.set(key, chain)
    return chain
  }

  remove(chain: Chain): void {
    if (this.#chains.get(chain.key) !== chain) return
    this.#chains.delete(chain.key)
    this.#release(chain)
  }

  #release(chain: Chain): void {
    this.#ids.give(chain.id)
    for (const { pool, stage } of chain.hops) {
      this.#pools.give(pool)
      this.#stagesOf(chain.vrf).give(stage)
    }
  }

  /** Stage 0 is outside of all chains. */
  #stagesOf(vrf: number): Numbers {
    const known = this.#stages.get(vrf)
    if (known) return known
    const made = new Numbers('stages', 1, ABI_MAX_STAGES - 1)
    this.#stages.set(vrf, made)
    return made
  }
}

function keyOf(enterprise: string, { name, hops }: ServiceChain): string {
  return `${enterprise} ${name} ${hops.map(hop => hop.function).join('>')}`
}
