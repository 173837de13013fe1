/** Service chains as `branchline services` shows them (schema/agent-api.ts), and what is counted of them. */
import type { Registry } from 'prom-client'
import type { ServiceInstanceRow, ServicePoolRow, ServicesReport } from '../../schema/agent-api.ts'
import { gauge } from '../loop/metrics.ts'
import type { Instance } from './instance.ts'
import type { Services } from './services.ts'

/** @param enterpriseName for people @param nowMs monotonic */
export function servicesReport(
  services: Services,
  enterpriseName: (enterprise: string) => string,
  nowMs: number,
): ServicesReport {
  const nameOf = (enterprise: string | null) => (enterprise === null ? null : enterpriseName(enterprise))
  return {
    chains: Array.from(services.chains.all(), chain => ({
      enterprise: enterpriseName(chain.enterprise),
      name: chain.name,
      path: chain.id,
      functions: chain.hops.map(hop => `${hop.function}${hop.failOpen ? ':open' : ''}`),
      secure: chain.secure,
      retired: chain.retiredMs !== undefined,
    })),
    pools: pools(services, nowMs).map(row => ({ ...row, enterprise: enterpriseName(row.enterprise) })),
    instances: Array.from(services.instances.values(), instance => ({
      name: instance.name,
      function: instance.function,
      enterprise: nameOf(instance.enterprise),
      state: shownState(services, instance),
      forMs: nowMs - instance.sinceMs,
      reason: instance.reason ?? null,
      where: instance.launched?.where ?? null,
      nat: [...instance.spec.nat],
      adapters: [...instance.adapterIndexes()].length,
      connections: instance.connections,
      mbps: instance.mbps,
      capacityMbps: instance.config.capacityMbps,
    })),
  }
}

function pools(services: Services, nowMs: number): ServicePoolRow[] {
  return services.needs().map(need => {
    const members = [...services.instances.values()].filter(
      ({ function: name, enterprise }) => name === need.function && enterprise === need.enterprise,
    )
    const key = `${need.function} ${need.enterprise}`
    const reason = services.backoff.reason(key)
    return {
      function: need.function,
      enterprise: need.enterprise,
      balance: services.functions().get(need.function)?.balance ?? 'turns',
      wanted: need.active,
      warm: need.total - need.active,
      ready: members.filter(({ state }) => state === 'ready').length,
      starting: members.filter(({ state }) => state === 'starting').length,
      draining: members.filter(({ state }) => state === 'draining').length,
      dead: members.filter(({ state }) => state === 'dead').length,
      connections: members.reduce((sum, { connections }) => sum + connections, 0),
      mbps: members.reduce((sum, { mbps }) => sum + mbps, 0),
      problem: reason === undefined ? null : reason,
      retryMs: reason === undefined ? null : services.backoff.pauseMs(key, nowMs),
    }
  })
}

function shownState(services: Services, instance: Instance): ServiceInstanceRow['state'] {
  return instance.state === 'ready' && services.standsBy(instance) ? 'warm' : instance.state
}

export function serviceMetrics(registry: Registry, services: Services): void {
  gauge(
    registry,
    'branchline_service_instances',
    'Instances of service functions by what they do',
    ['function', 'state'],
    set => {
      const counts = new Map<string, { function: string; state: string; count: number }>()
      for (const instance of services.instances.values()) {
        const state = shownState(services, instance)
        const key = `${instance.function} ${state}`
        const entry = counts.get(key) ?? { function: instance.function, state, count: 0 }
        entry.count += 1
        counts.set(key, entry)
      }
      for (const { count, ...labels } of counts.values()) set(labels, count)
    },
  )
  gauge(registry, 'branchline_service_connections', 'Connections in an instance', ['instance', 'function'], set => {
    for (const instance of services.instances.values())
      set({ instance: instance.name, function: instance.function }, instance.connections)
  })
  gauge(registry, 'branchline_service_load_bits', 'Bits a second into an instance', ['instance', 'function'], set => {
    for (const instance of services.instances.values())
      set({ instance: instance.name, function: instance.function }, instance.mbps * 1e6)
  })
  gauge(registry, 'branchline_service_chains', 'Service chains, with those that only old connections use', [], set =>
    set({}, [...services.chains.all()].length),
  )
}
