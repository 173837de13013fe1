/**
 * The edge role (seed A 0047-0048): keeps a tunnel with each gateway of its list whether or not the VPN is on, announces its subnets with their
 * reachable flags, and turns what gateways tell into routes.
 *
 *   orchestrator state -> gateways, grant, reachable flags -> announce
 *   netlink            -> LAN subnets and ports, WAN links -> announce, handshake sockets
 *   gateways           -> routes -> the best gateways of each prefix -> FIB
 *   twice a second     -> how good each gateway is (gateway-quality.ts) -> the same
 */

import { type Event as DataplaneEvent, eventType } from '../../schema/abi.gen.ts'
import type { Subnet } from '../../schema/common.ts'
import type { GatewayEntry, NodeEvent, NodeState } from '../../schema/node-state.ts'
import type { Identity } from '../identity.ts'
import { edgeSizes } from '../kernel/sizes.ts'
import { isRevoked } from '../mp/grant.ts'
import { Prober } from '../mp/prober.ts'
import { TimestampSource } from '../mp/timestamp.ts'
import type { Arrival } from '../node/links.ts'
import { NetworkWatch } from '../node/network-watch.ts'
import { Node, type NodeOptions } from '../node/node.ts'
import { every } from '../node/periodic.ts'
import { PathControl } from '../paths/control.ts'
import type { EdgeTable } from '../routes/edge-table.ts'
import { EdgeRoutes } from './edge-routes.ts'
import { GatewayList } from './gateway-list.ts'
import { CONFIRM_MS, GatewayQuality } from './gateway-quality.ts'
import { Lan } from './lan.ts'
import { EdgeMtus } from './mtus.ts'
import { adoptUplinks, snapshotUplinks } from './restart.ts'
import { Uplink } from './uplink.ts'

export interface EdgeOptions extends Omit<NodeOptions, 'onHandshakePacket' | 'onEvent' | 'node' | 'sizes'> {
  identity: Identity
  report: (event: Omit<NodeEvent, 'time'>) => void
}

/** How often gateways are measured and compared. */
const COMPARE_MS = 500

