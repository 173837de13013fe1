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
import type { GatewayEntry } from '../../schema/node-state.ts'
import type { RouteMessage } from '../../schema/route-messages.ts'
import { handleOf } from '../mp/session.ts'
import type { Arrival } from '../node/links.ts'
import { pathConfOf } from '../node/path-conf.ts'
import type { PeerPaths } from '../paths/peer-paths.ts'
import { Announcer } from './announcer.ts'
import { candidates } from './candidates.ts'
import { Retirement } from './retirement.ts'
import type { UplinkContext } from './uplink-context.ts'
import { UplinkHandshake } from './uplink-handshake.ts'
import { UplinkRoute } from './uplink-route.ts'
import { type Answer, addressesOf, dropAddresses, installSession, type UplinkAddresses } from './uplink-session.ts'

export type UplinkState = 'connecting' | 'up' | 'stale' | 'lost' | 'refused'

export class Uplink {
  gateway: GatewayEntry
  readonly index: number
  readonly paths: PeerPaths
  readonly #context: UplinkContext
  readonly #handshake: UplinkHandshake
  readonly #route: UplinkRoute
  readonly #announcer = new Announcer()
  state: UplinkState = 'connecting'
  reason: string | undefined
  addresses: UplinkAddresses | undefined
  sid = 0
  rekeys = 0
  /** ms, monotonic. */
  #rekeyAt = Number.POSITIVE_INFINITY
  /** Paths whose link can leave towards the gateway now. */
  #present: ReadonlySet<number> = new Set()
  /** The session on which the gateway last spoke: it sends on that one until it hears of another. */
  #confirmed = 0
  readonly #retirement: Retirement
  #closed = false

