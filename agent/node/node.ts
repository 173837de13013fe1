/**
 * What edges and gateways share: the dataplane of one machine, its sessions and peers as resources, adoption of what a former agent left, and
 * the measured state of paths. Roles (edge.ts, gateway.ts) decide; this class knows how.
 */

import { join } from 'node:path'
import type { Event as DataplaneEvent, PathConf, PathState, Steering } from '../../schema/abi.gen.ts'
import { ABI_FAMILY_NONE, ABI_HASH, ABI_MAX_PATHS, ABI_MP_PORT, eventType } from '../../schema/abi.gen.ts'
import { formatBe32 } from '../../schema/address.ts'
import type { AgentConfig } from '../config.ts'
import type { Capabilities, Dataplane, KernelPort } from '../kernel/port.ts'
import type { MapSizes } from '../kernel/sizes.ts'
import type { Logger } from '../log.ts'
import { LoopDelay } from '../loop/delay.ts'
import type { NetPort } from '../mp/net.ts'
import { handleOf } from '../mp/session.ts'
import { observe } from '../plan/apply.ts'
import { Reconciler } from '../plan/reconciler.ts'
import { keyOf, type Resource } from '../plan/resource.ts'
import { Attachments } from './attachments.ts'
import { type Devices, ensureDevices, mpMtu, peerRoute, TABLE, wantDevices } from './devices.ts'
import { DropSamples } from './drop-samples.ts'
import { Fib } from './fib.ts'
import { FlowSweeper } from './flow-sweeper.ts'
import { ensureHold, type NodePairs } from './hold-devices.ts'
import { type Arrival, WanLinks } from './links.ts'
import { Nexthops } from './nexthops.ts'
import { nodeConfigOf } from './node-config.ts'
import { ensureGather, ensureSegmenters } from './offload-devices.ts'
import { carriedBy, wideEnough } from './path-sizes.ts'
import { peerEntry } from './peer-entry.ts'
import { RUNTIME_FILE, type Runtime, type RuntimeItem, readRuntime, runtimeItems } from './runtime.ts'
import { type LiveSession, Sessions } from './sessions.ts'
import { Snapshots } from './snapshots.ts'

export interface NodeOptions {
  config: AgentConfig
  kernel: KernelPort
  net: NetPort
  log: Logger
  /** Node id, for the snapshot. */
  node: string
  sizes: MapSizes
  /** Packets go from tunnel to tunnel here: a gateway. */
  relays?: boolean
  onHandshakePacket: (packet: Uint8Array, arrival: Arrival) => void
  onEvent: (event: DataplaneEvent) => void
}

interface NodeParts {
  capabilities: Capabilities
  dataplane: Dataplane
  wan: WanLinks
  devices: Devices
  pairs: NodePairs
  observed: Resource[]
}

export class Node {
  readonly config: AgentConfig
  readonly kernel: KernelPort
  readonly net: NetPort
  readonly log: Logger
  readonly capabilities: Capabilities
  readonly dataplane: Dataplane
  readonly reconciler: Reconciler
  readonly nexthops: Nexthops
  readonly fib: Fib
  readonly wan: WanLinks
  readonly samples = new DropSamples()
  readonly loop = new LoopDelay()
  readonly sessions: Sessions
  readonly flowSweeper: FlowSweeper
  /** Snapshot of the former agent, while its things are being adopted. */
  former: Runtime | undefined
  devices: Devices
  readonly #pairs: NodePairs
  /** Node id. */
  readonly id: string
  readonly #attachments: Attachments
  /** By peer index: has its entry follow what its paths carry. */
  readonly #fits = new Map<number, () => void>()
  #snapshots: Snapshots | undefined

  static async open(options: NodeOptions): Promise<Node> {
    const { config, kernel, log } = options
    const capabilities = await kernel.capabilities()
    if (capabilities.problems.length > 0) throw new Error(capabilities.problems.join('; '))
    const dataplane = await kernel.openDataplane({ bpffs: config.bpffs, esp: capabilities.esp, sizes: options.sizes })
    dataplane.fib.onFault(error => log.error({ err: error }, error.message))
    if (dataplane.reason) log.warn({ reason: dataplane.reason }, `pinned dataplane ${dataplane.adoption}`)
    const wan = new WanLinks({
      wan: config.wan,
      kernel,
      net: options.net,
      port: ABI_MP_PORT,
      log,
      onPacket: options.onHandshakePacket,
    })
    let node: Node | undefined
    try {
      node = await Node.#over({ dataplane, capabilities, wan }, options)
      node.#begin(options.onEvent)
      return node
    } catch (error) {
      // What stays open would keep a process alive that has nothing to do, and the port from the next one.
      if (node) node.close()
      else {
        wan.close()
        dataplane.close()
      }
      throw error
    }
  }

