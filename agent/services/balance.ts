/** The slots of a pool: whose turn it is, slot by slot (bpf/abi/chain.h, enum balance). Pure. */
import { ABI_POOL_MEMBERS, balance as balances } from '../../schema/abi.gen.ts'
import type { FunctionConfig } from './config.ts'
import { maglev } from './maglev.ts'

/** An adapter that takes new connections. */
export interface Member {
  adapter: number
  /** Of its instance: what Maglev hashes. */
  name: string
  /** Share of the instance's capacity that is not in use, 0 to 1. */
  spare: number
  connections: number
  /** Less than the threshold is in use. */
  sufficient: boolean
}

export type BalanceName = FunctionConfig['balance']

export interface Slots {
  balance: number
  /** Adapters. */
  slots: number[]
}

/** More weight than that makes the table longer and nothing better. */
const MAX_WEIGHT = 8
const MAX_SLOTS = 4096

/**
 * New connections go to members with sufficient bandwidth while there are any (seed B, claim 5); to all when there are none, for a connection that is
 * slow beats one that is refused. Hashing does not look at load: what it promises is the same member for the same connection.
 */
export function fillSlots(name: BalanceName, members: readonly Member[]): Slots {
  if (name === 'hash') {
    const table = maglev(members.map(member => member.name))
    return { balance: balances.BALANCE_HASH, slots: table.map(place => members[place]?.adapter ?? 0) }
  }
  const sufficient = members.filter(member => member.sufficient)
  const takers = sufficient.length > 0 ? sufficient : members
  if (name === 'least') {
    const fewest = takers.toSorted((a, b) => a.connections - b.connections || a.adapter - b.adapter)
    const slots = fewest.slice(0, ABI_POOL_MEMBERS).map(member => member.adapter)
    // In their own order: the table does not change while only counts do.
    return { balance: balances.BALANCE_LEAST, slots: slots.sort((a, b) => a - b) }
  }
  return { balance: balances.BALANCE_TURNS, slots: turns(takers) }
}

/**
 * Smooth weighted round robin, as nginx does it (commit 52327e0627f49dbda1e8db695e63a4b0af4448b1): each round everyone gains its weight, and who has most
 * takes the slot and pays for all. So the turns of a heavy member are spread over the table.
 */
function turns(members: readonly Member[]): number[] {
  const heaviest = Math.max(1, Math.min(MAX_WEIGHT, Math.floor(MAX_SLOTS / members.length)))
  const least = Math.min(...members.map(({ spare }) => spare))
  // Equals get one slot each, however much they have left.
  const equal = members.every(({ spare }) => spare - least < 1 / MAX_WEIGHT)
  const weights = members.map(({ spare }) => (equal ? 1 : Math.max(1, Math.round(heaviest * spare))))
  const total = weights.reduce((sum, weight) => sum + weight, 0)
  const credit = weights.map(() => 0)
  return Array.from({ length: total }, () => {
    let best = 0
    for (let place = 0; place < members.length; place++) {
      credit[place] = (credit[place] ?? 0) + (weights[place] ?? 0)
      if ((credit[place] ?? 0) > (credit[best] ?? 0)) best = place
    }
    credit[best] = (credit[best] ?? 0) - total
    return members[best]?.adapter ?? 0
  })
}
