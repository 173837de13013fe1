/**
 * Service chains of a gateway (seed B): policies that enterprises gave and functions that the operator has -> instances, and who serves whom in the maps.
 *
 *   setPolicy -> chains -> what is needed (scaler) -> launch, drain, stop (lifecycle) -> drivers
 *                       \-> adapters and slots (compile) -> resources -> reconciler
 *
 * One round does all of it, once a second and whenever something has happened. Instances and their connections outlive the agent.
 */
import { join } from 'node:path'
import { ABI_MAX_ADAPTERS, ABI_NH_F_OUTSIDE, type Nexthop, nexthopKind } from '../../schema/abi.gen.ts'
import type { NodeEvent } from '../../schema/node-state.ts'
import type { Node } from '../node/node.ts'
import { every } from '../node/periodic.ts'
import { keyOf, type Resource, sameContent } from '../plan/resource.ts'
import { Backoff } from './backoff.ts'
import { type Chain, Chains, type Tenant } from './chains.ts'
import { Compiler, type HopMembers } from './compile.ts'
import type { FunctionConfig, ServicesConfig } from './config.ts'
import type { LaunchSpec } from './driver.ts'
import type { Drivers } from './drivers/index.ts'
import { type AdapterNumbers, Instance, positionOf, type SavedInstance } from './instance.ts'
import { DEAD_MS, lifecycle, type Need, takers } from './lifecycle.ts'
import { NatAddresses } from './nat-addresses.ts'
import { Numbers } from './numbers.ts'
import type { ServicePolicy } from './policy.ts'
import { Scaler, share, usedShare, wish } from './scaler.ts'
import { readServices, ServicesFile } from './snapshot.ts'

/** What of the node it uses. */
export type ServicesNode = Pick<Node, 'now' | 'reconciler' | 'nexthops' | 'log'> & {
  readonly kernel: Pick<Node['kernel'], 'network'>
  readonly dataplane: Pick<Node['dataplane'], 'adoption' | 'maps'>
  readonly config: Pick<Node['config'], 'runDir'>
}

export interface ServicesOptions {
  node: ServicesNode
  config: ServicesConfig
  report: (event: Omit<NodeEvent, 'time'>) => void
  /** By kind: `namespace`, `qemu`, `remote`. */
  drivers: Drivers
  /** ms between rounds. */
  roundMs?: number
}

const ROUND_MS = 1000
/** What a launch is taken to last before one has been seen. */
const LAUNCH_MS = 3000
const MAX_INSTANCES = ABI_MAX_ADAPTERS - 1

export class Services {
  readonly #options: ServicesOptions
  readonly #node: ServicesNode
  readonly #functions: ReadonlyMap<string, FunctionConfig>
  readonly #tenants = new Map<number, Tenant>()
  readonly chains = new Chains()
  readonly #compiler: Compiler
  readonly instances = new Map<string, Instance>()
  readonly #numbers: Numbers
  readonly #adapters: Numbers
  /** Next hops of an adapter's index: they stay when it goes, so the index never means another's. */
  readonly #nexthops = new Map<number, Pick<AdapterNumbers, 'nexthopInside' | 'nexthopOutside'>>()
  readonly #scalers = new Map<string, Scaler>()
  readonly #launchMs = new Map<string, number>()
  readonly backoff = new Backoff()
  readonly #nat: NatAddresses
  #written = new Map<string, Resource>()
  readonly #told = new Set<string>()
  readonly #file: ServicesFile
  #needs: Need[] = []
  #soon: NodeJS.Immediate | undefined
  #rounds: { stop(): void } | undefined
  #closed = false

