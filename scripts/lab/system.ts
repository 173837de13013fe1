/** The product in a lab: orchestrator, the way to it, enterprises and activated nodes with running agents. */
import type { AgentConfigInput } from '../../agent/config.ts'
import { activate } from '../../agent/intent/activate.ts'
import { ABI_MP_PORT } from '../../schema/abi.gen.ts'
import { Agent } from './agent.ts'
import { LabError } from './error.ts'
import type { Lab } from './lab.ts'
import type { ExecResult } from './machine.ts'
import { namespacePath, ORCHESTRATOR_ADDRESS } from './network.ts'
import { Orchestrator } from './orchestrator.ts'
import { LabProcess } from './process.ts'
import { buildProgram } from './program.ts'
import { buildTools, FORWARD } from './tools.ts'
import { type AgentNode, addressOf, familyOf, isAgent, lanPrefixes } from './topology.ts'
import { until } from './until.ts'

export interface SystemOptions {
  /** whose edges run; default: all */
  readonly enterprises?: readonly string[]
  readonly timers?: NonNullable<AgentConfigInput['timers']>
  /** Address families of the WAN that gateways offer and edges use; default both */
  readonly families?: readonly (4 | 6)[]
  readonly say: (line: string) => void
}

/** Agents start slowly in the emulated guest, and all at once. */
const CONNECT_DEADLINE_MS = 90_000

export class System {
  readonly lab: Lab
  readonly orchestrator: Orchestrator
  readonly #program: readonly string[]
  readonly #agents: ReadonlyMap<string, Agent>

  /** Resolves when every edge has its tunnel to every gateway; VPNs are off. @throws LabError */
  static async start(lab: Lab, options: SystemOptions): Promise<System> {
    const [program] = await Promise.all([buildProgram(lab.id), buildTools()])
    const orchestrator = await Orchestrator.create(lab, program)
    await openDoor(lab, orchestrator.port)
    const enterprises = options.enterprises ?? lab.topology.enterprises
    const nodes = lab.topology.nodes
      .filter(isAgent)
      .filter(node => node.kind === 'gateway' || enterprises.includes(node.enterprise))
    const agents = new Map(
      nodes.map(node => [node.name, new Agent(lab, node, { ...options, program, port: orchestrator.port })]),
    )
    const system = new System(lab, orchestrator, program, agents)
    try {
      await system.#begin(enterprises, options.families ?? [4, 6])
    } catch (error) {
      await orchestrator.disconnect()
      throw error
    }
    return system
  }

  async #begin(enterprises: readonly string[], families: readonly (4 | 6)[]): Promise<void> {
    const { admin } = this.orchestrator
    for (const name of enterprises) await admin.enterprise.create.mutate({ name, security: this.lab.security })
    // Gateways first: an edge's first state then has its gateway list.
    for (const agent of [...this.gateways, ...this.edges]) await this.#enrol(agent, families)
    await Promise.all(this.agents.map(agent => agent.start()))
    await Promise.all(this.edges.map(edge => this.connected(edge)))
  }

  private constructor(
    lab: Lab,
    orchestrator: Orchestrator,
    program: readonly string[],
    agents: ReadonlyMap<string, Agent>,
  ) {
    this.lab = lab
    this.orchestrator = orchestrator
    this.#program = program
    this.#agents = agents
  }

  get agents(): Agent[] {
    return [...this.#agents.values()]
  }

  get edges(): Agent[] {
    return this.agents.filter(({ node }) => node.kind === 'edge')
  }

  get gateways(): Agent[] {
    return this.agents.filter(({ node }) => node.kind === 'gateway')
  }

  /** @throws LabError when the node runs no agent here */
  agent(name: string): Agent {
    const agent = this.#agents.get(name)
    if (!agent) throw new LabError('input', `${name} runs no agent in this story`)
    return agent
  }

  async vpn(enterprise: string, enabled: boolean): Promise<void> {
    await this.orchestrator.admin.vpn.set.mutate({ enterprise, enabled })
  }

  /** Runs `branchline <words>` on this host, as the admin. */
  command(...words: string[]): Promise<ExecResult> {
    return this.lab.host.exec([...this.#program, '--data-dir', this.orchestrator.dataDir, ...words])
  }

  /** Waits until the edge has a tunnel to every gateway. @throws LabError with the edge's log */
  async connected(edge: Agent, deadlineMs = CONNECT_DEADLINE_MS): Promise<void> {
    try {
      await until(`${edge.name} has its tunnels`, deadlineMs, async () => {
        const { peers } = await edge.status()
        return peers.length === this.gateways.length && peers.every(peer => peer.state === 'up')
      })
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause)
      throw new LabError('process', `${why}\n${edge.tail()}`, { cause })
    }
  }

  /** Creates the node in the orchestrator and activates it. Private keys are made here and lie in the lab's own folder. */
  async #enrol(agent: Agent, families: readonly (4 | 6)[]): Promise<void> {
    const { node } = agent
    const made = await this.orchestrator.admin.node.create.mutate(
      node.kind === 'edge'
        ? { name: node.name, role: 'edge', enterprise: node.enterprise, subnets: lanPrefixes(node) }
        : { name: node.name, role: 'gateway', endpoints: endpoints(node, families) },
    )
    const url = `wss://127.0.0.1:${this.orchestrator.port}`
    await activate({ url, key: made.activationKey, directory: agent.stateDir })
  }
}

function endpoints(node: AgentNode, families: readonly (4 | 6)[]): { address: string; port: number }[] {
  return node.wan
    .flatMap(link => link.addresses)
    .filter(address => families.includes(familyOf(address)))
    .map(address => ({ address: addressOf(address), port: ABI_MP_PORT }))
}

/** Agents reach the orchestrator on the management network; a forwarder carries them from there to the host's loopback. */
async function openDoor(lab: Lab, port: number): Promise<void> {
  const orchestrator = lab.topology.nodes.find(node => node.kind === 'orchestrator')
  if (!orchestrator) throw new LabError('input', 'the topology has no orchestrator')
  const namespace = namespacePath(lab.id, orchestrator.name)
  const argv = [FORWARD, namespace, ORCHESTRATOR_ADDRESS, String(port), lab.machine.hostAddress, String(port)]
  const door = await LabProcess.start(lab.machine, { name: 'door', argv })
  await until('the way to the orchestrator is open', 10_000, async () => {
    if (door.output().includes('ready')) return true
    if (await door.alive()) return false
    throw new LabError('process', `the way to the orchestrator: ${door.tail()}`)
  })
}
