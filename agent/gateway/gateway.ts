/**
 * The gateway role (seed A 0041-0049): edges configure it by MP_INIT and their route sessions; it knows nothing that they cannot tell again.
 *
 *   datagram -> responder -> admission -> sessions in the kernel -> answer
 *   route session -> VRF tables -> FIB, and messages to the enterprise's other edges
 *   every probeMs: who is silent loses its routes; who is heard again gets them back
 */
import type { Event as DataplaneEvent } from '../../schema/abi.gen.ts'
import type { NodeEvent } from '../../schema/node-state.ts'
import { ROUTE_PORT } from '../../schema/route-messages.ts'
import type { Identity } from '../identity.ts'
import { gatewaySizes } from '../kernel/sizes.ts'
import { WorkQueue } from '../loop/queue.ts'
import { prefixAllowed, verifyGrant } from '../mp/grant.ts'
import { LEAST_MTU } from '../mp/mtu.ts'
import type { ByteStream, Listener } from '../mp/net.ts'
import { Prober } from '../mp/prober.ts'
import { queuedStream } from '../mp/queued-stream.ts'
import type { Arrival } from '../node/links.ts'
import { NetworkWatch } from '../node/network-watch.ts'
import { Node, type NodeOptions } from '../node/node.ts'
import { every } from '../node/periodic.ts'
import type { RuntimeItem } from '../node/runtime.ts'
import { PathControl } from '../paths/control.ts'
import { linuxDrivers } from '../services/drivers/index.ts'
import { Services } from '../services/services.ts'
import { AddressPool } from './address-pool.ts'
import { DataplaneEvents } from './dataplane-events.ts'
import { Handshakes } from './handshakes.ts'
import { Liveness } from './liveness.ts'
import { type EdgePeer, EdgePeers } from './peers.ts'
import { Policies } from './policies.ts'
import { adoptPeers, snapshotPeers } from './restart.ts'
import { acceptRouteSession } from './route-listener.ts'
import { type RoutePeerContext, renewGrant } from './route-peer.ts'
import { Upstream } from './upstream.ts'
import { type Vrf, Vrfs } from './vrfs.ts'

export interface GatewayOptions extends Omit<NodeOptions, 'onHandshakePacket' | 'onEvent' | 'node' | 'sizes'> {
  identity: Identity
  report: (event: Omit<NodeEvent, 'time'>) => void
}

/** An edge that never proves its keys is forgotten after so long. */
const CONFIRM_MS = 10_000

export class Gateway {
  readonly node: Node
  readonly identity: Identity
  readonly peers = new EdgePeers()
  readonly vrfs: Vrfs
  readonly policies: Policies
  readonly services: Services
  readonly #upstream: Upstream
  readonly #options: GatewayOptions
  readonly #pool: AddressPool
  readonly handshakes: Handshakes
  readonly #prober: Prober
  readonly paths: PathControl
  readonly #routeContext: RoutePeerContext
  readonly #timers = new Set<NodeJS.Timeout>()
  /** What edges send on their route sessions. */
  readonly #queue = new WorkQueue()
  #listener: Listener | undefined
  #tick: { stop(): void } | undefined
  #watch: NetworkWatch | undefined
  readonly #events: DataplaneEvents
  readonly #liveness: Liveness
  #closed = false

  static async start(options: GatewayOptions): Promise<Gateway> {
    let gateway: Gateway | undefined
    const node = await Node.open({
      ...options,
      sizes: gatewaySizes,
      relays: true,
      node: options.identity.node,
      onHandshakePacket: (packet, arrival) => gateway?.onPacket(packet, arrival),
      onEvent: event => gateway?.onEvent(event),
    })
    gateway = new Gateway(node, options)
    try {
      await gateway.#begin()
    } catch (error) {
      gateway.close()
      throw error
    }
    return gateway
  }

