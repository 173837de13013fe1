/** The newest sampled drops, for `branchline drops`: what a person wants to see of "why does it not work". */
import type { Event as DataplaneEvent } from '../../schema/abi.gen.ts'
import { dropReasonNames } from '../../schema/abi.gen.ts'
import { formatAddress } from '../../schema/address.ts'

export interface DropSample {
  /** Unix ms. */
  time: number
  reason: string
  ifindex: number
  from: string
  to: string
  length: number
}

const KEPT = 200

export class DropSamples {
  readonly #samples: DropSample[] = []

  add(event: DataplaneEvent): void {
    if (event.reason === 0) return
    const { from, to } = endpoints(event)
    this.#samples.push({
      time: Date.now(),
      reason: dropReasonNames[event.reason] ?? `reason ${event.reason}`,
      ifindex: event.ifindex,
      from,
      to,
      length: event.length,
    })
    if (this.#samples.length > KEPT) this.#samples.shift()
  }

  newestFirst(): DropSample[] {
    return this.#samples.toReversed()
  }
}

/** Source and destination from the sampled network header. */
function endpoints({ head, headLength }: DataplaneEvent): { from: string; to: string } {
  const version = (head[0] ?? 0) >> 4
  if (version === 4 && headLength >= 20)
    return { from: formatAddress(head.subarray(12, 16)), to: formatAddress(head.subarray(16, 20)) }
  if (version === 6 && headLength >= 40)
    return { from: formatAddress(head.subarray(8, 24)), to: formatAddress(head.subarray(24, 40)) }
  return { from: '?', to: '?' }
}