  constructor(gateway: GatewayEntry, index: number, context: UplinkContext) {
    const { node } = context
    this.gateway = gateway
    this.index = index
    this.#context = context
    this.paths = context.paths.follow({
      index,
      name: () => this.gateway.name,
      from: () => this.addresses?.vaddrLocal ?? '',
      to: () => this.addresses?.vaddrRemote ?? '',
      policyVersion: context.policyVersion,
      present: path => this.#present.has(path),
    })
    this.#handshake = new UplinkHandshake({
      context,
      gateway: () => this.gateway,
      remoteSid: () => node.sessions.get(this.sid)?.remoteSid,
      confirmedSid: () => node.sessions.get(this.#confirmed)?.remoteSid,
      virtualAddress: () => this.addresses?.vaddrLocal,
      answered: answer => this.#install(answer),
      refused: () => {
        if (!this.usable) this.#setState('refused')
      },
      explain: reason => {
        this.reason = reason
      },
    })
    this.#retirement = new Retirement(node, index)
    this.#route = new UplinkRoute({
      node,
      onMessage: message => this.#onMessage(message),
      onClosed: reason => this.#onRouteClosed(reason),
    })
    this.#findLinks()
  }

  /** Packets sent now arrive, as far as this node can know. */
  get usable(): boolean {
    return this.state === 'up' || this.state === 'stale'
  }

  /** The session of a former agent is in the kernel: use it on, and renew it, since its record keys died with that agent. */
  adopt(sid: number, addresses: UplinkAddresses, rekeys: number): void {
    this.sid = sid
    this.#confirmed = sid
    this.addresses = addresses
    this.rekeys = rekeys
    this.#setState('stale')
    this.paths.use(sid)
  }

  // Session

  /** Starts a handshake unless one is under way. */
  connect(why: string): void {
    this.#handshake.connect(why)
  }

  /** A handshake packet from one of the gateway's endpoints. */
  onPacket(packet: Uint8Array, arrival: Arrival): void {
    this.#handshake.onPacket(packet, arrival)
  }

  /** Both ends can receive on the session of this answer: packets move to it, and the route session speaks over it. */
  async #install(answer: Answer): Promise<void> {
    const { node, prober } = this.#context
    const { offer, remoteSid, payload, secrets } = answer
    const before = { sid: this.sid, addresses: this.addresses }
    const addresses = addressesOf(payload)
    this.addresses = addresses
    try {
      await installSession(this.#context, this.index, answer)
    } catch (error) {
      if (!this.#closed) {
        this.addresses = before.addresses
        dropAddresses(this.#context, addresses, this.addresses)
      }
      await node.reconciler.flush()
      throw error
    }
    if (this.#closed) return
    this.sid = offer.sid
    if (before.sid !== 0) this.rekeys += 1
    node.keepPathMtus(before.sid, this.sid)
    this.#retirement.allBut(this.sid, before.sid, this.#confirmed)
    this.paths.use(this.sid)
    await node.reconciler.flush()
    if (this.#closed) return
    this.#rekeyAt =
      node.now() + Math.min(payload.rekeyAfter, node.config.timers.rekeyAfterS) * 1000 * (0.9 + 0.1 * Math.random())
    if (before.addresses) dropAddresses(this.#context, before.addresses, addresses)
    await prober.open(addresses.vaddrLocal)
    if (this.#closed) return
    this.reason = undefined
    if (this.#route.open && payload.replaced) {
      this.#route.switchTo(remoteSid, secrets, () => this.#confirm(offer.sid))
      return
    }
    await this.#route.dial(addresses.vaddrLocal, addresses.vaddrRemote, remoteSid, secrets)
    // First: what is announced next is used under it.
    if (this.#context.policy()) this.#tellPolicy()
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
      this.#handshake.succeeded()
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
    else if (message.type === 'policy-request') this.#tellPolicy()
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

  /** The gateway is told before headers name the new version. The caller flushes. */
  policyChanged(): void {
    this.#tellPolicy()
    this.#context.node.learnedPolicy(this.sid, this.#context.policyVersion())
    if (this.paths.sid !== 0) this.paths.steer()
  }

  #tellPolicy(): void {
    const { policyVersion, policy } = this.#context
    this.#route.send({ type: 'policy', version: policyVersion(), classes: [], document: policy() ?? null })
  }

  sendGrant(): void {
    this.#route.send({ type: 'grant', grant: this.#context.grant() })
  }

  // Time and links

  /** Every probeMs: path and peer liveness, renewal, and the next handshake where something is missing. */
  tick(): void {
    this.#checkPaths()
    if (!this.usable) this.reason = this.#handshake.complaint ?? this.reason
    if (!this.#handshake.ready) return
    if (this.#context.node.now() >= this.#rekeyAt) this.connect('renewal')
    else if (this.state === 'lost' || !this.#route.open) this.connect(this.reason ?? 'no route session')
  }

  /** Paths go on from where they can leave now, and the gateway learns it from their packets; a new path needs a handshake. */
  linksChanged(): void {
    const { node } = this.#context
    const session = node.sessions.get(this.sid)
    this.#findLinks()
    if (!session || this.#closed) return
    let renew = false
    for (const { path, link, local, remote } of candidates(node.wan.links, this.gateway)) {
      const known = session.paths.find(candidate => candidate.path === path)
      if (known) node.setPathConf(handleOf(this.sid, path), pathConfOf(local, remote, { ...link, mtu: known.mtu }))
      renew ||= !known || link.mtu < known.mtu
    }
    if (renew) this.connect('links have changed')
    this.paths.hurry()
    this.paths.steer()
    this.#checkPaths()
    this.#flush()
  }

  #findLinks(): void {
    this.#present = new Set(candidates(this.#context.node.wan.links, this.gateway).map(({ path }) => path))
  }

  /** A newer entry of the same gateway. */
  update(gateway: GatewayEntry): void {
    this.gateway = gateway
    this.linksChanged()
  }

  #checkPaths(): void {
    if (!this.addresses || this.paths.sid === 0) return
    this.#context.paths.look(this.paths)
    if (!this.paths.alive) {
      if (this.usable) this.#lose()
    } else if (this.state === 'lost') this.#setState(this.#route.open ? 'up' : 'stale')
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

  #flush(): void {
    const { node } = this.#context
    node.reconciler.flush().catch(error => node.log.error({ err: error }, 'flush failed'))
  }

  /** The agent stops: nothing of the session is touched. */
  close(reason: string): void {
    this.#closed = true
    this.#handshake.close()
    this.#retirement.stop()
    this.#route.close(reason)
    this.#context.paths.forget(this.paths)
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
    dropAddresses(this.#context, addresses, undefined)
    node.dropPeer(this.index, addresses.vaddrRemote)
  }
}
