/**
 * The edge role (seed A 0047-0048): keeps a tunnel with each gateway of its list whether or not the VPN is on, announces its subnets with their
 * reachable flags, and turns what gateways tell into routes.
 *
 *   orchestrator state -> gateways, grant, reachable flags -> announce
 *   netlink            -> LAN subnets and ports, WAN links -> announce, handshake sockets
 *   gateways           -> routes -> best per prefix -> FIB
 */

import type { Event as DataplaneEvent } from '../../schema/abi.gen.ts'
import { ABI_NH_F_SECURE } from '../../schema/abi.gen.ts'
import type { Subnet } from '../../schema/common.ts'
import type { NodeEvent, NodeState } from '../../schema/node-state.ts'
import type { RouteMessage } from '../../schema/route-messages.ts'
import type { Identity } from '../identity.ts'
import { edgeSizes } from '../kernel/sizes.ts'
import { Prober } from '../mp/prober.ts'
import { TimestampSource } from '../mp/timestamp.ts'
import type { Arrival } from '../node/links.ts'
import { NetworkWatch } from '../node/network-watch.ts'
import { unreachable, viaPeer } from '../node/nexthops.ts'
import { Node, type NodeOptions } from '../node/node.ts'
import { every } from '../node/periodic.ts'
import { EdgeTable } from '../routes/edge-table.ts'
import { EDGE_VRF, Lan } from './lan.ts'
import { adoptUplinks, snapshotUplinks } from './restart.ts'
import { Uplink } from './uplink.ts'

export interface EdgeOptions extends Omit<NodeOptions, 'onHandshakePacket' | 'onEvent' | 'node' | 'sizes'> {
  identity: Identity
  report: (event: Omit<NodeEvent, 'time'>) => void
}

const POLICY_VERSION = 1

export class Edge {
  readonly node: Node
  readonly identity: Identity
  readonly lan: Lan
  readonly uplinks = new Map<string, Uplink>()
  readonly table: EdgeTable
  readonly #options: EdgeOptions
  readonly #prober: Prober
  readonly #timestamps = new TimestampSource(Date.now)
  #announced = ''
  #refused = new Set<string>()
  #work: Promise<void> = Promise.resolve()
  #tick: { stop(): void } | undefined
  #watch: NetworkWatch | undefined
  #closed = false

  static async start(options: EdgeOptions): Promise<Edge> {
    let edge: Edge | undefined
    const node = await Node.open({
      ...options,
      sizes: edgeSizes,
      node: options.identity.node,
      onHandshakePacket: (packet, arrival) => edge?.onPacket(packet, arrival),
      onEvent: event => edge?.onEvent(event),
    })
    edge = new Edge(node, options)
    try {
      await edge.#begin()
    } catch (error) {
      edge.close()
      throw error
    }
    return edge
  }

  private constructor(node: Node, options: EdgeOptions) {
    this.node = node
    this.identity = options.identity
    this.#options = options
    this.lan = new Lan(node)
    this.#prober = new Prober(options.net)
    this.table = new EdgeTable(gateway => {
      const uplink = this.uplinks.get(gateway)
      return uplink?.usable ? uplink.gateway.metric : undefined
    })
  }

