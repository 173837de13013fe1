/** Instances that somebody else runs: all that there is to do is to share out their addresses. */
import type { Network } from '../../kernel/port.ts'
import type { RemoteConfig } from '../config.ts'
import type { AdapterSide, InstanceDriver, Launched, LaunchSpec } from '../driver.ts'

const IPIP_HEADER = { 4: 20, 6: 40 } as const
/** Outer IP, UDP, Geneve with the three options of AWS Gateway Load Balancer. */
const GENEVE_HEADERS = { 4: 20 + 8 + 40, 6: 40 + 8 + 40 } as const

export class RemoteDriver implements InstanceDriver {
  readonly #network: Network
  /** `local remote` of adapters by IP in IP: what comes back says no more about where it belongs. */
  readonly #pairs = new Map<string, string>()

  constructor(network: Network) {
    this.#network = network
  }

  async launch(spec: LaunchSpec): Promise<Launched> {
    const { addresses, health: address = addresses[0] as string } = machineOf(spec)
    const { health } = spec.function
    return { health: health.kind === 'none' ? undefined : { address, port: health.port }, where: addresses.join(', ') }
  }

  async attach(spec: LaunchSpec, slot: number): Promise<AdapterSide> {
    const { attachment, mtu } = spec.function
    if (attachment.kind === 'ethernet') throw new TypeError('remote instances are not reached by ethernet')
    const link = (await this.#network.links()).find(({ name }) => name === attachment.interface)
    if (!link) throw new Error(`the interface ${attachment.interface} is not there`)
    const pairs = machineOf(spec).addresses.flatMap(remote =>
      attachment.local.filter(local => local.includes(':') === remote.includes(':')).map(local => ({ local, remote })),
    )
    const free = pairs.find(
      ({ local, remote }) => attachment.kind === 'geneve' || !this.#pairs.has(`${local} ${remote}`),
    )
    if (!free)
      throw new Error(`all ${pairs.length} pairs of its addresses and local ones are in use: each adapter needs one`)
    if (attachment.kind === 'ipip') this.#pairs.set(`${free.local} ${free.remote}`, `${spec.name} ${slot}`)
    const headers = (attachment.kind === 'ipip' ? IPIP_HEADER : GENEVE_HEADERS)[free.remote.includes(':') ? 6 : 4]
    return { kind: attachment.kind, mtu: Math.min(mtu, link.mtu - headers), ifindex: link.ifindex, ...free }
  }

  async detach(spec: LaunchSpec, slot: number): Promise<void> {
    this.#forget(holder => holder === `${spec.name} ${slot}`)
  }

  async stop(spec: LaunchSpec): Promise<void> {
    this.#forget(holder => holder.startsWith(`${spec.name} `))
  }

  #forget(mine: (holder: string) => boolean): void {
    for (const [pair, holder] of this.#pairs) if (mine(holder)) this.#pairs.delete(pair)
  }

  /** They are there, whoever asks. @param adapters what it had */
  async adopt(spec: LaunchSpec, adapters: readonly { slot: number; side: AdapterSide }[]): Promise<boolean> {
    for (const { slot, side } of adapters)
      if (side.kind === 'ipip') this.#pairs.set(`${side.local} ${side.remote}`, `${spec.name} ${slot}`)
    return true
  }

  async sweep(): Promise<void> {}

  failure(): undefined {
    return undefined
  }
}

function machineOf({ name, function: { name: functionName, driver } }: LaunchSpec): RemoteConfig['instances'][number] {
  if (driver.kind !== 'remote') throw new TypeError(`${driver.kind} is another driver's`)
  const machine = driver.instances.find(each => `${functionName}-${each.name}` === name)
  if (!machine) throw new Error(`${name} is not in the configuration`)
  return machine
}
