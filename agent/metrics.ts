/** What a running agent counts, in the text form that Prometheus reads (`branchline metrics`); names and units follow its conventions. */
import { Registry } from 'prom-client'
import { NO_POLICY } from '../schema/policy.ts'
import type { Edge } from './edge/edge.ts'
import type { Gateway } from './gateway/gateway.ts'
import { gauge, loopMetrics } from './loop/metrics.ts'
import { pathCounts, pathMetrics } from './paths/metrics.ts'
import { serviceMetrics } from './services/view.ts'
import { nodeOf, pathsOf, type Role } from './view.ts'

export function agentMetrics(role: Role): Registry {
  const registry = new Registry()
  const node = nodeOf(role)
  loopMetrics(registry, node.loop)
  gauge(registry, 'branchline_peers', 'Gateways of an edge, or edges of a gateway', ['state'], set => {
    const counts = new Map<string, number>()
    for (const { state } of role.kind === 'edge' ? role.edge.uplinks.values() : role.gateway.peers.all())
      counts.set(state, (counts.get(state) ?? 0) + 1)
    for (const [state, count] of counts) set({ state }, count)
  })
  if (role.kind === 'edge') gatewayMetrics(registry, role.edge)
  gauge(registry, 'branchline_sessions', 'MP sessions', [], set => set({}, node.sessions.size))
  gauge(registry, 'branchline_routes', 'Prefixes of other nodes', [], set => set({}, routes(role)))
  gauge(registry, 'branchline_flows', 'Flows remembered, one for each direction, at the last full sweep', [], set => {
    const { live } = node.flowSweeper
    if (live !== undefined) set({}, live)
  })
  gauge(registry, 'branchline_drops_total', 'Dropped packets', ['reason'], set => {
    for (const [reason, count] of Object.entries(node.dataplane.drops())) set({ reason }, count)
  })
  gauge(registry, 'branchline_packets_total', 'Packets by what happened to them', ['counter'], set => {
    for (const [counter, count] of Object.entries(node.dataplane.counters())) set({ counter }, count)
  })
  gauge(registry, 'branchline_policy_version', 'Policy in force, 1: there never was one', ['enterprise'], set => {
    for (const [enterprise, version] of policyVersions(role)) set({ enterprise }, version)
  })
  pathCounts(registry, pathsOf(role))
  if (role.kind === 'edge') pathMetrics(registry, pathsOf(role))
  if (role.kind === 'gateway') edgeMetrics(registry, role.gateway)
  if (role.kind === 'gateway') serviceMetrics(registry, role.gateway.services)
  return registry
}

function edgeMetrics(registry: Registry, { vrfs, handshakes }: Gateway): void {
  gauge(registry, 'branchline_route_updates_total', 'Changes of prefixes that edges told', [], set =>
    set({}, vrfs.updates),
  )
  gauge(
    registry,
    'branchline_handshakes_ignored_total',
    'Handshake packets that got no answer, by why',
    ['reason'],
    set => {
      for (const [reason, count] of handshakes.ignored()) set({ reason }, count)
    },
  )
}

function gatewayMetrics(registry: Registry, { uplinks, quality }: Edge): void {
  gauge(
    registry,
    'branchline_gateway_cost',
    'Metric and measured way to a gateway, ms of round trip',
    ['gateway'],
    set => {
      for (const uplink of uplinks.values()) {
        const { metric } = quality.status(uplink)
        if (metric !== null) set({ gateway: uplink.gateway.name }, metric)
      }
    },
  )
  gauge(
    registry,
    'branchline_gateway_in_use',
    'Does the gateway get flows of what all serve? 1 or 0',
    ['gateway'],
    set => {
      for (const uplink of uplinks.values()) set({ gateway: uplink.gateway.name }, Number(quality.status(uplink).inUse))
    },
  )
}

function policyVersions(role: Role): (readonly [string, number])[] {
  if (role.kind === 'edge') {
    const { state, policyVersion } = role.edge.identity
    return [[state().vpn?.enterpriseName ?? '', policyVersion()]]
  }
  return Array.from(role.gateway.vrfs.all(), ({ name, policy }) => [name, policy?.policy.version ?? NO_POLICY] as const)
}

function routes(role: Role): number {
  if (role.kind === 'edge') return role.edge.table.size
  let sum = 0
  for (const { table } of role.gateway.vrfs.all()) sum += table.size
  return sum
}
