/** One running node: the role that its grant names, what it reports, and its answers to the local API. */
import type { Status } from '../schema/agent-api.ts'
import type { NodeEvent, NodeState } from '../schema/node-state.ts'
import type { AgentView } from './api.ts'
import type { AgentConfig } from './config.ts'
import { Edge } from './edge/edge.ts'
import { Gateway } from './gateway/gateway.ts'
import { Identity } from './identity.ts'
import type { KernelPort } from './kernel/port.ts'
import type { Logger } from './log.ts'
import { agentMetrics } from './metrics.ts'
import type { KeyPair } from './mp/dh.ts'
import type { NetPort } from './mp/net.ts'
import { ownMemory } from './node/own-memory.ts'
import { pathReports } from './paths/report.ts'
import { servicesReport } from './services/view.ts'
import { version } from './version.ts'
import { associationCount, nodeOf, nodeStatus, pathsOf, peerRows, peerStates, type Role, routeRows } from './view.ts'

export interface AgentOptions {
  config: AgentConfig
  staticKey: KeyPair
  state: NodeState
  kernel: KernelPort
  net: NetPort
  log: Logger
  /** To the orchestrator, beside the local list. */
  onEvent?: (event: NodeEvent) => void
  orchestrator?: () => Status['orchestrator']
}

const EVENTS_KEPT = 1000

export class Agent implements AgentView {
  readonly identity: Identity
  readonly role: Role
  readonly #options: AgentOptions
  readonly #events: NodeEvent[]
  readonly #metrics: ReturnType<typeof agentMetrics>
  readonly #started = Date.now()

  /** @throws Error in one line when this machine or this identity cannot run a node */
  static async start(options: AgentOptions): Promise<Agent> {
    const identity = new Identity(options.staticKey, options.state)
    const events: NodeEvent[] = []
    const report = (event: Omit<NodeEvent, 'time'>) => {
      const timed = { time: Date.now(), ...event }
      events.push(timed)
      if (events.length > EVENTS_KEPT) events.shift()
      options.log[event.severity === 'warning' ? 'warn' : event.severity](
        { code: event.code, ...event.detail },
        event.message,
      )
      options.onEvent?.(timed)
    }
    const { config, kernel, net, log } = options
    const common = { config, kernel, net, log, identity, report }
    const { role: name } = identity.grant()
    const role: Role =
      name === 'gateway'
        ? { kind: 'gateway', gateway: await Gateway.start(common) }
        : name === 'edge'
          ? { kind: 'edge', edge: await Edge.start(common) }
          : unsupported(name)
    return new Agent(options, identity, role, events)
  }

  private constructor(options: AgentOptions, identity: Identity, role: Role, events: NodeEvent[]) {
    this.#options = options
    this.identity = identity
    this.role = role
    this.#events = events
    this.#metrics = agentMetrics(role)
  }

  /** A newer state from the orchestrator. Throws when it cannot be used; the old one stays in force. */
  async stateChanged(state: NodeState): Promise<void> {
    const before = this.identity.state()
    this.identity.update(state)
    if (this.role.kind === 'edge') await this.role.edge.stateChanged(before)
    else this.role.gateway.trustChanged()
  }

  async status(): Promise<Status> {
    const node = nodeOf(this.role)
    const grant = this.identity.grant()
    const { vpn } = this.identity.state()
    return {
      name: grant.nodeName,
      node: grant.node,
      role: grant.role,
      version: version(),
      ...nodeStatus(node),
      pid: process.pid,
      uptimeMs: Date.now() - this.#started,
      memoryBytes: await ownMemory(),
      loop: node.loop.status(),
      orchestrator: this.#options.orchestrator?.() ?? null,
      grant: { serial: grant.serial, expires: grant.expires, prefixes: grant.prefixes },
      vpn: vpn ? { enterprise: vpn.enterpriseName, enabled: vpn.enabled, security: vpn.security } : null,
      peers: await peerRows(this.role),
      associations: await associationCount(node),
    }
  }

  /** The part of the status that costs nothing. */
  nodeStatus() {
    return nodeStatus(nodeOf(this.role))
  }

  metrics(): Promise<string> {
    return this.#metrics.metrics()
  }

  /** What the orchestrator is told every half minute. */
  peerStates() {
    return peerStates(this.role)
  }

  routes() {
    return routeRows(this.role)
  }

  async drops() {
    const node = nodeOf(this.role)
    const names = new Map((await node.kernel.network.links()).map(link => [link.ifindex, link.name]))
    return {
      drops: node.dataplane.drops(),
      counters: node.dataplane.counters(),
      samples: node.samples
        .newestFirst()
        .map(({ ifindex, ...sample }) => ({ ...sample, device: names.get(ifindex) ?? String(ifindex) })),
    }
  }

  paths({ peer }: { peer?: string | undefined }) {
    return pathReports(pathsOf(this.role), nodeOf(this.role).now(), peer)
  }

  pathHistory() {
    return pathsOf(this.role).history.newestFirst()
  }

  services() {
    if (this.role.kind === 'edge') return { chains: [], pools: [], instances: [] }
    const { node, services, vrfs } = this.role.gateway
    return servicesReport(services, enterprise => vrfs.get(enterprise)?.name ?? enterprise, node.now())
  }

  rekey({ peer }: { peer?: string | undefined }): { peers: string[] } {
    if (this.role.kind === 'gateway') throw new Error('edges start handshakes: run this on the edge')
    const chosen = [...this.role.edge.uplinks.values()].filter(
      ({ gateway }) => peer === undefined || gateway.name === peer || gateway.node === peer,
    )
    if (chosen.length === 0)
      throw new Error(peer === undefined ? 'no gateway is known' : `no gateway is called ${peer}`)
    for (const uplink of chosen) uplink.connect('asked for')
    return { peers: chosen.map(({ gateway }) => gateway.name) }
  }

  events(): NodeEvent[] {
    return this.#events.toReversed()
  }

  /** Ends the agent; the dataplane goes on forwarding. */
  close(): void {
    if (this.role.kind === 'edge') this.role.edge.close()
    else this.role.gateway.close()
  }
}

function unsupported(role: string): never {
  throw new Error(`this version cannot run the role ${role}; it knows edge and gateway`)
}
