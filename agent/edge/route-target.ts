/** From a decision on a route to the next hop, or set of them, that programs take. */
import { ABI_NH_F_SECURE } from '../../schema/abi.gen.ts'
import { type Target, unreachable, viaPeer, viaPeers } from '../node/nexthops.ts'
import type { Decision } from '../routes/edge-table.ts'

/** @param indexOf a gateway's index of the peers map */
export function routeTarget(decision: Decision, indexOf: (gateway: string) => number | undefined): Target {
  const { security } = decision.kind === 'via' ? decision.routes[0] : decision.route
  const flags = security === 'esp' ? ABI_NH_F_SECURE : 0
  const peers = decision.kind === 'via' ? decision.routes.flatMap(({ gateway }) => indexOf(gateway) ?? []) : []
  const [first] = peers
  if (first === undefined) return unreachable(flags)
  return peers.length === 1 ? viaPeer(first, flags) : viaPeers(peers, flags)
}
