/**
 * The part of a system that needs no node: the command, the orchestrator, its enterprises, and nodes with their identities. It is made on the
 * host while the guest boots.
 */
import { join } from 'node:path'
import { activate } from '../../agent/intent/activate.ts'
import { ABI_MP_PORT } from '../../schema/abi.gen.ts'
import { Orchestrator } from './orchestrator.ts'
import { buildProgram, type Program } from './program.ts'
import type { LabDir } from './record.ts'
import type { Site } from './site.ts'
import { buildTools } from './tools.ts'
import { type AgentNode, addressOf, familyOf, isAgent, lanPrefixes } from './topology.ts'

export interface HeadquartersOptions {
  /** whose edges run; default: all */
  readonly enterprises?: readonly string[]
  /** Address families of the WAN that gateways offer; default both */
  readonly families?: readonly (4 | 6)[]
  /** nodes that are left out for now */
  readonly later?: readonly string[]
}

export interface Enrolled {
  readonly node: AgentNode
  /** its identity and first state, which its agent gets as state directory */
  readonly identity: string
}

export interface Headquarters {
  readonly program: Program
  readonly orchestrator: Orchestrator
  readonly enrolled: readonly Enrolled[]
}

/** Leaves no connection open. @throws LabError */
export async function openHeadquarters(site: Site, options: HeadquartersOptions): Promise<Headquarters> {
  const { topology, security } = site
  const enterprises = options.enterprises ?? topology.enterprises
  const [program] = await Promise.all([buildProgram(site.dir.id), buildTools()])
  const orchestrator = await Orchestrator.create(site, program.words)
  try {
    for (const name of enterprises) await orchestrator.admin.enterprise.create.mutate({ name, security })
    const nodes = topology.nodes
      .filter(isAgent)
      .filter(node => node.kind === 'gateway' || enterprises.includes(node.enterprise))
      .filter(node => !options.later?.includes(node.name))
    const enrolled: Enrolled[] = []
    // Gateways first: an edge's first state then has its gateway list.
    for (const kind of ['gateway', 'edge'] as const)
      for (const node of nodes.filter(each => each.kind === kind))
        enrolled.push(await enrol(site.dir, orchestrator, node, options.families ?? [4, 6]))
    return { program, orchestrator, enrolled }
  } finally {
    await orchestrator.disconnect()
  }
}

/** Creates the node in the orchestrator and activates it. Private keys are made here and lie in the lab's own folder. */
export async function enrol(
  dir: LabDir,
  { admin, port }: Orchestrator,
  node: AgentNode,
  families: readonly (4 | 6)[],
): Promise<Enrolled> {
  const { activationKey: key } = await admin.node.create.mutate(
    node.kind === 'edge'
      ? { name: node.name, role: 'edge', enterprise: node.enterprise, subnets: lanPrefixes(node) }
      : { name: node.name, role: 'gateway', endpoints: endpoints(node, families) },
  )
  const identity = join(dir.path, 'enrolled', node.name)
  await activate({ url: `wss://127.0.0.1:${port}`, key, directory: identity })
  return { node, identity }
}

function endpoints(node: AgentNode, families: readonly (4 | 6)[]): { address: string; port: number }[] {
  return node.wan
    .flatMap(link => link.addresses)
    .filter(address => families.includes(familyOf(address)))
    .map(address => ({ address: addressOf(address), port: ABI_MP_PORT }))
}
