/** A lab with a link to impair, one flow over it, and the bounds that a share of random events keeps to. */
import { Flow, type FlowResult } from '../../../scripts/lab/flow.ts'
import type { Direction } from '../../../scripts/lab/impairment/profile.ts'
import { Lab } from '../../../scripts/lab/lab.ts'
import { buildTools } from '../../../scripts/lab/tools.ts'
import { addressOf, familyOf, findNode, isAgent } from '../../../scripts/lab/topology.ts'

/** The link whose two directions are impaired, and the node at the far side of the WAN. */
export const LINK = { node: 'branch-a', link: 'inet' }
const FAR = 'gw1'

export interface Traffic {
  readonly direction?: Direction
  readonly family?: 4 | 6
  readonly pps: number
  readonly count: number
  /** bytes of UDP payload */
  readonly size?: number
  readonly tag?: string
}

/** What is drawn at random is drawn the same again with BRANCHLINE_SEED. Not 0, which asks for a random one. */
export const seed = Number(process.env.BRANCHLINE_SEED ?? 1 + Math.floor(Math.random() * (2 ** 32 - 1)))

/** Two branches on this kernel, in clear; the caller takes it down. Prints the seed. */
export async function upLab(): Promise<Lab> {
  console.log(`impairment: BRANCHLINE_SEED=${seed}`)
  await buildTools()
  return Lab.up({
    ...{ id: `i${process.pid}`, topology: 'two-branches', machine: 'native', security: 'clear', detach: false },
    say: () => {},
    signal: new AbortController().signal,
  })
}

let port = 7300

/** Sends `count` packets in one direction of the link and waits for those that come. */
export async function send(lab: Lab, traffic: Traffic, meanwhile?: () => Promise<void>): Promise<FlowResult> {
  const { direction = 'out', family = 4, tag = 'x', ...rest } = traffic
  const [from, to] = direction === 'out' ? [LINK.node, FAR] : [FAR, LINK.node]
  const flow = await Flow.start(lab, { from, to, address: wanAddress(lab, to, family), port: port++, tag, ...rest })
  await meanwhile?.()
  await flow.sent((1000 * traffic.count) / traffic.pps + 60_000)
  return flow.finish()
}

/** Neighbours are known then: none has to be asked over a link that loses the question. */
export async function warm(lab: Lab): Promise<void> {
  for (const family of [4, 6] as const) await send(lab, { family, pps: 100, count: 3 })
}

export function wanAddress(lab: Lab, name: string, family: 4 | 6): string {
  const node = findNode(lab.topology, name)
  const addresses = isAgent(node) ? node.wan.flatMap(link => link.addresses) : []
  return addressOf(addresses.find(address => familyOf(address) === family) ?? '')
}

/** Four standard deviations of a binomial share: a right one falls outside once in 16,000 times. */
export function spread(share: number, count: number): number {
  return 4 * Math.sqrt((share * (1 - share)) / count)
}

/**
 * The same of Gilbert's losses, which come in runs of `burst`: the states of packets n apart correlate by rho^n, which widens the binomial's
 * variance by (1 + rho) / (1 - rho).
 */
export function burstSpread(share: number, burst: number, count: number): number {
  const out = 1 / burst
  const rho = 1 - out - (out * share) / (1 - share)
  return spread(share, count) * Math.sqrt((1 + rho) / (1 - rho))
}
