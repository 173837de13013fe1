/** A gateway's services over the fake kernel, with instances that are nothing but names. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { NodeEvent } from '../../schema/node-state.ts'
import { FakeKernel } from '../kernel/fake.ts'
import type { Logger } from '../log.ts'
import { Nexthops } from '../node/nexthops.ts'
import { observe } from '../plan/apply.ts'
import { Reconciler } from '../plan/reconciler.ts'
import { servicesSchema } from './config.ts'
import { type AdapterSide, deviceOf, type InstanceDriver, type LaunchSpec, macOf } from './driver.ts'
import type { Drivers } from './drivers/index.ts'
import type { ServicePolicy, ServiceRule } from './policy.ts'
import { Services } from './services.ts'

/** Instances live as long as the object: longer than an agent. */
export class FakeInstances implements InstanceDriver {
  readonly running = new Set<string>()
  readonly calls: string[] = []
  /** What the next launches fail with. */
  refuse: string | undefined
  readonly #kernel: FakeKernel
  readonly #failed = new Map<string, string>()

  constructor(kernel: FakeKernel) {
    this.#kernel = kernel
  }

  async launch({ name }: LaunchSpec) {
    this.calls.push(`launch ${name}`)
    if (this.refuse !== undefined) throw new Error(this.refuse)
    this.running.add(name)
    return { health: undefined, where: 'here' }
  }

  async attach({ number, function: { mtu } }: LaunchSpec, slot: number): Promise<AdapterSide> {
    const [inside, outside] = (['inside', 'outside'] as const).map(side => {
      const { ifindex } = this.#kernel.network.addDevice(deviceOf(number, slot, side))
      return { ifindex, mac: macOf(number, slot, side, 'instance') }
    }) as [{ ifindex: number; mac: string }, { ifindex: number; mac: string }]
    return {
      kind: 'ethernet',
      mtu,
      insideIfindex: inside.ifindex,
      outsideIfindex: outside.ifindex,
      insideMac: inside.mac,
      outsideMac: outside.mac,
    }
  }

  async detach({ name }: LaunchSpec, slot: number): Promise<void> {
    this.calls.push(`detach ${name} ${slot}`)
  }

  async stop({ name }: LaunchSpec): Promise<void> {
    this.calls.push(`stop ${name}`)
    this.running.delete(name)
  }

  async adopt({ name }: LaunchSpec): Promise<boolean> {
    return this.running.has(name)
  }

  async sweep(known: ReadonlySet<string>): Promise<void> {
    for (const name of this.running) if (!known.has(name)) this.running.delete(name)
  }

  failure(name: string): string | undefined {
    return this.#failed.get(name)
  }

  /** The instance ends by itself. */
  kill(name: string, reason: string): void {
    this.running.delete(name)
    this.#failed.set(name, reason)
  }
}

const silent = { info() {}, warn() {}, error() {}, debug() {} } as unknown as Logger

/** The machine: a kernel and instances that outlive agents. */
export class ServiceBench {
  readonly kernel = new FakeKernel()
  readonly instances = new FakeInstances(this.kernel)
  readonly runDir = mkdtempSync(join(tmpdir(), 'branchline-services-'))
  readonly events: Omit<NodeEvent, 'time'>[] = []
  /** ms that the clock is ahead of the machine's. */
  aheadMs = 0
  #open: { services: Services; reconciler: Reconciler } | undefined

  /** An agent starts. @param config the services section */
  async start(
    config: unknown,
    vrfs: Readonly<Record<string, number>>,
    before: (services: Services) => void = () => {},
  ) {
    const dataplane = await this.kernel.openDataplane({ bpffs: '/bpf', esp: false })
    const observed = await observe(this.kernel, dataplane, { mp0: 0, table: 0, esp: false })
    const reconciler = new Reconciler({ port: this.kernel, dataplane, observed })
    const drivers: Drivers = { namespace: this.instances, qemu: this.instances, remote: this.instances }
    const services = new Services({
      node: {
        now: () => performance.now() + this.aheadMs,
        reconciler,
        nexthops: new Nexthops(reconciler),
        log: silent,
        kernel: this.kernel,
        dataplane,
        config: { runDir: this.runDir },
      },
      config: servicesSchema.parse(config),
      drivers,
      report: event => this.events.push(event),
      roundMs: 10,
    })
    this.#open = { services, reconciler }
    before(services)
    await services.adopt(enterprise => vrfs[enterprise])
    reconciler.sweep()
    await reconciler.flush()
    return { services, reconciler, maps: dataplane.maps.chain }
  }

  /** The agent ends. */
  stop(): void {
    this.#open?.services.close()
    this.#open?.reconciler.close()
    this.#open = undefined
    this.kernel.close()
  }

  remove(): void {
    this.stop()
    rmSync(this.runDir, { recursive: true, force: true })
  }
}

export const anyRule: ServiceRule = {
  name: 'all',
  id: 1,
  source: '::/0',
  destination: '::/0',
  proto: 0,
  sourcePorts: [0, 65_535],
  destinationPorts: [0, 65_535],
  application: 0,
  reverse: false,
  chain: null,
  shadow: false,
  move: false,
}

/** All connections through one chain. */
export function policyThrough(functions: readonly string[], change: Partial<ServicePolicy> = {}): ServicePolicy {
  return {
    version: 2,
    oldest: 0,
    internet: false,
    secure: false,
    chains: [{ name: 'web', hops: functions.map(name => ({ function: name, failOpen: false })) }],
    rules: [{ ...anyRule, chain: 'web' }],
    ...change,
  }
}
