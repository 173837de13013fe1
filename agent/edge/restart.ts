/** What an edge's agent remembers for its successor, and how the successor takes over. */
import type { Runtime, RuntimeItem } from '../node/runtime.ts'
import type { Edge } from './edge.ts'

export function* snapshotUplinks(edge: Edge): Iterable<RuntimeItem> {
  for (const { gateway, index, addresses, sid, rekeys } of edge.uplinks.values())
    if (addresses)
      yield {
        peers: {
          index,
          node: gateway.node,
          name: gateway.name,
          role: 'gateway',
          enterprise: null,
          grant: null,
          ...addresses,
          esp: edge.node.sessions.get(sid)?.esp ?? false,
          sid,
          rekeys,
          subnets: [],
        },
      }
  for (const { stale: _, ...route } of edge.table.all()) yield { learned: route }
}

/** Gateways that are still in the list and whose session is whole in the kernel are used on, with the routes they told. */
export function adoptUplinks(former: Runtime, edge: Edge): void {
  const { node } = edge
  for (const saved of former.peers) {
    const uplink = edge.uplinks.get(saved.node)
    const session = former.sessions.find(({ sid }) => sid === saved.sid)
    if (!uplink || !session || !node.sessions.adopt(session)) continue
    const { vaddrLocal, vaddrRemote } = saved
    node.reconciler.want({
      kind: 'address',
      value: { ifindex: node.devices.mp0.ifindex, address: vaddrLocal, prefixLength: 32 },
    })
    node.reconciler.want({ kind: 'vaddr', address: vaddrRemote, peer: uplink.index })
    node.wantNodeConfig(vaddrLocal)
    uplink.adopt(saved.sid, { vaddrLocal, vaddrRemote }, saved.rekeys)
    edge.table.learn(
      saved.node,
      former.learned.filter(route => route.gateway === saved.node),
      true,
    )
    edge.table.markStale(saved.node)
  }
}