  constructor(options: ServicesOptions) {
    const { node, config } = options
    this.#options = options
    this.#node = node
    this.#functions = new Map(config.functions.map(each => [each.name, each]))
    const exists = (key: string) => node.reconciler.exists(key)
    this.#compiler = new Compiler(exists)
    this.#numbers = new Numbers('instances', 1, MAX_INSTANCES, number => exists(`instance ${number}`))
    this.#adapters = new Numbers('adapters', 1, ABI_MAX_ADAPTERS - 1, index => exists(`adapter ${index}`))
    this.#nat = new NatAddresses(config.upstream, node.kernel.network)
    this.#file = new ServicesFile({
      file: join(node.config.runDir, 'services.cbor'),
      log: node.log,
      content: () => ({
        chains: [...this.chains.all()],
        instances: [...this.instances.values()].flatMap(instance => instance.saved() ?? []),
      }),
    })
  }

  /**
   * Takes over the instances of a former agent, and ends those that nobody knows: behind the first `setPolicy` of each VRF that is still there, and before
   * the reconciler's sweep, which else removes their adapters.
   * @param vrfOf the VRF that an enterprise has still
   */
  async adopt(vrfOf: (enterprise: string) => number | undefined): Promise<void> {
    const former = readServices(this.#node.config.runDir)
    const rebuilt = this.#node.dataplane.adoption !== 'adopted'
    for (const chain of former?.chains ?? [])
      if (!rebuilt && vrfOf(chain.enterprise) === chain.vrf) this.chains.adopt(chain)
    const positions = new Set(
      [...this.chains.all()].flatMap(chain => chain.hops.map((_, place) => positionOf(chain, place))),
    )
    for (const saved of former?.instances ?? []) await this.#adoptInstance(saved, positions)
    for (const kind of new Set([...this.#functions.values()].map(each => each.driver.kind)))
      await this.#options.drivers[kind].sweep(new Set(this.instances.keys()))
    for (const config of this.#functions.values()) if (config.driver.kind === 'remote') this.#beginRemote(config)
    this.#rounds = every(this.#options.roundMs ?? ROUND_MS, async () => this.#round(), this.#node.log)
    this.#round()
  }

  async #adoptInstance(saved: SavedInstance, positions: ReadonlySet<string>): Promise<void> {
    const config = this.#functions.get(saved.function)
    if (!config || !this.#numbers.adopt(saved.number)) return
    this.#nat.adopt(saved.nat)
    const spec: LaunchSpec = { name: saved.name, number: saved.number, function: config, nat: saved.nat }
    const instance = this.#make(spec, saved.enterprise)
    if (
      (saved.state !== 'dead' || !instance.managed) &&
      (await adopted(instance.adopt(saved, position => positions.has(position))))
    ) {
      this.instances.set(saved.name, instance)
      return
    }
    this.#numbers.give(saved.number)
    this.#nat.give(saved.nat)
  }

  /** What of the VRF's connections goes through chains from now on; undefined: the VRF is gone. */
  setPolicy(vrf: number, enterprise: string, policy: ServicePolicy | undefined): void {
    if (policy) this.#tenants.set(vrf, { vrf, enterprise, policy })
    else {
      this.#tenants.delete(vrf)
      for (const chain of [...this.chains.all()]) if (chain.vrf === vrf) this.chains.remove(chain)
    }
    this.changed()
  }

  /** A round soon: something has happened. */
  changed(): void {
    if (this.#closed) return
    this.#soon ??= setImmediate(() => {
      this.#soon = undefined
      this.#round()
    })
  }

  #round(): void {
    // Not before what there is has been taken over: it would be started twice.
    if (this.#closed || !this.#rounds) return
    const nowMs = this.#node.now()
    for (const tenant of this.#tenants.values())
      for (const problem of this.chains.follow(tenant, nowMs)) this.#problem(tenant.enterprise, problem)
    this.#measure(nowMs)
    this.#forgetChains(nowMs)
    this.#needs = this.#assess(nowMs)
    this.#act(nowMs)
    for (const instance of this.instances.values()) instance.serve(this.#positions(instance))
    this.#program()
    this.#file.save()
  }

  #measure(nowMs: number): void {
    const { chain } = this.#node.dataplane.maps
    for (const instance of this.instances.values()) {
      instance.look()
      instance.connections = Number(chain.instanceState.get(instance.spec.number)?.connections ?? 0n)
      let bytes = 0n
      for (const index of instance.adapterIndexes()) bytes += chain.adapterTraffic(index)?.toBytes ?? 0n
      const last = instance.counted
      // Rounds that follow each other closely would measure noise.
      if (last && nowMs - last.atMs < ROUND_MS / 2) continue
      instance.mbps = last && bytes >= last.bytes ? Number(bytes - last.bytes) / 125 / (nowMs - last.atMs) : 0
      instance.counted = { atMs: nowMs, bytes }
    }
  }

  /** Chains without rules go with the last connection of those who serve them, or when their time is over. */
  #forgetChains(nowMs: number): void {
    for (const chain of [...this.chains.all()]) {
      if (chain.retiredMs === undefined) continue
      const forMs = nowMs - chain.retiredMs
      const drainMs = Math.max(0, ...chain.hops.map(hop => this.#functions.get(hop.function)?.drainMs ?? 0))
      const idle = [...this.instances.values()].every(
        instance => instance.connections === 0 || !this.#positionsIn(instance, chain).length,
      )
      if (forMs >= drainMs || (idle && forMs >= Math.min(drainMs, DEAD_MS))) this.chains.remove(chain)
    }
  }

  /** What each enterprise should have of each function. */
  #assess(nowMs: number): Need[] {
    const needs: Need[] = []
    for (const config of this.#functions.values()) {
      if (config.driver.kind === 'remote') continue
      const enterprises = new Set<string>()
      for (const chain of this.chains.all())
        if (chain.hops.some(hop => hop.function === config.name)) enterprises.add(chain.enterprise)
      const wishes = [...enterprises].map(enterprise => {
        const load = { mbps: 0, connections: 0 }
        for (const instance of this.#of(config.name, enterprise)) {
          load.mbps += instance.mbps
          load.connections += instance.connections
        }
        const key = `${config.name} ${enterprise}`
        const scaler = this.#scalers.get(key) ?? new Scaler(config)
        this.#scalers.set(key, scaler)
        const aheadMs = this.#launchMs.get(config.name) ?? LAUNCH_MS
        return { enterprise, ...wish(scaler.needed(load, nowMs, aheadMs), config) }
      })
      const totals = share(
        config.max,
        wishes.map(({ total }) => total),
      )
      for (const [place, { enterprise, active }] of wishes.entries()) {
        const total = totals[place] ?? 0
        needs.push({ function: config.name, enterprise, active: Math.min(active, total), total })
      }
    }
    return needs
  }

  *#of(functionName: string, enterprise: string): Iterable<Instance> {
    for (const instance of this.instances.values())
      if (instance.function === functionName && (instance.enterprise ?? enterprise) === enterprise) yield instance
  }

  #act(nowMs: number): void {
    const managed = [...this.instances.values()].filter(instance => instance.managed)
    const limits = (name: string) => {
      const config = this.#functions.get(name)
      return { max: config?.max ?? 0, drainMs: config?.drainMs ?? 0 }
    }
    for (const step of lifecycle(this.#needs, managed, limits, nowMs)) {
      if (step.what === 'launch') this.#launch(step.function, step.enterprise, nowMs)
      else if (step.what === 'stop') this.#stop(step.name, step.reason)
      else if (step.what === 'drain') this.instances.get(step.name)?.drain()
      else this.instances.get(step.name)?.resume()
    }
    for (const { name, state, sinceMs } of managed)
      if (state === 'dead' && nowMs - sinceMs >= DEAD_MS) this.#stop(name, 'it died')
  }

  #launch(functionName: string, enterprise: string, nowMs: number): void {
    const config = this.#functions.get(functionName)
    const key = `${functionName} ${enterprise}`
    if (!config || this.backoff.waits(key, nowMs)) return
    let number: number
    let nat: string[]
    try {
      number = this.#numbers.take()
    } catch (error) {
      this.#problem(enterprise, `${functionName}: ${messageOf(error)}`)
      return
    }
    try {
      nat = config.nat ? this.#nat.take() : []
    } catch (error) {
      this.#numbers.give(number)
      this.backoff.failed(key, nowMs, messageOf(error))
      this.#problem(enterprise, `${functionName}: ${messageOf(error)}`)
      return
    }
    const instance = this.#make({ name: `${functionName}-${number}`, number, function: config, nat }, enterprise)
    this.instances.set(instance.name, instance)
    this.#begin(instance, key).catch(error => this.#node.log.error({ err: error }, 'launch broke off'))
  }

  async #begin(instance: Instance, key: string): Promise<void> {
    const begin = this.#node.now()
    try {
      this.#node.reconciler.want({ kind: 'instance', index: instance.spec.number })
      await this.#nat.install(instance.spec.nat)
      await instance.launch()
    } catch (error) {
      this.#release(instance)
      const reason = messageOf(error)
      this.backoff.failed(key, this.#node.now(), reason)
      const pauseMs = Math.round(this.backoff.pauseMs(key, this.#node.now()))
      this.#report(
        'warning',
        'instance-failed',
        `${instance.name} did not start: ${reason}; again in ${pauseMs} ms`,
        instance,
      )
      return
    }
    if (this.#closed) return
    this.backoff.worked(key)
    this.#launchMs.set(instance.function, this.#node.now() - begin)
    this.#report('info', 'instance-up', `${instance.name} is up: ${instance.launched?.where}`, instance)
    this.changed()
  }

  #beginRemote(config: FunctionConfig): void {
    if (config.driver.kind !== 'remote') return
    for (const { name } of config.driver.instances) {
      if (this.instances.has(`${config.name}-${name}`)) continue
      const spec = { name: `${config.name}-${name}`, number: this.#numbers.take(), function: config, nat: [] }
      const instance = this.#make(spec, null)
      this.instances.set(spec.name, instance)
      this.#begin(instance, spec.name).catch(error => this.#node.log.error({ err: error }, 'launch broke off'))
    }
  }

  #make(spec: LaunchSpec, enterprise: string | null): Instance {
    return new Instance(spec, enterprise, this.#options.drivers[spec.function.driver.kind], {
      adapterNumbers: adopted => this.#adapterNumbers(adopted),
      giveAdapter: index => this.#adapters.give(index),
      now: () => this.#node.now(),
      changed: () => this.changed(),
      failed: (instance, reason) => {
        this.#report('warning', 'instance-failed', `${instance.name}: ${reason}`, instance)
        this.changed()
      },
    })
  }

  #adapterNumbers(adopted?: number): AdapterNumbers | undefined {
    if (adopted !== undefined && !this.#adapters.adopt(adopted)) return undefined
    let index = adopted
    try {
      index ??= this.#adapters.take()
    } catch (error) {
      this.#problem('', messageOf(error))
      return undefined
    }
    const known = this.#nexthops.get(index)
    if (known) return { index, ...known }
    const { nexthops } = this.#node
    const made = {
      nexthopInside: nexthops.acquire(into(index, 0)),
      nexthopOutside: nexthops.acquire(into(index, ABI_NH_F_OUTSIDE)),
    }
    this.#nexthops.set(index, made)
    return { index, ...made }
  }

  #stop(name: string, reason: string): void {
    const instance = this.instances.get(name)
    if (!instance || instance.state === 'stopping') return
    instance
      .stop(reason)
      .catch(error => this.#node.log.error({ err: error }, `${name} could not be stopped`))
      .then(() => {
        this.#release(instance)
        this.#report('info', 'instance-gone', `${name} is gone: ${reason}`, instance)
        this.changed()
      })
  }

  #release(instance: Instance): void {
    instance.close()
    if (this.#closed) return
    this.instances.delete(instance.name)
    this.#nat.remove(instance.spec.nat).catch(error => this.#node.log.error({ err: error }, 'NAT address not removed'))
    this.#node.reconciler.drop(`instance ${instance.spec.number}`)
    this.#numbers.give(instance.spec.number)
    this.changed()
  }

  // Who serves whom

  #positions(instance: Instance): Set<string> {
    const positions = new Set<string>()
    for (const chain of this.chains.all())
      for (const position of this.#positionsIn(instance, chain)) positions.add(position)
    return positions
  }

  #positionsIn(instance: Instance, chain: Chain): string[] {
    if ((instance.enterprise ?? chain.enterprise) !== chain.enterprise) return []
    return chain.hops.flatMap((hop, place) => (hop.function === instance.function ? [positionOf(chain, place)] : []))
  }

  #members(chain: Chain, place: number): HopMembers {
    const functionName = chain.hops[place]?.function ?? ''
    const config = this.#functions.get(functionName)
    if (!config) return { balance: 'turns', stateless: false, adapters: [], takers: [] }
    const need = this.#needs.find(each => each.function === functionName && each.enterprise === chain.enterprise)
    const position = positionOf(chain, place)
    const served = [...this.#of(functionName, chain.enterprise)].flatMap(instance => {
      const adapter = instance.adapterAt(position)
      return adapter ? [{ instance, adapter }] : []
    })
    const able = takers(
      served.map(({ instance }) => instance),
      need?.active ?? Number.POSITIVE_INFINITY,
    )
    return {
      balance: config.balance,
      stateless: config.stateless,
      adapters: served.map(({ adapter }) => adapter),
      takers: served.flatMap(({ instance, adapter }) => {
        if (!able.includes(instance)) return []
        const used = usedShare(instance, config)
        const { name, connections } = instance
        return [
          {
            adapter: adapter.index,
            name,
            connections,
            spare: Math.max(0, 1 - used),
            sufficient: used < config.threshold,
          },
        ]
      }),
    }
  }

  #program(): void {
    const { reconciler } = this.#node
    const wanted = new Map<string, Resource>()
    const problem = (text: string) => this.#problem('', text)
    const members = (chain: Chain, place: number) => this.#members(chain, place)
    for (const instance of this.instances.values())
      wanted.set(`instance ${instance.spec.number}`, { kind: 'instance', index: instance.spec.number })
    for (const resource of this.#compiler.compile(this.#tenants.values(), this.chains, members, problem))
      wanted.set(keyOf(resource), resource)
    let touched = false
    for (const [key, resource] of wanted) {
      const before = this.#written.get(key)
      if (before && sameContent(resource, before)) continue
      reconciler.want(resource)
      touched = true
    }
    for (const key of this.#written.keys())
      if (!wanted.has(key)) {
        reconciler.drop(key)
        touched = true
      }
    this.#written = wanted
    if (touched) reconciler.flush().catch(error => this.#node.log.error({ err: error }, 'service chains not written'))
  }

  // What people see

  /** The needs of the last round, for views. */
  needs(): readonly Need[] {
    return this.#needs
  }

  /** Is it ready, but idle until the others have no bandwidth left? */
  standsBy(instance: Instance): boolean {
    const need = this.#needs.find(
      each => each.function === instance.function && each.enterprise === instance.enterprise,
    )
    if (!need || instance.enterprise === null) return false
    return !takers([...this.#of(instance.function, instance.enterprise)], need.active).includes(instance)
  }

  functions(): ReadonlyMap<string, FunctionConfig> {
    return this.#functions
  }

  tenants(): Iterable<Tenant> {
    return this.#tenants.values()
  }

  /** Told once while it lasts: rounds are many. */
  #problem(enterprise: string, text: string): void {
    const key = `${enterprise} ${text}`
    if (this.#told.has(key)) return
    this.#told.add(key)
    this.#options.report({ severity: 'warning', code: 'service-problem', message: text, detail: { enterprise } })
  }

  #report(
    severity: 'info' | 'warning',
    code: string,
    message: string,
    { name, function: functionName, enterprise }: Instance,
  ) {
    const detail = { instance: name, function: functionName, ...(enterprise !== null && { enterprise }) }
    this.#options.report({ severity, code, message, detail })
  }

  /** The agent ends: instances go on, and the maps with them. */
  close(): void {
    this.#closed = true
    clearImmediate(this.#soon)
    this.#rounds?.stop()
    this.#file.saveNow()
    for (const instance of this.instances.values()) instance.close()
  }
}

const into = (adapter: number, flags: number): Nexthop => ({
  kind: nexthopKind.NH_ADAPTER,
  flags,
  reserved: 0,
  target: adapter,
})

/** One that cannot even be asked for is not there. */
const adopted = (found: Promise<boolean>) => found.catch(() => false)

const messageOf = (error: unknown) => (error instanceof Error ? error.message : String(error))