  private constructor(node: Node, options: GatewayOptions) {
    this.node = node
    this.identity = options.identity
    this.#options = options
    this.#pool = new AddressPool(options.identity.virtualPool())
    this.#prober = new Prober(options.net)
    const { probeMs, silentMs } = options.config.timers
    // Edges, which ask far sooner, do most of the asking.
    this.paths = new PathControl({ node, prober: this.#prober, quietMs: Math.min(3 * probeMs, silentMs) })
    this.#upstream = new Upstream(node)
    this.vrfs = new Vrfs({
      own: { node: options.identity.node, name: options.identity.grant().nodeName },
      fib: node.fib,
      flush: () => this.#flush(),
      busy: () => !this.#queue.empty,
      onTaken: (vrf, taken) => this.#reportTaken(vrf, taken),
      onGone: vrf => this.services.setPolicy(vrf.id, vrf.enterprise, undefined),
      onError: error => node.log.error({ err: error }, 'routes not told'),
    })
    this.policies = new Policies({
      vrfs: this.vrfs,
      trust: options.identity.trust,
      now: () => node.now(),
      changed: vrf => this.#policyChanged(vrf),
      learned: peer => this.#policyLearned(peer),
      report: options.report,
    })
    this.services = new Services({
      node,
      config: options.config.services,
      drivers: linuxDrivers(options.config.runDir, node.kernel.network),
      report: options.report,
    })
    this.#routeContext = {
      vrfs: this.vrfs,
      virtualAddress: this.#pool.own,
      node: options.identity.node,
      allowed: prefixAllowed,
      verify: signed => {
        const result = verifyGrant(signed, options.identity.trust(), { now: Date.now() / 1000 })
        return result.ok ? result.grant : result.message
      },
      switchTo: (peer, sid) => this.#switchTo(peer, sid),
      policyTold: (peer, message) => this.policies.told(peer, message),
      pathMtu: (peer, path, mtu) => this.#pathMtu(peer, path, mtu),
      report: options.report,
      changed: () => node.save(),
      failed: error => node.log.error({ err: error }, 'routes not told'),
    }
    const { peers } = this
    this.handshakes = new Handshakes({
      identity: options.identity,
      config: options.config.handshake,
      admission: {
        node,
        pool: this.#pool,
        peers,
        vrfs: this.vrfs,
        paths: this.paths,
        evict: (peer, reason) => this.remove(peer, reason),
        renew: (peer, grant, signed) => renewGrant(this.#routeContext, peer, grant, signed),
      },
      installed: (peer, sid) => this.#later(CONFIRM_MS, () => this.#forgetUnconfirmed(peer, sid)),
      report: options.report,
    })
    this.#events = new DataplaneEvents({
      node,
      peers,
      moved: (peer, sid) => this.#moved(peer, sid),
      policyAhead: (peer, version) => this.policies.ahead(peer, version),
      left: handle => this.paths.told(handle),
    })
    this.#liveness = new Liveness({
      node,
      peers,
      paths: this.paths,
      routes: this.#routeContext,
      report: options.report,
      remove: (peer, reason) => this.remove(peer, reason),
      expireStale: peer => this.#expireStale(peer),
    })
  }

  async #begin(): Promise<void> {
    const { node } = this
    const own = this.#pool.own
    node.reconciler.want({
      kind: 'address',
      value: { ifindex: node.devices.mp0.ifindex, address: own, prefixLength: 32 },
    })
    node.wantNodeConfig(own)
    await this.#upstream.refresh()
    if (node.former) {
      adoptPeers(node.former, {
        node,
        peers: this.peers,
        vrfs: this.vrfs,
        pool: this.#pool,
        paths: this.paths,
        timestamps: this.handshakes.timestamps,
        trust: this.#options.identity.trust,
      })
      this.policies.adopt(node.former)
    }
    await this.services.adopt(enterprise => this.vrfs.get(enterprise)?.id)
    node.remember(() => this.#snapshot())
    node.adopted()
    await node.reconciler.flush()
    await this.#prober.open(own)
    this.#listener = await node.net.listen({ address: own, port: ROUTE_PORT }, stream => this.#onStream(stream))
    for (const peer of this.peers.all()) this.#expireStale(peer)
    this.#watch = new NetworkWatch(node, () => this.#networkChanged())
    this.#tick = every(node.config.timers.probeMs, () => this.#everyProbe(), node.log)
  }

  *#snapshot(): Iterable<RuntimeItem> {
    yield* snapshotPeers(this.peers, this.vrfs, this.#pool.own, this.handshakes.timestamps)
    yield* this.policies.snapshot()
  }

  async #networkChanged(): Promise<void> {
    await this.node.refreshWan()
    if (await this.#upstream.refresh()) for (const vrf of this.vrfs.all()) this.#offerInternet(vrf)
    await this.node.reconciler.flush()
  }

  // Handshake

  onPacket(packet: Uint8Array, arrival: Arrival): void {
    this.handshakes.receive(packet, arrival)
  }

  #forgetUnconfirmed(peer: EdgePeer, sid: number): void {
    if (peer.unproved !== sid) return
    this.peers.settled(peer, sid)
    if (peer.state === 'connecting') this.remove(peer, 'never proved its keys')
    else this.#retire(peer, sid, 0)
  }

  // Route sessions

  #onStream(stream: ByteStream): void {
    acceptRouteSession(queuedStream(stream, this.#queue), {
      context: this.#routeContext,
      secretsOf: sid => this.peers.secretsOf(sid),
      peerOf: sid => this.peers.ofSession(sid),
      confirmed: (peer, sid) => this.#confirmed(peer, sid),
      closed: (peer, reason) => this.#routeClosed(peer, reason),
      log: this.node.log,
    })
  }

  /** The edge holds the keys of session `sid`: it may have routes now, and older sessions may go. */
  async #confirmed(peer: EdgePeer, sid: number): Promise<void> {
    const before = peer.state
    this.peers.settled(peer, sid)
    this.#setState(peer, 'up')
    peer.vrf?.table.markStale(peer.node)
    await this.#switchTo(peer, sid)
    if (before === 'connecting' || before === 'lost')
      this.#options.report({
        severity: 'info',
        code: 'edge-up',
        message: `${peer.grant.nodeName} is connected`,
        detail: { node: peer.node },
      })
  }

  #routeClosed(peer: EdgePeer, reason: string): void {
    peer.route = undefined
    if (this.#closed) return
    const member = peer.vrf?.members.get(peer.node)
    if (member) member.tell = undefined
    peer.vrf?.table.markStale(peer.node)
    if (peer.state === 'up') this.#setState(peer, 'stale')
    this.node.log.info({ node: peer.node, reason }, `route session with ${peer.grant.nodeName} ended`)
    this.#expireStale(peer)
  }

  /** Routes outlive their route session for a while: the edge's packets still flow and it will dial again. */
  #expireStale(peer: EdgePeer): void {
    this.#later(this.node.config.timers.staleRoutesMs, () => {
      if (peer.route || this.peers.get(peer.node) !== peer || !peer.vrf) return
      this.vrfs.withdrawn(peer.vrf, peer.vrf.table.sweepStale(peer.node))
    })
  }

  #reportTaken(vrf: Vrf, { owner, prefix }: { owner: string; prefix: string }): void {
    const name = vrf.members.get(owner)?.name ?? owner
    const message = `${prefix} of ${name} is taken: nothing overlaps it any more`
    this.#options.report({ severity: 'info', code: 'prefix-taken', message, detail: { prefix, node: owner } })
    this.node.save()
  }

  async #switchTo(peer: EdgePeer, sid: number): Promise<void> {
    const session = this.node.sessions.get(sid)
    if (!session || !peer.sessions.has(sid)) return
    this.peers.settled(peer, sid)
    if (peer.sid !== sid) peer.rekeys += 1
    peer.sid = sid
    peer.esp = session.esp
    peer.paths.use(sid)
    await this.node.reconciler.flush()
    for (const other of peer.sessions)
      if (other !== sid && other !== peer.unproved) this.#retire(peer, other, this.node.config.timers.graceMs)
    this.node.save()
  }

  /** An old session still receives for a while: packets sent on it are under way. */
  #retire(peer: EdgePeer, sid: number, afterMs: number): void {
    this.#later(afterMs, () => {
      if (peer.sid === sid || !peer.sessions.has(sid)) return
      this.peers.removeSession(peer, sid)
      this.node.sessions.remove(sid)
      this.#flush()
    })
  }

  // Dataplane events

  onEvent(event: DataplaneEvent): void {
    this.#events.take(event)
  }

  #moved(peer: EdgePeer, sid: number): void {
    if (peer.sid === sid) {
      peer.paths.hurry()
      peer.paths.steer()
    }
    this.#flush()
  }

  #pathMtu(peer: EdgePeer, path: number, mtu: number): void {
    if (mtu > 0 && mtu < LEAST_MTU[4]) return
    this.node.setPathMtu(peer.sid, path, mtu)
    this.#flush()
  }

  // Policies

  #policyChanged(vrf: Vrf): void {
    this.services.setPolicy(vrf.id, vrf.enterprise, vrf.policy?.policy)
    this.#offerInternet(vrf)
    this.#flush()
    this.node.save()
  }

  /** Where policy wants it and there is a way; another gateway's is used otherwise. */
  #offerInternet(vrf: Vrf): void {
    const policy = vrf.policy?.policy
    const target = policy?.internet ? this.#upstream.nexthop(policy.secure) : undefined
    const security = policy?.secure ? 'esp' : 'clear'
    this.vrfs.offer(vrf, target && { prefixes: this.#upstream.prefixes, target, security })
  }

  #policyLearned(peer: EdgePeer): void {
    this.node.learnedPolicy(peer.sid, peer.policyVersion)
    if (peer.paths.sid !== 0) peer.paths.steer()
    this.#flush()
  }

  // Liveness

  #everyProbe(): Promise<void> {
    this.#events.refill(this.node.config.timers.probeMs)
    return this.#liveness.check()
  }

  #setState(peer: EdgePeer, state: EdgePeer['state']): void {
    peer.state = state
    peer.since = this.node.now()
  }

  /** Forgets an edge: routes, sessions, address. */
  remove(peer: EdgePeer, reason: string): void {
    if (this.peers.get(peer.node) !== peer) return
    this.#options.report({
      severity: 'warning',
      code: 'edge-removed',
      message: `${peer.grant.nodeName} removed: ${reason}`,
      detail: { node: peer.node },
    })
    const sessions = [...peer.sessions]
    this.peers.remove(peer)
    this.paths.forget(peer.paths)
    peer.route?.close(reason)
    if (peer.vrf) this.vrfs.leave(peer.vrf, peer.node)
    for (const sid of sessions) this.node.sessions.remove(sid)
    this.node.dropPeer(peer.index, peer.vaddr)
    this.#pool.giveBack(peer.vaddr)
    this.#flush()
    this.node.save()
  }

  /** New trust from the orchestrator: edges that it revokes are gone at once. */
  trustChanged(): void {
    const trust = this.#options.identity.trust()
    for (const peer of [...this.peers.all()]) {
      if (!peer.signedGrant) continue
      const result = verifyGrant(peer.signedGrant, trust, { now: Date.now() / 1000 })
      if (!result.ok) this.remove(peer, result.message)
    }
  }

  #later(ms: number, action: () => void): void {
    if (this.#closed) return
    const timer = setTimeout(() => {
      this.#timers.delete(timer)
      action()
    }, ms)
    this.#timers.add(timer)
  }

  #flush(): void {
    this.node.reconciler.flush().catch(error => this.node.log.error({ err: error }, 'flush failed'))
  }

  /** Ends the agent and leaves the dataplane forwarding. */
  close(): void {
    this.#closed = true
    this.#tick?.stop()
    this.#liveness.close()
    this.paths.stop()
    this.#watch?.close()
    for (const timer of this.#timers) clearTimeout(timer)
    this.services.close()
    this.vrfs.close()
    this.#queue.clear()
    this.#listener?.close()
    for (const peer of this.peers.all()) peer.route?.close('agent stops')
    this.#prober.close()
    this.handshakes.close()
    this.node.close()
  }
}