  async #begin(): Promise<void> {
    const { node } = this
    node.wantNodeConfig('0.0.0.0')
    this.#syncUplinks(node.former?.peers.map(({ node: id, index }) => [id, index] as const) ?? [])
    if (node.former) adoptUplinks(node.former, this)
    node.remember(() => snapshotUplinks(this))
    await this.#refreshLan()
    node.adopted()
    await node.reconciler.flush()
    for (const uplink of this.uplinks.values()) {
      if (uplink.addresses) await this.#prober.open(uplink.addresses.vaddrLocal)
      uplink.connect('start')
    }
    this.#watch = new NetworkWatch(node, () => this.#networkChanged())
    this.#tick = every(
      node.config.timers.probeMs,
      () => {
        for (const uplink of this.uplinks.values()) uplink.tick()
      },
      node.log,
    )
    node.save()
  }

  // What the orchestrator wants

  /** A newer state is in the identity. */
  stateChanged(before: NodeState): Promise<void> {
    return this.#serial(async () => {
      const state = this.identity.state()
      this.#syncUplinks([])
      await this.#refreshLan()
      await this.node.reconciler.flush()
      const moved = state.vpn?.enterprise !== before.vpn?.enterprise
      for (const uplink of this.uplinks.values()) {
        if (moved) uplink.connect('this node belongs to another enterprise')
        else if (state.grant !== before.grant) uplink.sendGrant()
      }
      this.#announce()
    })
  }

  subnets(): Subnet[] {
    return this.lan.announced.map(({ prefix, reachable }) => ({ prefix, reachable }))
  }

  #syncUplinks(former: readonly (readonly [string, number])[]): void {
    const gateways = this.identity.state().gateways
    const indexes = new Map(former)
    for (const [id, uplink] of this.uplinks) {
      const entry = gateways.find(gateway => gateway.node === id)
      if (entry && entry.staticKey === uplink.gateway.staticKey) {
        if (JSON.stringify(entry) === JSON.stringify(uplink.gateway)) continue
        uplink.update(entry)
        this.#decide(this.table.via(id))
        continue
      }
      this.uplinks.delete(id)
      uplink.remove()
      this.#decide(this.table.forget(id, this.table.via(id)))
    }
    for (const gateway of gateways) {
      if (this.uplinks.has(gateway.node)) continue
      const uplink = new Uplink(gateway, indexes.get(gateway.node) ?? this.#freeIndex(indexes), {
        node: this.node,
        prober: this.#prober,
        staticKey: this.identity.staticKey,
        timestamps: this.#timestamps,
        grant: this.identity.signedGrant,
        trust: this.identity.trust,
        subnets: () => this.subnets(),
        policyVersion: () => POLICY_VERSION,
        report: this.#options.report,
        onRoutes: (from, message) => this.#onRoutes(from, message),
        onState: changed => this.#onUplinkState(changed),
      })
      this.uplinks.set(gateway.node, uplink)
      if (this.#tick) uplink.connect('gateway added')
    }
  }

  #freeIndex(reserved: ReadonlyMap<string, number>): number {
    const used = new Set([...reserved.values(), ...[...this.uplinks.values()].map(uplink => uplink.index)])
    let index = 1
    while (used.has(index)) index += 1
    return index
  }

  // What the kernel tells

  #networkChanged(): Promise<void> {
    return this.#serial(async () => {
      await this.node.refreshWan()
      for (const uplink of this.uplinks.values()) uplink.linksChanged()
      await this.#refreshLan()
      await this.node.reconciler.flush()
      this.#announce()
    })
  }

  async #refreshLan(): Promise<void> {
    const { vpn } = this.identity.state()
    await this.lan.refresh(vpn?.subnets ?? [], vpn?.security ?? 'esp')
    const refused = new Set(this.lan.refused.map(({ prefix }) => prefix))
    for (const { prefix, interface: name, source } of this.lan.refused) {
      if (this.#refused.has(prefix)) continue
      const message = `${prefix} (${source}, ${name}) is outside this node's grant and is not announced`
      this.#options.report({
        severity: 'warning',
        code: 'prefix-refused',
        message,
        detail: { prefix, reason: 'outside-grant' },
      })
    }
    this.#refused = refused
    // A prefix that was local may be a gateway's now, and the other way round.
    this.#decide(this.table.prefixes())
  }

  #announce(): void {
    const subnets = JSON.stringify(this.subnets())
    if (subnets === this.#announced) return
    this.#announced = subnets
    for (const uplink of this.uplinks.values()) uplink.announce()
    this.node.save()
  }

  onEvent(event: DataplaneEvent): void {
    this.node.log.debug({ type: event.type, handle: event.handle }, 'dataplane event')
  }

  onPacket(packet: Uint8Array, arrival: Arrival): void {
    for (const uplink of this.uplinks.values()) {
      const known = uplink.gateway.endpoints.some(
        ({ address, port }) => address === arrival.from.address && port === arrival.from.port,
      )
      if (!known) continue
      uplink.onPacket(packet, arrival)
      return
    }
  }

  // What gateways tell

  #onRoutes(uplink: Uplink, message: RouteMessage): void {
    const gateway = uplink.gateway.node
    switch (message.type) {
      case 'routes': {
        const others = message.routes.filter(route => route.owner !== this.node.id)
        if (message.full) this.table.markStale(gateway)
        this.#decide(this.table.learn(gateway, others, false))
        break
      }
      case 'unroutes':
        this.#decide(this.table.forget(gateway, message.prefixes))
        break
      case 'end-of-rib':
        this.#decide(this.table.sweepStale(gateway))
        break
      default:
        return
    }
    this.#flush()
  }

  #onUplinkState(uplink: Uplink): void {
    if (uplink.state === 'stale') this.table.markStale(uplink.gateway.node)
    this.#decide(this.table.via(uplink.gateway.node))
    this.#flush()
  }

  #decide(prefixes: Iterable<string>): void {
    for (const prefix of prefixes) {
      if (this.lan.owns(prefix)) continue
      const decision = this.table.best(prefix)
      if (!decision) {
        this.node.fib.delete(EDGE_VRF, prefix)
        continue
      }
      const flags = decision.route.security === 'esp' ? ABI_NH_F_SECURE : 0
      const peer = decision.kind === 'via' ? this.uplinks.get(decision.route.gateway)?.index : undefined
      this.node.fib.set(EDGE_VRF, prefix, peer === undefined ? unreachable(flags) : viaPeer(peer, flags))
    }
    this.node.save()
  }

  #flush(): void {
    this.node.reconciler.flush().catch(error => this.node.log.error({ err: error }, 'flush failed'))
  }

  /** State and network changes are handled one after the other. */
  #serial(work: () => Promise<void>): Promise<void> {
    const run = this.#work.then(() => (this.#closed ? undefined : work()))
    this.#work = run.catch(() => {})
    return run
  }

  /** Ends the agent and leaves the dataplane forwarding. */
  close(): void {
    this.#closed = true
    this.#tick?.stop()
    this.#watch?.close()
    for (const uplink of this.uplinks.values()) uplink.close('agent stops')
    this.#prober.close()
    this.node.close()
  }
}
