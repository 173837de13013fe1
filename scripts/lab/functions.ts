/** Service functions of a lab's gateways (vagrant/functions), and what enterprises do with them. */
import { join } from 'node:path'
import type { AgentConfigInput } from '../../agent/config.ts'
import { REPO } from '../guest/rundir.ts'
import type { Configure } from './agent.ts'
import { UPSTREAM_DEVICE } from './network.ts'
import type { System } from './system.ts'

type ServicesInput = NonNullable<AgentConfigInput['services']>
type FunctionInput = NonNullable<ServicesInput['functions']>[number]
type Options = Partial<Omit<FunctionInput, 'name' | 'driver'>> & {
  readonly env?: Readonly<Record<string, string>>
  /** default: the function's name */
  readonly recipe?: string
}

/** An instance of it is a namespace. In the emulated guest some take long to start. */
export function inNamespace(name: string, { env = {}, recipe = name, ...options }: Options = {}): FunctionInput {
  const run = join(REPO, 'vagrant/functions', recipe, 'run')
  return { name, driver: { kind: 'namespace', run, env: { ...env } }, startMs: 120_000, ...options }
}

/** Machines of somebody else, reached over a WAN link of the gateway. @param local the gateway's address there */
export function remote(
  name: string,
  attachment: { readonly kind: 'geneve' | 'ipip'; readonly interface: string; readonly local: readonly string[] },
  instances: readonly { readonly name: string; readonly addresses: readonly string[] }[],
): FunctionInput {
  return {
    name,
    driver: { kind: 'remote', instances: instances.map(each => ({ ...each, addresses: [...each.addresses] })) },
    attachment: { ...attachment, local: [...attachment.local] },
  }
}

/** Gateways have these functions and their upstream. */
export function withFunctions(...functions: readonly FunctionInput[]): Configure {
  return node =>
    node.kind === 'gateway' && node.upstream
      ? {
          services: {
            functions: [...functions],
            upstream: { interface: UPSTREAM_DEVICE, addresses: node.upstream.nat },
          },
        }
      : {}
}

export interface ChainWish {
  readonly enterprise: string
  /** Functions in their order. */
  readonly functions: readonly string[]
  /** default: what goes to the Internet */
  readonly destinations?: readonly string[]
  readonly failOpen?: boolean
}

/** Instances of the function that take new connections. */
export async function readyInstances(system: System, name: string): Promise<number> {
  const { instances } = await system.agent('gw1').services()
  return instances.filter(each => each.function === name && each.state === 'ready' && each.adapters > 0).length
}

/** Instances of the function, whatever they do. */
export async function allInstances(system: System, name: string): Promise<number> {
  const { instances } = await system.agent('gw1').services()
  return instances.filter(each => each.function === name).length
}

/** A lab's Internet. */
export const INTERNET = ['198.18.0.0/15', '2001:db8:80::/64'] as const

/** One chain `all` for what the enterprise sends to the Internet, and the way there. */
export async function steerToInternet(
  { orchestrator: { admin } }: System,
  { enterprise, functions, destinations = INTERNET, failOpen = false }: ChainWish,
): Promise<void> {
  const hops = functions.map(name => ({ function: name, failOpen }))
  await admin.chain.create.mutate({ enterprise, name: 'all', hops })
  await admin.rule.add.mutate({ enterprise, name: 'internet', destination: [...destinations], chain: 'all' })
  await admin.policy.internet.mutate({ enterprise, enabled: true })
}
