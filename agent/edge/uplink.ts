/**
 * An edge's relation with one gateway: handshake, session in the kernel, route session, liveness, renewal.
 *
 *   connecting --answer--> session installed --hello--> up --route session lost--> stale --hello--> up
 *        ^                                               |
 *        +------------- silent on all paths -- lost <----+      packets heard again: back to up or stale, nothing to do
 *
 * A new handshake never hurts the session in use: the new one is installed beside it, packets move over in one map write, the old one receives on
 * for the grace time. So renewal, a suspicion (reset hint, lost route session) and a real loss all take the same way.
 */
import type { Signed, TrustBundle } from '../../schema/grant.ts'
import type { InitPayload, ResponsePayload, SessionSecrets } from '../../schema/mpinit.ts'
import type { GatewayEntry, NodeEvent } from '../../schema/node-state.ts'
import { ROUTE_PORT, type RouteMessage } from '../../schema/route-messages.ts'
import type { Subnet } from '../../schema/common.ts'
import type { KeyPair } from '../mp/dh.ts'
import { createInitiator, type Initiator } from '../mp/initiator.ts'
import { parsePacket } from '../mp/packets.ts'
import type { Prober } from '../mp/prober.ts'
import type { RouteSession } from '../mp/route-session.ts'
import { dialRouteSession } from '../mp/route-dial.ts'
import { handleOf } from '../mp/session.ts'
import type { TimestampSource } from '../mp/timestamp.ts'
import type { Arrival } from '../node/links.ts'
import { type Node, pathConfOf } from '../node/node.ts'
import { type Candidate, candidates } from './candidates.ts'
import { EDGE_VRF } from './lan.ts'

export type UplinkState = 'connecting' | 'up' | 'stale' | 'lost' | 'refused'

export interface UplinkContext {
  node: Node
  prober: Prober
  staticKey: KeyPair
  timestamps: TimestampSource
  grant: () => Signed
  trust: () => TrustBundle
  subnets: () => Subnet[]
  policyVersion: () => number
  report: (event: Omit<NodeEvent, 'time'>) => void
  /** Route session messages other than the uplink's own. */
  onRoutes: (uplink: Uplink, message: RouteMessage) => void
  /** Usable or not has changed: routes through this gateway must be decided anew. */
  onState: (uplink: Uplink) => void
}

/** What the uplink knows of its gateway's end; survives the session, and the agent by the snapshot. */
export interface UplinkAddresses {
  vaddrLocal: string
  vaddrRemote: string
}

interface Attempt {
  initiator: Initiator
  sid: number
  offered: Candidate[]
  spis: Map<number, number>
  tries: number
  timer: NodeJS.Timeout | undefined
}

const MAX_RETRY_MS = 5000
const SWITCH_DEADLINE_MS = 5000
/** Hints and doubts cause at most one handshake in this time. */
const SUSPICION_MS = 1000

export class Uplink {
  readonly gateway: GatewayEntry
  readonly index: number
  readonly #context: UplinkContext
  state: UplinkState = 'connecting'
  reason: string | undefined
  addresses: UplinkAddresses | undefined
  sid = 0
  rekeys = 0
  since = Date.now()
  #attempt: Attempt | undefined
  #route: RouteSession | undefined
  #dialing = false
  #lastAttempt = 0
  #rekeyAt = Number.POSITIVE_INFINITY
  #switchTimer: NodeJS.Timeout | undefined
  #usable = new Set<number>()
  readonly #retired = new Set<NodeJS.Timeout>()
  #closed = false

  constructor(gateway: GatewayEntry, index: number, context: UplinkContext) {
    this.gateway = gateway
    this.index = index
    this.#context = context
  }

  /** Packets sent now arrive, as far as this node can know. */
  get usable(): boolean {
    return this.state === 'up' || this.state === 'stale'
  }

  /** The session of a former agent is in the kernel: use it on, and renew it, since its record keys died with that agent. */
  adopt(sid: number, addresses: UplinkAddresses, rekeys: number): void {
    this.sid = sid
    this.addresses = addresses
    this.rekeys = rekeys
    this.#setState('stale')
    this.#usable = new Set(this.#context.node.sessions.get(sid)?.paths.map(({ path }) => path))
  }

  // Handshake

