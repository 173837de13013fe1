/** Simulated nodes: real agents on fake kernels, joined by a World. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Agent } from '../../agent/agent.ts'
import { type AgentConfigInput, agentConfigSchema } from '../../agent/config.ts'
import { FakeKernel } from '../../agent/kernel/fake.ts'
import { silent } from '../../agent/log.ts'
import type { LinkStatement } from '../../agent/mp/link-traits.ts'
import type { NetPort } from '../../agent/mp/net.ts'
import { nexthopKindNames } from '../../schema/abi.gen.ts'
import type { NodeEvent, NodeState } from '../../schema/node-state.ts'
import type { TestNode } from '../identities.ts'
import { World } from './world.ts'

export interface StationSpec {
  name: string
  node: TestNode
  wan: string
  /** Address of a second WAN link, `lte`. */
  lte?: string
  /** Address with prefix length of the LAN interface, for edges. */
  lan?: string
  esp?: boolean
  timers?: AgentConfigInput['timers']
  /** What the configuration says of the links beside name and interface. */
  links?: { inet?: LinkStatement; lte?: LinkStatement }
  classes?: AgentConfigInput['classes']
  services?: AgentConfigInput['services']
  /** Address with prefix length of an interface `up0` to the Internet. */
  upstream?: string
  /** Threads for a gateway's handshakes; 0, the default: none. */
  workers?: number
}

/** A machine: its kernel outlives its agents. */
export class Station {
  readonly name: string
  readonly kernel: FakeKernel
  readonly events: NodeEvent[] = []
  state: NodeState
  agent: Agent | undefined
  #spec: StationSpec
  readonly net: NetPort
  readonly #world: World
  readonly #directory: string

  constructor(spec: StationSpec, world: World, directory: string) {
    this.name = spec.name
    this.state = spec.node.state
    this.#spec = spec
    this.#directory = directory
    this.kernel = new FakeKernel({ esp: spec.esp ?? true })
    this.#world = world
    this.net = world.join(spec.name, this.kernel, spec.lte ? [spec.wan, spec.lte] : [spec.wan])
  }

  async plug(): Promise<void> {
    const { network } = this.kernel
    const wan = network.addDevice('wan0')
    await network.addAddress({ ifindex: wan.ifindex, address: this.#spec.wan, prefixLength: 24 })
    if (this.#spec.lte) {
      const lte = network.addDevice('wan1')
      await network.addAddress({ ifindex: lte.ifindex, address: this.#spec.lte, prefixLength: 24 })
    }
    if (this.#spec.lan) await this.#plugInto('lan0', this.#spec.lan)
    if (this.#spec.upstream) await this.#plugInto('up0', this.#spec.upstream)
  }

  async #plugInto(name: string, withLength: string): Promise<void> {
    const { network } = this.kernel
    const { ifindex } = network.addDevice(name)
    const [address = '', length] = withLength.split('/')
    await network.addAddress({ ifindex, address, prefixLength: Number(length) })
  }

  /** From the next start on. */
  reconfigure(change: Pick<StationSpec, 'links'>): void {
    this.#spec = { ...this.#spec, ...change }
  }

  async start(): Promise<Agent> {
    const config = agentConfigSchema.parse({
      stateDir: this.#directory,
      runDir: join(this.#directory, this.name),
      wan: [
        { name: 'inet', interface: 'wan0', ...this.#spec.links?.inet },
        ...(this.#spec.lte ? [{ name: 'lte', interface: 'wan1', ...this.#spec.links?.lte }] : []),
      ],
      classes: this.#spec.classes,
      services: this.#spec.services ?? (this.#spec.upstream ? { upstream: { interface: 'up0' } } : {}),
      lan: this.#spec.lan ? [{ interface: 'lan0' }] : [],
      handshake: { workers: this.#spec.workers ?? 0 },
      timers: { probeMs: 100, silentMs: 500, handshakeRetryMs: 200, graceMs: 200, ...this.#spec.timers },
    })
    this.agent = await Agent.start({
      config,
      staticKey: this.#spec.node.staticKey,
      state: this.state,
      kernel: this.kernel,
      net: this.net,
      log: silent,
      onEvent: event => this.events.push(event),
    })
    return this.agent
  }

  /**
   * kill -9: connections end, nothing is told or changed in the kernel. The object goes on existing here, so its timers are stopped; the snapshot is the
   * one that a killed process would have left, because the test saves it before.
   */
  crash(): void {
    const { role } = this.agent ?? {}
    const node = role?.kind === 'edge' ? role.edge.node : role?.gateway.node
    node?.saveNow()
    this.#world.agentEnds(this.name)
    this.kernel.close()
    node?.reconciler.close()
    this.agent?.close()
    this.agent = undefined
  }

  async update(state: NodeState): Promise<void> {
    this.state = state
    await this.agent?.stateChanged(state)
  }

  get staticKey() {
    return this.#spec.node.staticKey
  }

  /** An edge whose gateways have all said hello. */
  get up(): boolean {
    const { role } = this.agent ?? {}
    return role?.kind === 'edge' && [...role.edge.uplinks.values()].every(uplink => uplink.state === 'up')
  }

  /** What the programs would do with a packet for this address in a VRF. */
  lookup(
    vrf: number,
    address: string,
    prefixLength: number,
  ): { kind: string; target: number; flags: number } | undefined {
    const maps = this.kernel.maps()
    const index = this.kernel.fib()?.get({ vrf, address, prefixLength })
    const nexthop = index === undefined ? undefined : maps?.nexthops.get(index)
    return nexthop && { kind: nexthopKindNames[nexthop.kind] ?? '?', target: nexthop.target, flags: nexthop.flags }
  }
}

export class Simulation {
  readonly world = new World()
  readonly stations: Station[] = []
  readonly #directory = mkdtempSync(join(tmpdir(), 'branchline-sim-'))

  async add(spec: StationSpec): Promise<Station> {
    const station = new Station(spec, this.world, this.#directory)
    await station.plug()
    this.stations.push(station)
    return station
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { agent } of this.stations) agent?.close()
    rmSync(this.#directory, { recursive: true, force: true })
  }
}

/** Waits for a condition, looks every 5 ms; throws with `what` at the deadline. */
export async function until(what: string, condition: () => boolean, deadlineMs = 10_000): Promise<number> {
  const start = performance.now()
  while (!condition()) {
    if (performance.now() - start > deadlineMs) throw new Error(`not within ${deadlineMs} ms: ${what}`)
    await new Promise(resolve => setTimeout(resolve, 5))
  }
  return performance.now() - start
}
