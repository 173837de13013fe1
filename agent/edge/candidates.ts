/** Which of this edge's links can reach a gateway, from where to where. One path per link; its id is the link's place in the configuration. */

import { ABI_MP_PORT } from '../../schema/abi.gen.ts'
import { parseAddress } from '../../schema/address.ts'
import type { GatewayEntry } from '../../schema/node-state.ts'
import type { Endpoint } from '../mp/net.ts'
import type { WanLink } from '../node/links.ts'

export interface Candidate {
  path: number
  link: WanLink
  family: 4 | 6
  local: Endpoint
  remote: Endpoint
}

/** Endpoints in the gateway's order: the first whose family the link speaks is taken. */
export function candidates(links: readonly WanLink[], gateway: GatewayEntry): Candidate[] {
  return links.flatMap(link => {
    if (!link.usable) return []
    for (const remote of gateway.endpoints) {
      const family = parseAddress(remote.address)?.family
      const own = link.addresses.find(address => address.family === family)
      if (family && own)
        return [{ path: link.index, link, family, local: { address: own.address, port: ABI_MP_PORT }, remote }]
    }
    return []
  })
}
