/**
 * An edge's relation with one gateway: handshake, session in the kernel, route session, liveness, renewal.
 *
 *   connecting --answer--> session installed --hello--> up --route session lost--> stale --hello--> up
 *        ^                                               |
 *        +------------- silent on all paths -- lost <----+      packets heard again: back to up or stale, nothing to do
 *
 * A new handshake never hurts the session in use: the new one is installed beside it, packets move over in one map write, the old one receives on
 * for the grace time. So renewal, a suspicion (reset hint, lost route session) and a real loss all take the same way. One at a time: from the first
 * initiation until the route session speaks over the new session no other begins.
 */
import type { InitPayload, SessionSecrets } from '../../schema/mpinit.ts'
import type { GatewayEntry } from '../../schema/node-state.ts'
import type { RouteMessage } from '../../schema/route-messages.ts'
import { createInitiator } from '../mp/initiator.ts'
import { statementOf } from '../mp/link-traits.ts'
import { parsePacket } from '../mp/packets.ts'
import { PathWatch } from '../mp/path-watch.ts'
import { handleOf } from '../mp/session.ts'
import type { Arrival } from '../node/links.ts'
import { pathConfOf } from '../node/node.ts'
import { Announcer } from './announcer.ts'
import { type Candidate, candidates } from './candidates.ts'
import { EdgeHandshake, type Offer, retryPauseMs } from './handshake.ts'
import { Retirement } from './retirement.ts'
import { type Accepted, sessionSpec } from './session-spec.ts'
import type { UplinkContext } from './uplink-context.ts'
import { UplinkRoute } from './uplink-route.ts'

export type UplinkState = 'connecting' | 'up' | 'stale' | 'lost' | 'refused'

/** What the uplink knows of its gateway's end; survives the session, and the agent by the snapshot. */
export interface UplinkAddresses {
  vaddrLocal: string
  vaddrRemote: string
}

const REFUSED_PAUSE_MS = 5000
/** Hints and doubts cause at most one initiation in this time. */
const SUSPICION_MS = 1000

/** Initiations without an answer after which a person is told what to look at. */
const UNANSWERED = 3

export class Uplink {
  gateway: GatewayEntry
  readonly index: number
  readonly #context: UplinkContext
  readonly #paths: PathWatch
  readonly #route: UplinkRoute
  readonly #announcer = new Announcer()
  state: UplinkState = 'connecting'
  reason: string | undefined
  addresses: UplinkAddresses | undefined
  sid = 0
  rekeys = 0
  #handshake: EdgeHandshake | undefined
  /** An answer is being turned into a session. */
  #installing = false
  /** ms, monotonic, as all times here. */
  #lastAttempt = 0
  #pauseMs = 0
  /** Handshakes since the gateway last said hello. */
  #failures = 0
  #rekeyAt = Number.POSITIVE_INFINITY
  #usable = new Set<number>()
  /** The session on which the gateway last spoke: it sends on that one until it hears of another. */
  #confirmed = 0
  readonly #retirement: Retirement
  /** The last refusal that was reported. */
  #refusal: string | undefined
  #closed = false