export class Edge {
  readonly node: Node
  readonly identity: Identity
  readonly lan: Lan
  readonly gateways: GatewayList
  readonly quality: GatewayQuality
  readonly routes: EdgeRoutes
  readonly #options: EdgeOptions
  readonly #prober: Prober
  readonly #mtus: EdgeMtus
  readonly paths: PathControl
  readonly #timestamps = new TimestampSource(Date.now)
  #announced = ''
  #work: Promise<void> = Promise.resolve()
  #timers: { stop(): void }[] = []
  readonly #confirmations = new Set<NodeJS.Timeout>()
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
    this.#mtus = new EdgeMtus(node, this.#prober, () => this.uplinks.values())
    this.paths = new PathControl({
      node,
      prober: this.#prober,
      quietMs: node.config.timers.probeMs / 2,
      changed: () => this.#pathChanged(),
    })
    this.gateways = new GatewayList({
      create: (entry, index) => this.#uplink(entry, index),
      graceMs: node.config.timers.graceMs,
      revoked: gateway => isRevoked(this.identity.trust(), gateway),
      changed: gateway => this.routes.changed(gateway),
      gone: gateway => this.routes.forget(gateway),
    })
    this.quality = new GatewayQuality(node, this.gateways, ({ addresses }, path) => {
      if (addresses) this.#prober.probe(addresses.vaddrLocal, addresses.vaddrRemote, path)
    })
    this.routes = new EdgeRoutes({ node, lan: this.lan, choice: this.quality.choice, uplinks: this.uplinks })
  }

  get uplinks(): ReadonlyMap<string, Uplink> {
    return this.gateways.uplinks
  }

  get table(): EdgeTable {
    return this.routes.table
  }

  async #begin(): Promise<void> {
    const { node } = this
    node.wantNodeConfig('0.0.0.0')
    const former = node.former?.peers.map(({ node: id, index }) => [id, index] as const)
    this.gateways.sync(this.identity.state().gateways, former)
    if (node.former) adoptUplinks(node.former, this)
    // The former agent's choice was by what the programs have measured, too.
    this.quality.measure()
    node.remember(() => snapshotUplinks(this))
    await this.#refreshLan()
    node.adopted()
    await node.reconciler.flush()
    for (const uplink of this.uplinks.values()) {
      if (uplink.addresses) await this.#prober.open(uplink.addresses.vaddrLocal)
      uplink.connect('start')
    }
    this.#watch = new NetworkWatch(node, () => this.#networkChanged())
    const tick = () => {
      for (const uplink of this.uplinks.values()) uplink.tick()
      this.#mtus.look()
    }
    this.#timers = [
      every(node.config.timers.probeMs, tick, node.log),
      every(COMPARE_MS, () => this.#compare(), node.log),
    ]
    node.save()
  }

  // What the orchestrator wants

  /** A newer state is in the identity. */
  stateChanged(before: NodeState): Promise<void> {
    return this.#serial(async () => {
      const state = this.identity.state()
      for (const uplink of this.gateways.sync(state.gateways)) uplink.connect('gateway added')
      await this.#refreshLan()
      await this.node.reconciler.flush()
      const moved = state.vpn?.enterprise !== before.vpn?.enterprise
      const policy = state.policy !== before.policy
      for (const uplink of this.uplinks.values()) {
        if (moved) uplink.connect('this node belongs to another enterprise')
        else if (state.grant !== before.grant) uplink.sendGrant()
        if (policy) uplink.policyChanged()
      }
      if (policy) await this.node.reconciler.flush()
      this.#announce()
    })
  }

  /** What a gateway may hear of. */
  subnets(gateway: string): Subnet[] {
    return this.gateways.hears(gateway) ? this.lan.announcedTo(gateway) : []
  }

  #uplink(gateway: GatewayEntry, index: number): Uplink {
    return new Uplink(gateway, index, {
      node: this.node,
      prober: this.#prober,
      paths: this.paths,
      staticKey: this.identity.staticKey,
      timestamps: this.#timestamps,
      grant: this.identity.signedGrant,
      trust: this.identity.trust,
      subnets: () => this.subnets(gateway.node),
      policyVersion: this.identity.policyVersion,
      policy: this.identity.signedPolicy,
      report: this.#options.report,
      onRoutes: (from, message) => this.routes.told(from.gateway.node, message),
      onState: changed => this.#onUplinkState(changed),
    })
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
    for (const { prefix, interface: name, source } of this.lan.newlyRefused()) {
      const message = `${prefix} (${source}, ${name}) is outside this node's grant and is not announced`
      const detail = { prefix, reason: 'outside-grant' }
      this.#options.report({ severity: 'warning', code: 'prefix-refused', message, detail })
    }
    this.routes.decideAll()
  }

  #announce(): void {
    const subnets = JSON.stringify(this.lan.announced)
    if (subnets === this.#announced) return
    this.#announced = subnets
    for (const uplink of this.uplinks.values()) uplink.announce()
    this.node.save()
  }

  onEvent(event: DataplaneEvent): void {
    this.node.log.debug({ type: event.type, handle: event.handle }, 'dataplane event')
    if (event.type !== eventType.EVENT_PATH_LEFT) return
    this.paths.told(event.handle)
    this.#mtus.silent(event.handle)
  }

  onPacket(packet: Uint8Array, arrival: Arrival): void {
    this.gateways.at(arrival.from)?.onPacket(packet, arrival)
  }

  // Gateways

  #onUplinkState(uplink: Uplink): void {
    if (uplink.state === 'stale') this.table.markStale(uplink.gateway.node)
    this.routes.changed(uplink.gateway.node)
    this.#flush()
  }

  /**
   * It may be a gateway's last that does not work: whoever else serves its routes takes over once that is sure, not at the next look. One timer for each
   * change: that of another gateway's path must not put this one's off.
   */
  #pathChanged(): void {
    if (this.#closed) return
    this.#compare()
    const confirmation = setTimeout(() => {
      this.#confirmations.delete(confirmation)
      this.#compare()
    }, CONFIRM_MS + 1)
    this.#confirmations.add(confirmation)
  }

  #compare(): void {
    if (!this.quality.measure()) return
    this.routes.decideAll()
    this.#flush()
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
    for (const timer of this.#timers) timer.stop()
    for (const confirmation of this.#confirmations) clearTimeout(confirmation)
    this.#watch?.close()
    this.#mtus.close()
    this.paths.stop()
    this.gateways.close('agent stops')
    this.#prober.close()
    this.node.close()
  }
}
