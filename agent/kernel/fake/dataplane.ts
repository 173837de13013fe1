/** The pinned part of a fake node: maps and attachments outlive the agent that opened them. */
import {
  ABI_HASH,
  ABI_MAX_FLOW_LINES,
  ABI_MAX_NEXTHOP_SETS,
  ABI_MAX_NEXTHOPS,
  ABI_MAX_PATHS,
  ABI_MAX_PEERS,
  ABI_MAX_PORTS,
  ABI_MP_PATHS,
  ABI_PORT_PROBES,
  bundleCodec,
  counterNames,
  dropReasonNames,
  type Event,
  nexthopCodec,
  nexthopSetCodec,
  nodeConfigCodec,
  pathConfCodec,
  pathStateCodec,
  peerCodec,
  portCodec,
  sessionCodec,
} from '../../../schema/abi.gen.ts'
import { type Codec, u32Codec } from '../../../schema/codec.ts'
import { KernelError } from '../error.ts'
import { be32TextCodec } from '../map-codecs.ts'
import {
  bundlesBySession,
  pathConfByHandle,
  pathStateByHandle,
  peersByIndex,
  portsByIfindex,
  sessionsById,
} from '../named-map.ts'
import { countersOf } from '../path-counters.ts'
import type { Adoption, Dataplane, FlowEntry, FlowTable, Hook, Maps, ProgramInfo, SweepResult } from '../port.ts'
import type { MapSizes } from '../sizes.ts'
import { fakeChainMaps } from './chain-maps.ts'
import type { FakeFib } from './fib.ts'
import { FakeMap } from './map.ts'

export function fakeFlows(sizes: MapSizes = {}): FlowTable {
  return new FakeFlowTable(sizes.flows ?? ABI_MAX_FLOW_LINES)
}

export function fakeMaps(sizes: MapSizes = {}): Maps {
  const array = <V>(name: string, limit: number, codec: Codec<V>) =>
    new FakeMap(name, 'array', sizes[name] ?? limit, u32Codec, codec)
  const maps: Maps = {
    lastHeardNs: handle => maps.pathState.get(handle)?.lastRxNs,
    pathCounters: handle => {
      const state = maps.pathState.get(handle)
      return state && countersOf(state)
    },
    clearLeft: handle => {
      const state = maps.pathState.get(handle)
      if (state) maps.pathState.set(handle, { ...state, left: 0 })
      return state !== undefined
    },
    node: array('node', 1, nodeConfigCodec),
    sessions: sessionsById(array('sessions', ABI_MAX_PATHS, sessionCodec)),
    peers: peersByIndex(array('peers', ABI_MAX_PEERS, peerCodec)),
    pathConf: pathConfByHandle(array('path_conf', ABI_MAX_PATHS, pathConfCodec)),
    pathState: pathStateByHandle(array('path_state', ABI_MAX_PATHS, pathStateCodec)),
    bundles: bundlesBySession(array('bundles', ABI_MAX_PATHS / 2, bundleCodec)),
    nexthops: array('nexthops', ABI_MAX_NEXTHOPS, nexthopCodec),
    nexthopSets: array('nexthop_sets', ABI_MAX_NEXTHOP_SETS, nexthopSetCodec),
    ports: portsByIfindex(array('ports', ABI_MAX_PORTS + ABI_PORT_PROBES - 1, portCodec)),
    frameDevices: new FakeMap('frame_devices', 'hash', ABI_MP_PATHS, u32Codec, u32Codec),
    vaddrs: new FakeMap('vaddrs', 'hash', ABI_MAX_PEERS, be32TextCodec, u32Codec),
    chain: fakeChainMaps(array, sizes),
  }
  markLayout(maps)
  return maps
}

/** No programs run here, so nothing is ever entered. */
class FakeFlowTable implements FlowTable {
  readonly lines: number

  constructor(lines: number) {
    this.lines = lines
  }

  entries(): FlowEntry[] {
    return []
  }

  sweep(): SweepResult {
    return { live: 0, freed: 0 }
  }

  clear(): void {}
}

/** As the real dataplane does once all is there: maps with this hash are complete and of this layout. */
function markLayout(maps: Maps): void {
  const node = nodeConfigCodec.decode(new Uint8Array(nodeConfigCodec.size))
  maps.node.set(0, { ...node, abiHash: ABI_HASH })
}

/** What is pinned below one bpffs folder. */
export interface FakePins {
  maps: Maps
  flows: FlowTable
  fib: FakeFib
  /** `hook ifindex` */
  attachments: Map<string, { hook: Hook; ifindex: number }>
  handlers: Set<(event: Event) => void>
}

export class FakeDataplane implements Dataplane {
  readonly maps: Maps
  readonly flows: FlowTable
  readonly fib: FakeFib
  readonly adoption: Adoption
  readonly reason: string | undefined
  readonly loadMs = 0
  readonly #pins: FakePins
  readonly #hooks: readonly Hook[]
  readonly #hasDevice: (ifindex: number) => boolean
  readonly #unpin: () => void
  readonly #handlers: ((event: Event) => void)[] = []

  constructor(options: {
    pins: FakePins
    adoption: Adoption
    reason?: string
    hooks: readonly Hook[]
    hasDevice: (ifindex: number) => boolean
    unpin: () => void
  }) {
    this.#pins = options.pins
    this.#hooks = options.hooks
    this.#hasDevice = options.hasDevice
    this.#unpin = options.unpin
    this.maps = options.pins.maps
    this.flows = options.pins.flows
    this.fib = options.pins.fib
    this.adoption = options.adoption
    for (const [key, { hook }] of this.#pins.attachments)
      if (!this.#hooks.includes(hook)) this.#pins.attachments.delete(key)
    this.reason = options.reason
  }

  attach(hook: Hook, ifindex: number): void {
    const object = `${hook} of device ${ifindex}`
    if (!this.#hooks.includes(hook)) throw new KernelError('attach', object, 'ENOENT', 'the program is not loaded')
    if (!this.#hasDevice(ifindex)) throw new KernelError('attach', object, 'ENODEV')
    this.#pins.attachments.set(`${hook} ${ifindex}`, { hook, ifindex })
  }

  detach(hook: Hook, ifindex: number): void {
    const known = this.attached().some(at => at.hook === hook && at.ifindex === ifindex)
    if (!known) throw new KernelError('detach', `${hook} of device ${ifindex}`, 'ENOENT')
    this.#pins.attachments.delete(`${hook} ${ifindex}`)
  }

  attached(): { hook: Hook; ifindex: number }[] {
    return [...this.#pins.attachments.values()].filter(({ ifindex }) => this.#hasDevice(ifindex))
  }

  programs(): ProgramInfo[] {
    return this.#hooks.map(hook => ({ hook, verified: 0, jitedBytes: 0 }))
  }

  drops(): Record<string, number> {
    return zeros(dropReasonNames)
  }

  counters(): Record<string, number> {
    return zeros(counterNames)
  }

  onEvent(handler: (event: Event) => void): void {
    this.#handlers.push(handler)
    this.#pins.handlers.add(handler)
  }

  close(): void {
    for (const handler of this.#handlers) this.#pins.handlers.delete(handler)
  }

  destroy(): void {
    this.close()
    this.#pins.attachments.clear()
    this.#unpin()
  }
}

function zeros(names: Readonly<Record<number, string>>): Record<string, number> {
  return Object.fromEntries(Object.values(names).map(name => [name, 0]))
}