  constructor(gateway: GatewayEntry, index: number, context: UplinkContext) {
    this.gateway = gateway
    this.index = index
    this.#context = context
    this.#paths = new PathWatch(context.node, context.prober)
    this.#retirement = new Retirement(context.node, index)
    this.#route = new UplinkRoute({
      node: context.node,
      onMessage: message => this.#onMessage(message),
      onClosed: reason => this.#onRouteClosed(reason),
    })
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
    if (this.#closed || this.#handshake || this.#installing) return
    const { node, staticKey, trust, timestamps } = this.#context
    node.log.debug({ gateway: this.gateway.name, why }, 'handshake')
    this.#lastAttempt = node.now()
    this.#pauseMs = retryPauseMs(node.config.timers.handshakeRetryMs, this.#failures)
    this.#failures += 1
    try {
      const responderStatic = Buffer.from(this.gateway.staticKey, 'base64')
      this.#handshake = new EdgeHandshake({
        node,
        initiator: createInitiator({
          staticKey,
          responderStatic,
          trust,
          timestamps,
          now: Date.now,
          hybrid: node.config.handshake.hybrid,
        }),
        candidates: () => this.#candidates(),
        payload: (offer, via) => this.#payload(offer, via),
        failed: error => this.#refused('unfit', error.message),
      })
      this.#handshake.try()
    } catch (error) {
      this.#refused('unfit', error instanceof Error ? error.message : String(error))
    }
  }

  #candidates(): Candidate[] {
    const found = candidates(this.#context.node.wan.links, this.gateway)
    if (found.length === 0) this.reason = 'no WAN link can reach the gateway'
    return found
  }

  #payload(offer: Offer, via: Candidate): Omit<InitPayload, 'timestamp'> {
    const { node } = this.#context
    return {
      grant: this.#context.grant(),
      replaces: node.sessions.get(this.sid)?.remoteSid ?? null,
      subnets: this.#context.subnets(),
      links: offer.paths.map(({ path, link, family }) => ({
        path,
        name: link.name,
        family,
        mtu: link.mtu,
        spi: offer.spis.get(path) ?? 0,
        ...statementOf(link),
      })),
      via: via.path,
      capabilities: { esp: node.capabilities.esp },
      policyVersion: this.#context.policyVersion(),
      virtualAddress: this.addresses?.vaddrLocal ?? null,
    }
  }

  /** A handshake packet from one of the gateway's endpoints. */
  onPacket(packet: Uint8Array, arrival: Arrival): void {
    const parsed = parsePacket(packet)
    if (!parsed.ok) return
    if (parsed.packet.type === 'reset') this.#onReset(parsed.packet.unknownSid)
    const handshake = this.#handshake
    const answer = handshake?.receive(packet, arrival)
    if (!handshake || !answer) return
    const { outcome, offer } = answer
    if (outcome.kind === 'refused') {
      // The clock was set back; the initiator goes on above what the gateway remembers.
      if (outcome.code === 'timestamp-replayed' && handshake.tries === 1) handshake.try()
      else this.#refused(outcome.code, outcome.message)
      return
    }
    handshake.taken()
    this.#handshake = undefined
    this.#installing = true
    this.#install(offer, outcome.remoteSid, outcome.payload, outcome.secrets)
      .catch(error => {
        this.#lastAttempt = this.#context.node.now()
        this.reason = error instanceof Error ? error.message : String(error)
        this.#context.node.log.error(
          { err: error, gateway: this.gateway.name },
          `no session with ${this.gateway.name}: ${this.reason}`,
        )
      })
      .finally(() => {
        this.#installing = false
      })
  }

  #refused(code: string, message: string): void {
    this.#handshake?.end()
    this.#handshake = undefined
    this.reason = message
    this.#lastAttempt = this.#context.node.now()
    this.#pauseMs = REFUSED_PAUSE_MS
    if (message !== this.#refusal)
      this.#context.report({
        severity: 'error',
        code: 'handshake-refused',
        message: `${this.gateway.name} refuses: ${message}`,
        detail: { code },
      })
    this.#refusal = message
    if (!this.usable) this.#setState('refused')
  }

  #onReset(unknown: number): void {
    if (unknown !== this.#context.node.sessions.get(this.sid)?.remoteSid) return
    this.suspect('gateway does not know the session')
  }

  /** Something hints at trouble, and that the gateway is there: look, by a handshake, but not often. Anyone can make hints. */
  suspect(why: string): void {
    const now = this.#context.node.now()
    if (this.#handshake) {
      if (now - this.#handshake.triedAt >= SUSPICION_MS) this.#handshake.try()
    } else if (now - this.#lastAttempt >= SUSPICION_MS) this.connect(why)
  }

  async #install(offer: Offer, remoteSid: number, payload: Accepted, secrets: SessionSecrets): Promise<void> {
    const { node, prober } = this.#context
    const before = { sid: this.sid, addresses: this.addresses }
    const addresses = { vaddrLocal: payload.virtualAddress, vaddrRemote: payload.peerAddress }
    this.addresses = addresses
    try {
      const own = { peer: this.index, esp: node.capabilities.esp, policyVersion: this.#context.policyVersion() }
      const spec = sessionSpec(offer, remoteSid, payload, secrets, own)
      for (const [path, spi] of offer.spis)
        if (!spec.paths.some(accepted => accepted.path === path)) node.sessions.releaseSpi(spi)
      node.sessions.install(spec)
      node.reconciler.want({
        kind: 'address',
        value: { ifindex: node.devices.mp0.ifindex, address: addresses.vaddrLocal, prefixLength: 32 },
      })
      node.reconciler.want({ kind: 'vaddr', address: addresses.vaddrRemote, peer: this.index })
      node.wantNodeConfig(addresses.vaddrLocal)
      const [failure] = await node.reconciler.flush()
      if (failure) throw failure.error
    } catch (error) {
      node.sessions.remove(offer.sid)
      if (!this.#closed) {
        this.addresses = before.addresses
        this.#dropAddresses(addresses)
      }
      await node.reconciler.flush()
      throw error
    }
    if (this.#closed) return
    // Both ends can receive on it: move.
    this.sid = offer.sid
    if (before.sid !== 0) this.rekeys += 1
    node.keepPathMtus(before.sid, this.sid)
    this.#retirement.allBut(this.sid, before.sid, this.#confirmed)
    this.#usable = new Set(node.sessions.get(offer.sid)?.paths.map(({ path }) => path))
    node.wantPeer(this.index, this.sid, this.#context.policyVersion(), () => true)
    await node.reconciler.flush()
    if (this.#closed) return
    this.#rekeyAt =
      node.now() + Math.min(payload.rekeyAfter, node.config.timers.rekeyAfterS) * 1000 * (0.9 + 0.1 * Math.random())
    if (before.addresses) this.#dropAddresses(before.addresses)
    await prober.open(addresses.vaddrLocal)
    if (this.#closed) return
    this.reason = undefined
    this.#refusal = undefined
    if (this.#route.open && payload.replaced) {
      this.#route.switchTo(remoteSid, secrets, () => this.#confirm(offer.sid))
      return
    }
    await this.#route.dial(addresses.vaddrLocal, addresses.vaddrRemote, remoteSid, secrets)
    for (const message of this.#announcer.burst(this.#context.subnets())) this.#route.send(message)
  }

  /** The gateway sends on this session from now on. */
  #confirm(sid: number): void {
    this.#confirmed = sid
    this.#tellMtus()
    this.#retirement.allBut(sid, this.sid)
  }

  // Route session

  #onMessage(message: RouteMessage): void {
    if (message.type === 'hello') {
      const back = this.state !== 'up' && this.state !== 'stale'
      this.#failures = 0
      this.#confirm(this.sid)
      this.#setState('up')
      if (back)
        this.#context.report({ severity: 'info', code: 'gateway-up', message: `connected to ${this.gateway.name}` })
    } else if (message.type === 'refused')
      this.#context.report({
        severity: 'warning',
        code: 'prefix-refused',
        message: `${this.gateway.name}: ${message.message}`,
        detail: { prefix: message.prefix, reason: message.code },
      })
    else if (message.type === 'policy-request')
      this.#route.send({ type: 'policy', version: this.#context.policyVersion(), classes: [] })
    else this.#context.onRoutes(this, message)
  }

  #onRouteClosed(reason: string): void {
    if (this.#closed) return
    this.#context.node.log.info({ gateway: this.gateway.name, reason }, `route session with ${this.gateway.name} ended`)
    this.reason = reason
    if (this.state === 'up') this.#setState('stale')
  }

  /** The subnets, or their flags, have changed. */
  announce(): void {
    if (!this.#route.open) return
    for (const message of this.#announcer.difference(this.#context.subnets())) this.#route.send(message)
  }

  /** A path was found to carry packets of this size, in both directions; 0: it is of no use. */
  carries(path: number, mtu: number): void {
    const { node, report } = this.#context
    const found = node.sessions.get(this.sid)?.paths.find(candidate => candidate.path === path)
    if (!found) return
    node.setPathMtu(this.sid, path, mtu)
    this.#tellMtus()
    this.#flush()
    const what = mtu > 0 ? `carries packets of ${mtu} bytes` : 'carries no packets of a useful size'
    report({
      severity: mtu > 0 ? 'info' : 'warning',
      code: 'path-mtu',
      message: `${found.link} to ${this.gateway.name} ${what}; the links would ${found.mtu}`,
      detail: { path, mtu },
    })
  }

  /** The gateway cannot know what gets through in its direction: it takes our word, of the session that it sends on. */
  #tellMtus(): void {
    const { paths = [] } = this.#context.node.sessions.get(this.sid) ?? {}
    const found = paths.flatMap(({ path, carries }) => (carries === undefined ? [] : [{ path, mtu: carries }]))
    if (found.length > 0 && this.#confirmed === this.sid) this.#route.send({ type: 'path-mtu', paths: found })
  }

  sendGrant(): void {
    this.#route.send({ type: 'grant', grant: this.#context.grant() })
  }

  // Time and links

  /** Every probeMs: probes, path and peer liveness, renewal, and the next handshake where something is missing. */
  tick(): void {
    this.#checkPaths()
    if (this.#handshake && this.#handshake.tries >= UNANSWERED && !this.usable) {
      const endpoints = this.gateway.endpoints.map(({ address, port }) => `${address} port ${port}`).join(', ')
      this.reason = `no answer from ${endpoints}: is it reachable by UDP, and is its key the one in the gateway list?`
    }
    if (this.#handshake || this.#installing) return
    const now = this.#context.node.now()
    if (now - this.#lastAttempt < this.#pauseMs) return
    if (now >= this.#rekeyAt) this.connect('renewal')
    else if (this.state === 'lost' || !this.#route.open) this.connect(this.reason ?? 'no route session')
  }

  /** Paths go on from where they can leave now, and the gateway learns it from their packets; a new path needs a handshake. */
  linksChanged(): void {
    const { node } = this.#context
    const session = node.sessions.get(this.sid)
    if (!session || this.#closed) return
    let renew = false
    for (const { path, link, local, remote } of candidates(node.wan.links, this.gateway)) {
      const known = session.paths.find(candidate => candidate.path === path)
      if (known) node.setPathConf(handleOf(this.sid, path), pathConfOf(local, remote, { ...link, mtu: known.mtu }))
      renew ||= !known || link.mtu < known.mtu
    }
    if (renew) this.connect('links have changed')
    this.#checkPaths()
    this.#flush()
  }

  /** A newer entry of the same gateway. */
  update(gateway: GatewayEntry): void {
    this.gateway = gateway
    this.linksChanged()
  }

  #checkPaths(): void {
    const { node } = this.#context
    const session = node.sessions.get(this.sid)
    if (!session || !this.addresses) return
    const { vaddrLocal, vaddrRemote } = this.addresses
    const present = new Set(candidates(node.wan.links, this.gateway).map(({ path }) => path))
    const alive = new Set<number>()
    for (const { path } of session.paths) {
      if (this.#paths.check(session, path, vaddrLocal, vaddrRemote) && present.has(path)) alive.add(path)
    }
    if (alive.size === 0) {
      if (this.usable) this.#lose()
      return
    }
    if (alive.size !== this.#usable.size || [...alive].some(path => !this.#usable.has(path))) {
      this.#usable = alive
      node.wantPeer(this.index, this.sid, this.#context.policyVersion(), path => alive.has(path))
      this.#flush()
    }
    if (this.state === 'lost') this.#setState(this.#route.open ? 'up' : 'stale')
  }

  #lose(): void {
    this.#setState('lost')
    this.reason = 'silent on all paths'
    this.#context.report({
      severity: 'warning',
      code: 'gateway-lost',
      message: `${this.gateway.name} is silent on all paths`,
    })
  }

  #setState(state: UplinkState): void {
    if (this.state === state) return
    const before = this.usable
    this.state = state
    if (this.usable !== before || state === 'stale') this.#context.onState(this)
  }

  #dropAddresses({ vaddrLocal, vaddrRemote }: UplinkAddresses): void {
    const { node, prober } = this.#context
    if (vaddrLocal !== this.addresses?.vaddrLocal) {
      prober.release(vaddrLocal)
      node.reconciler.drop(`address ${node.devices.mp0.ifindex} ${vaddrLocal}/32`)
    }
    if (vaddrRemote !== this.addresses?.vaddrRemote) node.reconciler.drop(`vaddr ${vaddrRemote}`)
  }

  #flush(): void {
    const { node } = this.#context
    node.reconciler.flush().catch(error => node.log.error({ err: error }, 'flush failed'))
  }

  /** The agent stops: nothing of the session is touched. */
  close(reason: string): void {
    this.#closed = true
    this.#handshake?.end()
    this.#handshake = undefined
    this.#retirement.stop()
    this.#route.close(reason)
  }

  /** The gateway left the list: its sessions go too. The caller flushes. */
  remove(): void {
    this.close('gateway removed from the list')
    const { node } = this.#context
    for (const session of [...node.sessions.values()])
      if (session.peer === this.index) node.sessions.remove(session.sid)
    const { addresses } = this
    this.addresses = undefined
    if (!addresses) return
    this.#dropAddresses(addresses)
    node.dropPeer(this.index, addresses.vaddrRemote)
  }
}