  static async #over(open: Pick<NodeParts, 'dataplane' | 'capabilities' | 'wan'>, options: NodeOptions): Promise<Node> {
    const { config, kernel, log } = options
    const { dataplane, capabilities, wan } = open
    await wan.refresh()
    const hosts = config.lan.length > 0
    if (hosts && (await ensureSegmenters(kernel, wan.links, log))) await wan.refresh()
    const pairs = {
      gather: hosts ? await ensureGather(kernel) : undefined,
      hold: options.relays ? await ensureHold(kernel, log) : undefined,
    }
    const devices = await ensureDevices(kernel, { esp: capabilities.esp, mtu: mpMtu(wan.links) })
    const observed = await observe(kernel, dataplane, { mp0: devices.mp0.ifindex, table: TABLE, esp: capabilities.esp })
    return new Node(options, { ...open, devices, pairs, observed })
  }

  #begin(onEvent: NodeOptions['onEvent']): void {
    wantDevices(this.reconciler, this.devices)
    this.#attachments.want(this.devices, this.#pairs, this.wan.links)
    this.dataplane.onEvent(event => {
      this.samples.add(event)
      if (event.type !== eventType.EVENT_DROP) onEvent(event)
    })
  }

  private constructor(options: NodeOptions, parts: NodeParts) {
    this.config = options.config
    this.kernel = options.kernel
    this.net = options.net
    this.log = options.log
    this.id = options.node
    this.capabilities = parts.capabilities
    this.dataplane = parts.dataplane
    this.wan = parts.wan
    this.devices = parts.devices
    this.#pairs = parts.pairs
    this.reconciler = new Reconciler({
      port: options.kernel,
      dataplane: parts.dataplane,
      observed: parts.observed,
      onFailure: ({ operation, error }) =>
        options.log.error(
          { err: error, object: keyOf(operation.resource) },
          `cannot ${operation.action}: ${error.message}`,
        ),
      onError: error => options.log.error({ err: error }, 'reconciliation broke off'),
    })
    this.#attachments = new Attachments({
      config: options.config,
      network: options.kernel.network,
      dataplane: parts.dataplane,
      reconciler: this.reconciler,
      log: options.log,
      relays: options.relays ?? false,
    })
    this.nexthops = new Nexthops(this.reconciler)
    this.flowSweeper = new FlowSweeper(parts.dataplane.flows, options.log)
    this.fib = new Fib(this.reconciler, this.nexthops)
    this.sessions = new Sessions({
      reconciler: this.reconciler,
      places: options.sizes.sessions ?? ABI_MAX_PATHS,
      now: () => this.now(),
      changed: () => this.save(),
    })
    if (parts.dataplane.adoption === 'adopted') {
      const former = readRuntime(options.config.runDir, options.node, ABI_HASH)
      if (typeof former === 'string') options.log.warn({}, `not adopting sessions: ${former}`)
      else this.former = former
    }
  }

  /** Call after the network changed: devices of links that came, sockets, reverse-path filters. */
  async refreshWan(): Promise<void> {
    await this.wan.refresh()
    if (this.#pairs.gather && (await ensureSegmenters(this.kernel, this.wan.links, this.log))) await this.wan.refresh()
    this.#attachments.want(this.devices, this.#pairs, this.wan.links)
    const mtu = mpMtu(this.wan.links)
    if (mtu !== this.devices.mtu) {
      this.devices = await ensureDevices(this.kernel, { esp: this.capabilities.esp, mtu })
      wantDevices(this.reconciler, this.devices)
    }
    await this.reconciler.flush()
  }

  /** @param vaddr the address that ICMP errors made between tunnels come from; 0.0.0.0 while unknown */
  wantNodeConfig(vaddr: string): void {
    this.reconciler.want({ kind: 'node', value: nodeConfigOf(this.devices, this.#pairs, vaddr) })
  }

  /** ms on the machine's monotonic clock: for everything that is measured, since people and NTP set the other one. */
  now(): number {
    return Number(this.kernel.monotonic() / 1000n) / 1000
  }

  /** Adoption is complete: what the former agent left and nobody wants is removed by the next flush. */
  adopted(): void {
    this.former = undefined
    this.sessions.adopted()
    this.reconciler.sweep()
  }

  // Paths and peers

  setPathConf(handle: number, conf: PathConf): void {
    const path = this.sessions.get((handle & ~15) >>> 0)?.paths.find(candidate => candidate.path === (handle & 15))
    const mtu = (path && carriedBy(path)) || conf.mtu
    this.reconciler.want({ kind: 'path-conf', handle, value: { ...conf, handle, mtu } })
  }

  /** What the path was found to carry, outer headers included; 0: it is of no use. Its peer follows. */
  setPathMtu(sid: number, id: number, mtu: number): void {
    const session = this.sessions.get(sid)
    const path = session?.paths.find(candidate => candidate.path === id)
    if (!session || !path) return
    path.carries = Math.min(mtu, path.mtu)
    const conf = this.pathConf(handleOf(sid, id))
    if (conf) this.setPathConf(handleOf(sid, id), conf)
    this.#fits.get(session.peer)?.()
    this.save()
  }

  /** What was found of one session's paths holds for the session that replaces it. */
  keepPathMtus(from: number, to: number): void {
    for (const { path, link, carries } of this.sessions.get(from)?.paths ?? []) {
      const follows = this.sessions.get(to)?.paths.some(next => next.path === path && next.link === link)
      if (follows && carries !== undefined) this.setPathMtu(to, path, carries)
    }
  }

  pathConf(handle: number): PathConf | undefined {
    const resource = this.reconciler.desired(`path-conf ${handle}`)
    return resource?.kind === 'path-conf' && resource.value.family !== ABI_FAMILY_NONE ? resource.value : undefined
  }

  pathState(handle: number): PathState | undefined {
    return this.dataplane.maps.pathState.get(handle)
  }

  /** ms since the last authenticated packet of the path, or since the session began. */
  silenceMs(session: LiveSession, path: number): number {
    return this.pathIdleMs(handleOf(session.sid, path)) ?? this.sessions.ageMs(session)
  }

  /** ms since the last authenticated packet of the path; undefined: never any. */
  pathIdleMs(handle: number): number | undefined {
    const heardNs = this.dataplane.maps.lastHeardNs(handle)
    if (heardNs === undefined || heardNs === 0n) return undefined
    return Math.max(0, Number(this.kernel.monotonic() - heardNs) / 1e6)
  }

  /**
   * The peer sends on `sid` over its paths that can be sent on and are in `usable`.
   * @param steering what each class does with them; absent: all use the first
   */
  wantPeer(
    index: number,
    sid: number,
    policyVersion: number,
    usable: (path: number) => boolean,
    steering?: Steering[],
  ): void {
    const session = this.sessions.get(sid)
    if (!session) return
    this.#fits.set(index, () => this.wantPeer(index, sid, policyVersion, usable, steering))
    const known = session.paths.flatMap(path => {
      const family = this.pathConf(handleOf(sid, path.path))?.family
      return family === undefined ? [] : [{ ...path, family }]
    })
    const paths = wideEnough(known.filter(({ path }) => usable(path)))
    const chosen = paths.length > 0 ? paths : wideEnough(known)
    const value = peerEntry(session, chosen, { policyVersion, steering, mtu: this.devices.mtu })
    this.reconciler.want({ kind: 'peer', index, value })
    this.#fitRoute(sid, value.mtuClear)
  }

  /** Headers of the session that name a version up to this one are no news to the agent. The caller flushes. */
  learnedPolicy(sid: number, version: number): void {
    const session = this.reconciler.desired(`session ${sid}`)
    if (session?.kind === 'session')
      this.reconciler.want({ ...session, value: { ...session.value, policyVersion: version } })
  }

  /** The node's own packets, and the kernel where it fragments ESP, know sizes by the route to the peer: its own where that of all is too wide. */
  #fitRoute(sid: number, mtu: number): void {
    const session = this.reconciler.desired(`session ${sid}`)
    if (session?.kind !== 'session') return
    const route = peerRoute(this.devices, formatBe32(session.value.vaddrRemote), mtu)
    if (mtu < this.devices.mtu) this.reconciler.want(route)
    else this.reconciler.drop(keyOf(route))
  }

  dropPeer(index: number, vaddr: string): void {
    this.#fits.delete(index)
    this.reconciler.drop(keyOf(peerRoute(this.devices, vaddr, 0)))
    this.reconciler.drop(`vaddr ${vaddr}`)
    this.reconciler.drop(`peer ${index}`)
  }

  // Snapshot

  /** The role says what to remember; `save` has it written soon. */
  remember(items: () => Iterable<RuntimeItem>): void {
    const sessions = this.sessions
    function* all(): Iterable<RuntimeItem> {
      for (const session of sessions.values()) yield { sessions: session }
      yield* items()
    }
    this.#snapshots = new Snapshots({
      file: join(this.config.runDir, RUNTIME_FILE),
      pieces: () => runtimeItems({ abiHash: ABI_HASH, node: this.id }, all()),
      log: this.log,
    })
  }

  save(): void {
    this.#snapshots?.save()
  }

  saveNow(): void {
    this.#snapshots?.saveNow()
  }

  /** Ends this agent; the dataplane stays and forwards. */
  close(): void {
    this.saveNow()
    this.#snapshots = undefined
    this.reconciler.close()
    this.flowSweeper.stop()
    this.loop.close()
    this.wan.close()
    this.dataplane.close()
  }
}
