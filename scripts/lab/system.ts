/** The product in a lab: headquarters, the way there, and nodes with running agents. */
import { cpSync } from 'node:fs'
import type { AgentConfigInput } from '../../agent/config.ts'
import { Agent, type Configure } from './agent.ts'
import { LabError } from './error.ts'
import { type Enrolled, enrol, type Headquarters } from './headquarters.ts'
import type { Lab } from './lab.ts'
import type { ExecResult, Machine } from './machine.ts'
import { namespacePath, ORCHESTRATOR_ADDRESS } from './network.ts'
import type { Orchestrator } from './orchestrator.ts'
import { LabProcess } from './process.ts'
import { installProgram } from './program.ts'
import { FORWARD } from './tools.ts'
import { findNode, isAgent } from './topology.ts'
import { until } from './until.ts'

export interface SystemOptions {
  readonly configure?: Configure
  readonly timers?: NonNullable<AgentConfigInput['timers']>
  /** Address families of the WAN that edges use; default both */
  readonly families?: readonly (4 | 6)[]
}

/** Agents start slowly in the emulated guest, and all at once. */
const CONNECT_DEADLINE_MS = 90_000

export class System {
  readonly lab: Lab
  readonly orchestrator: Orchestrator
  readonly #program: readonly string[]
  readonly #agents: Agent[] = []
  readonly #make: (enrolled: Enrolled) => Agent
  readonly #families: readonly (4 | 6)[]

  /** Resolves when every edge has its tunnel to every gateway; VPNs are off. @throws LabError */
  static async start(lab: Lab, headquarters: Headquarters, options: SystemOptions): Promise<System> {
    const { orchestrator, enrolled } = headquarters
    const [program] = await Promise.all([
      installProgram(headquarters.program, lab.machine),
      openDoor(lab, orchestrator.port),
    ])
    const make = ({ node, identity }: Enrolled) => {
      const agent = new Agent(lab, node, { ...options, program, port: orchestrator.port })
      cpSync(identity, agent.stateDir, { recursive: true })
      return agent
    }
    const system = new System(lab, headquarters, make, options.families)
    system.#agents.push(...enrolled.map(make))
    await Promise.all(system.agents.map(agent => agent.start()))
    await Promise.all(system.edges.map(edge => system.connected(edge)))
    return system
  }

  private constructor(
    lab: Lab,
    { orchestrator, program }: Headquarters,
    make: (enrolled: Enrolled) => Agent,
    families: readonly (4 | 6)[] = [4, 6],
  ) {
    this.lab = lab
    this.orchestrator = orchestrator
    this.#program = program.words
    this.#make = make
    this.#families = families
  }

  get agents(): readonly Agent[] {
    return this.#agents
  }

  /** A node that was left out so far gets its identity, and runs. @throws LabError */
  async add(name: string): Promise<void> {
    const node = findNode(this.lab.topology, name)
    if (!isAgent(node)) throw new LabError('input', `${name} is no node that runs an agent`)
    const agent = this.#make(await enrol(this.lab.dir, this.orchestrator, node, this.#families))
    this.#agents.push(agent)
    await agent.start()
    await Promise.all(this.edges.map(edge => this.connected(edge)))
  }

  get edges(): Agent[] {
    return this.agents.filter(({ node }) => node.kind === 'edge')
  }

  get gateways(): Agent[] {
    return this.agents.filter(({ node }) => node.kind === 'gateway')
  }

  /** @throws LabError when the node runs no agent here */
  agent(name: string): Agent {
    const agent = this.agents.find(each => each.name === name)
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
      await until(
        `${edge.name} has its tunnels`,
        deadlineMs,
        async () => {
          const { peers } = await edge.status()
          return peers.length === this.gateways.length && peers.every(peer => peer.state === 'up')
        },
        longestPause(this.lab.machine),
      )
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause)
      throw new LabError('process', `${why}\n${edge.tail()}`, { cause })
    }
  }
}

/** Where every question costs much, it is asked less often. */
function longestPause({ kind }: Machine): number {
  return kind === 'native' ? 200 : 1000
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