  /** Starts a handshake unless one is under way. */
  connect(why: string): void {
    if (this.#closed || this.#attempt) return
    this.#context.node.log.debug({ gateway: this.gateway.name, why }, 'handshake')
    this.#lastAttempt = Date.now()
    const { node, staticKey } = this.#context
    const initiator = createInitiator({
      staticKey,
      responderStatic: Buffer.from(this.gateway.staticKey, 'base64'),
      trust: this.#context.trust,
      timestamps: this.#context.timestamps,
      now: Date.now,
    })
    this.#attempt = { initiator, sid: node.allocateSid(), offered: [], spis: new Map(), tries: 0, timer: undefined }
    this.#try()
  }

  #try(): void {
    const attempt = this.#attempt
    if (!attempt || this.#closed) return
    const { node } = this.#context
    attempt.offered = candidates(node.wan.links, this.gateway)
    const via = attempt.offered[attempt.tries % Math.max(1, attempt.offered.length)]
    attempt.tries += 1
    const wait = Math.min(MAX_RETRY_MS, node.config.timers.handshakeRetryMs * 2 ** Math.min(6, Math.floor((attempt.tries - 1) / 2)))
    attempt.timer = setTimeout(() => this.#try(), wait * (0.85 + 0.3 * Math.random()))
    if (!via) {
      this.reason = 'no WAN link can reach the gateway'
      return
    }
    const packet = attempt.initiator.start(attempt.sid, this.#payload(attempt, via))
    node.wan.socket(via.local.address)?.send(packet, via.remote)
  }

  #payload(attempt: Attempt, via: Candidate): Omit<InitPayload, 'timestamp'> {
    const { node } = this.#context
    const { esp } = node.capabilities
    for (const { path } of attempt.offered)
      if (esp && !attempt.spis.has(path)) attempt.spis.set(path, node.allocateSpi())
    return {
      grant: this.#context.grant(),
      replaces: node.sessions.get(this.sid)?.remoteSid ?? null,
      subnets: this.#context.subnets(),
      links: attempt.offered.map(({ path, link, family }) => ({
        path,
        name: link.name,
        family,
        mtu: link.mtu,
        spi: attempt.spis.get(path) ?? 0,
      })),
      via: via.path,
      capabilities: { esp },
      policyVersion: this.#context.policyVersion(),
      virtualAddress: this.addresses?.vaddrLocal ?? null,
    }
  }

  /** A handshake packet from one of the gateway's endpoints. */
  onPacket(packet: Uint8Array, arrival: Arrival): void {
    const parsed = parsePacket(packet)
    if (!parsed.ok) return
    if (parsed.packet.type === 'reset') return this.#onReset(parsed.packet.unknownSid)
    const attempt = this.#attempt
    if (!attempt) return
    const outcome = attempt.initiator.receive(packet)
    switch (outcome.kind) {
      case 'cookie':
        return arrival.socket.send(outcome.packet, arrival.from)
      case 'refused':
        this.#endAttempt()
        this.reason = outcome.message
        if (this.state !== 'refused')
          this.#context.report({ severity: 'error', code: 'handshake-refused', message: `${this.gateway.name} refuses: ${outcome.message}`, detail: { code: outcome.code } })
        if (!this.usable) this.#setState('refused')
        this.#lastAttempt = Date.now()
        return
      case 'established':
        this.#attempt = undefined
        clearTimeout(attempt.timer)
        this.#install(attempt, outcome.remoteSid, outcome.payload, outcome.secrets).catch(error => {
          this.#context.node.log.error({ err: error, gateway: this.gateway.name }, `session not installed: ${error.message}`)
        })
        return
      default:
        return
    }
  }

  #onReset(unknown: number): void {
    if (unknown !== this.#context.node.sessions.get(this.sid)?.remoteSid) return
    this.suspect('gateway does not know the session')
  }

  /** Something hints at trouble: look, by a handshake, but not often. */
  suspect(why: string): void {
    if (Date.now() - this.#lastAttempt >= SUSPICION_MS) this.connect(why)
  }

  #endAttempt(): void {
    const attempt = this.#attempt
    if (!attempt) return
    clearTimeout(attempt.timer)
    for (const spi of attempt.spis.values()) this.#context.node.releaseSpi(spi)
    this.#attempt = undefined
  }

