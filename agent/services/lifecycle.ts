/** (what each enterprise needs, instances as they are) -> what to do about them. Pure. */

export type InstanceState = 'starting' | 'ready' | 'draining' | 'dead' | 'stopping'

export interface InstanceFacts {
  name: string
  function: string
  /** null: everybody's. */
  enterprise: string | null
  state: InstanceState
  /** ms; in this state. */
  sinceMs: number
  connections: number
}

export interface Need {
  function: string
  enterprise: string
  /** To take new connections. */
  active: number
  /** With those that stand by. */
  total: number
}

export interface Limits {
  max: number
  drainMs: number
}

export type Step =
  | { what: 'launch'; function: string; enterprise: string }
  | { what: 'drain' | 'resume'; name: string }
  | { what: 'stop'; name: string; reason: string }

/** Packets that chose an instance a moment ago have made a connection of it by then. */
const DRAIN_LEAST_MS = 2000
/** Adapters of a dead instance stay, marked dead, while connections find out; then their numbers are free. */
export const DEAD_MS = 30_000

/** Steps for the instances that we start and stop: `instances` holds no others. */
export function lifecycle(
  needs: readonly Need[],
  instances: readonly InstanceFacts[],
  limits: (functionName: string) => Limits,
  nowMs: number,
): Step[] {
  const steps: Step[] = []
  const groups = new Map<string, { need: Need | undefined; members: InstanceFacts[] }>()
  const groupOf = (functionName: string, enterprise: string | null) => {
    const key = `${functionName} ${enterprise}`
    const group = groups.get(key) ?? { need: undefined, members: [] }
    groups.set(key, group)
    return group
  }
  const counts = new Map<string, number>()
  for (const instance of instances) {
    groupOf(instance.function, instance.enterprise).members.push(instance)
    // What is dead runs no more, but keeps its numbers.
    if (instance.state !== 'dead') counts.set(instance.function, (counts.get(instance.function) ?? 0) + 1)
  }
  for (const need of needs) groupOf(need.function, need.enterprise).need = need
  for (const { need, members } of groups.values()) {
    const total = need?.total ?? 0
    const alive = members.filter(({ state }) => state === 'starting' || state === 'ready')
    const draining = members.filter(({ state }) => state === 'draining')
    const resumed = new Set(newestFirst(draining).slice(0, Math.max(0, total - alive.length)))
    for (const { name } of resumed) steps.push({ what: 'resume', name })
    if (need) {
      const missing = total - alive.length - resumed.size
      const room = limits(need.function).max - (counts.get(need.function) ?? 0)
      const launches = Math.max(0, Math.min(missing, room))
      counts.set(need.function, (counts.get(need.function) ?? 0) + launches)
      for (let count = 0; count < launches; count++)
        steps.push({ what: 'launch', function: need.function, enterprise: need.enterprise })
    }
    for (const instance of dispensable(alive).slice(0, Math.max(0, alive.length - total)))
      steps.push(
        instance.state === 'starting'
          ? { what: 'stop', name: instance.name, reason: 'not needed any more' }
          : { what: 'drain', name: instance.name },
      )
    for (const instance of draining) {
      if (resumed.has(instance)) continue
      const reason = drained(instance, limits(instance.function).drainMs, nowMs)
      if (reason) steps.push({ what: 'stop', name: instance.name, reason })
    }
  }
  return steps
}

function drained({ connections, sinceMs }: InstanceFacts, drainMs: number, nowMs: number): string | undefined {
  const forMs = nowMs - sinceMs
  if (forMs >= drainMs) return connections === 0 ? 'not needed any more' : `${connections} connections did not end`
  return connections === 0 && forMs >= DRAIN_LEAST_MS ? 'not needed any more' : undefined
}

const newestFirst = (instances: readonly InstanceFacts[]) => instances.toSorted((a, b) => b.sinceMs - a.sinceMs)

/** First who has nothing to lose. */
function dispensable(instances: readonly InstanceFacts[]): InstanceFacts[] {
  return instances.toSorted(
    (a, b) =>
      Number(a.state === 'ready') - Number(b.state === 'ready') ||
      a.connections - b.connections ||
      b.sinceMs - a.sinceMs,
  )
}

/** Who of the ready ones takes new connections: those that did so before, oldest first; the others stand by, warm. */
export function takers<Instance extends Pick<InstanceFacts, 'state' | 'sinceMs' | 'name'>>(
  instances: readonly Instance[],
  active: number,
): Instance[] {
  return instances
    .filter(({ state }) => state === 'ready')
    .toSorted((a, b) => a.sinceMs - b.sinceMs || (a.name < b.name ? -1 : 1))
    .slice(0, active)
}