  async #install(
    attempt: Attempt,
    remoteSid: number,
    payload: Extract<ResponsePayload, { ok: true }>,
    secrets: SessionSecrets,
  ): Promise<void> {
    const { node, prober } = this.#context
    const esp = node.capabilities.esp && payload.capabilities.esp
    const before = this.sid
    const oldAddresses = this.addresses
    this.addresses = { vaddrLocal: payload.virtualAddress, vaddrRemote: payload.peerAddress }
    const { vaddrLocal, vaddrRemote } = this.addresses
    node.reconciler.want({ kind: 'address', value: { ifindex: node.devices.mp0.ifindex, address: vaddrLocal, prefixLength: 32 } })
    node.reconciler.want({ kind: 'vaddr', address: vaddrRemote, peer: this.index })
    node.wantNodeConfig(vaddrLocal)
    node.installSession({
      sid: attempt.sid,
      remoteSid,
      peer: this.index,
      vrf: EDGE_VRF,
      vaddrLocal,
      vaddrRemote,
      policyVersion: this.#context.policyVersion(),
      tagTx: secrets.tagTx,
      tagRx: secrets.tagRx,
      paths: attempt.offered.flatMap(candidate => {
        const accepted = payload.paths.find(({ path }) => path === candidate.path)
        if (!accepted) return []
        const { path, link, local, remote } = candidate
        const mtu = Math.min(link.mtu, accepted.mtu)
        const conf = pathConfOf(local, remote, { ifindex: link.ifindex, mtu })
        return [{ path, link: link.name, spiIn: attempt.spis.get(path) ?? 0, spiOut: accepted.spi, mtu, conf }]
      }),
      ...(esp ? { esp: secrets.esp } : {}),
    })
    const receiving = await node.reconciler.flush()
    if (receiving.length > 0) {
      node.removeSession(attempt.sid)
      await node.reconciler.flush()
      this.#lastAttempt = Date.now()
      throw receiving[0]?.error ?? new Error('unknown failure')
    }
    // Both ends can receive on it: move.
    this.sid = attempt.sid
    if (before !== 0) this.rekeys += 1
    this.#usable = new Set(node.sessions.get(attempt.sid)?.paths.map(({ path }) => path))
    node.wantPeer(this.index, this.sid, this.#context.policyVersion(), () => true)
    await node.reconciler.flush()
    this.#rekeyAt = Date.now() + Math.min(payload.rekeyAfter, node.config.timers.rekeyAfterS) * 1000 * (0.9 + 0.1 * Math.random())
    await prober.open(vaddrLocal)
    if (oldAddresses && oldAddresses.vaddrLocal !== vaddrLocal) this.#dropAddresses(oldAddresses)
    this.reason = undefined
    if (this.#route && payload.replaced) this.#switch(remoteSid, secrets)
    else await this.#dial(remoteSid, secrets)
    if (before !== 0 && before !== this.sid) this.#retire(before)
  }

  #retire(sid: number): void {
    const { node } = this.#context
    const timer = setTimeout(() => {
      this.#retired.delete(timer)
      if (sid === this.sid) return
      node.removeSession(sid)
      node.reconciler.flush().catch(() => {})
    }, node.config.timers.graceMs)
    this.#retired.add(timer)
  }

  // Route session

  /** The route session goes on; both directions move to the new session's keys. */
  #switch(remoteSid: number, secrets: SessionSecrets): void {
    const route = this.#route
    if (!route) return
    clearTimeout(this.#switchTimer)
    this.#switchTimer = setTimeout(() => {
      route.close('no answer to switch')
    }, SWITCH_DEADLINE_MS)
    route.switchTo(remoteSid, { tx: secrets.recordTx, rx: secrets.recordRx }, () => clearTimeout(this.#switchTimer))
  }

  async #dial(remoteSid: number, secrets: SessionSecrets): Promise<void> {
    const { node } = this.#context
    if (!this.addresses) return
    this.#route?.close('a new session replaces it')
    this.#route = undefined
    this.#dialing = true
    try {
      const route = await dialRouteSession(node.net, {
        from: this.addresses.vaddrLocal,
        to: { address: this.addresses.vaddrRemote, port: ROUTE_PORT },
        sid: remoteSid,
        keys: { tx: secrets.recordTx, rx: secrets.recordRx },
        deadlineMs: 2 * node.config.timers.silentMs,
        onMessage: message => this.#onMessage(message),
        onClose: (session, reason) => this.#onRouteClosed(session, reason),
      })
      this.#route = route
      route.send({ type: 'hello', node: this.#context.node.id, virtualAddress: this.addresses.vaddrLocal, version: 1 })
      this.announce(true)
      route.send({ type: 'end-of-rib' })
    } catch (error) {
      this.reason = `route session: ${error instanceof Error ? error.message : String(error)}`
      this.#lastAttempt = Date.now()
    } finally {
      this.#dialing = false
    }
  }

  #onMessage(message: RouteMessage): void {
    if (message.type === 'hello') {
      const back = this.state === 'lost' || this.state === 'connecting' || this.state === 'refused'
      this.#setState('up')
      if (back) this.#context.report({ severity: 'info', code: 'gateway-up', message: `connected to ${this.gateway.name}` })
      return
    }
    if (message.type === 'refused')
      this.#context.report({ severity: 'warning', code: 'prefix-refused', message: `${this.gateway.name}: ${message.message}`, detail: { prefix: message.prefix, reason: message.code } })
    else if (message.type === 'policy-request')
      this.#route?.send({ type: 'policy', version: this.#context.policyVersion(), classes: [] })
    else this.#context.onRoutes(this, message)
  }

  #onRouteClosed(route: RouteSession, reason: string): void {
    if (this.#route !== route) return
    this.#route = undefined
    clearTimeout(this.#switchTimer)
    this.#context.node.log.info({ gateway: this.gateway.name, reason }, `route session with ${this.gateway.name} ended`)
    this.reason = reason
    if (this.state === 'up') this.#setState('stale')
  }

  announce(full: boolean): void {
    this.#route?.send({ type: 'announce', full, subnets: this.#context.subnets() })
  }

  sendGrant(): void {
    this.#route?.send({ type: 'grant', grant: this.#context.grant() })
  }

  // Time

  /** Every probeMs: probes, path and peer liveness, renewal, and the next try where something is missing. */
  tick(now: number): void {
    this.#checkPaths()
    const rest = now - this.#lastAttempt
    if (this.#attempt || this.#dialing) return
    if (now >= this.#rekeyAt) {
      this.#rekeyAt = Number.POSITIVE_INFINITY
      this.connect('renewal')
    } else if (this.state === 'refused') {
      if (rest >= MAX_RETRY_MS) this.connect('refused before')
    } else if ((this.state === 'lost' || !this.#route) && rest >= this.#context.node.config.timers.handshakeRetryMs) {
      this.connect(this.state === 'lost' ? 'gateway is silent' : 'no route session')
    }
  }

  #checkPaths(): void {
    const { node, prober } = this.#context
    const session = node.sessions.get(this.sid)
    if (!session || !this.addresses) return
    const { probeMs, silentMs } = node.config.timers
    const alive = new Set<number>()
    for (const { path } of session.paths) {
      const idle = node.pathIdleMs(handleOf(this.sid, path)) ?? Date.now() - session.created
      if (idle >= probeMs / 2) prober.probe(this.addresses.vaddrLocal, this.addresses.vaddrRemote, path)
      if (idle <= silentMs) alive.add(path)
    }
    if (alive.size === 0) {
      if (this.usable) this.#lose()
      return
    }
    if (alive.size !== this.#usable.size || [...alive].some(path => !this.#usable.has(path))) {
      this.#usable = alive
      node.wantPeer(this.index, this.sid, this.#context.policyVersion(), path => alive.has(path))
      node.reconciler.flush().catch(() => {})
    }
    if (this.state === 'lost') this.#setState(this.#route ? 'up' : 'stale')
  }

  #lose(): void {
    this.#setState('lost')
    this.reason = 'silent on all paths'
    this.#context.report({ severity: 'warning', code: 'gateway-lost', message: `${this.gateway.name} is silent on all paths` })
  }

  #setState(state: UplinkState): void {
    if (this.state === state) return
    const before = this.usable
    this.state = state
    this.since = Date.now()
    if (this.usable !== before || state === 'stale') this.#context.onState(this)
  }

  #dropAddresses({ vaddrLocal, vaddrRemote }: UplinkAddresses): void {
    const { node, prober } = this.#context
    prober.release(vaddrLocal)
    node.reconciler.drop(`address ${node.devices.mp0.ifindex} ${vaddrLocal}/32`)
    if (vaddrRemote !== this.addresses?.vaddrRemote) node.reconciler.drop(`vaddr ${vaddrRemote}`)
  }

  /** The agent stops: nothing of the session is touched. */
  close(reason: string): void {
    this.#closed = true
    this.#endAttempt()
    clearTimeout(this.#switchTimer)
    for (const timer of this.#retired) clearTimeout(timer)
    this.#route?.close(reason)
  }

  /** The gateway left the list: its sessions go too. */
  remove(): void {
    this.close('gateway removed from the list')
    const { node } = this.#context
    for (const session of [...node.sessions.values()]) if (session.peer === this.index) node.removeSession(session.sid)
    if (this.addresses) {
      this.#dropAddresses(this.addresses)
      node.dropPeer(this.index, this.addresses.vaddrRemote)
    }
  }
}
