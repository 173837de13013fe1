/** An uplink's handshakes: at most one at a time, with pauses that grow, and what is said of those that fail. */
import type { InitPayload } from '../../schema/mpinit.ts'
import type { GatewayEntry } from '../../schema/node-state.ts'
import { createInitiator } from '../mp/initiator.ts'
import { statementOf } from '../mp/link-traits.ts'
import { parsePacket } from '../mp/packets.ts'
import type { Arrival } from '../node/links.ts'
import { type Candidate, candidates } from './candidates.ts'
import { EdgeHandshake, type Offer, retryPauseMs } from './handshake.ts'
import type { UplinkContext } from './uplink-context.ts'
import type { Answer } from './uplink-session.ts'

export interface UplinkHandshakeOptions {
  context: UplinkContext
  gateway: () => GatewayEntry
  /** The gateway's number of the session in use, and the virtual address that it lent. */
  remoteSid: () => number | undefined
  /** Its number of the session that it sends on: the one that a new session replaces. Undefined: it has shown of none that it does. */
  confirmedSid: () => number | undefined
  virtualAddress: () => string | undefined
  /** An answer to be made a session; a rejection is reported as the reason. */
  answered: (answer: Answer) => Promise<void>
  /** The gateway, or this node itself, refuses. */
  refused: () => void
  /** Why there is no session, for people. */
  explain: (reason: string) => void
}

const REFUSED_PAUSE_MS = 5000
/** Hints and doubts cause at most one initiation in this time. */
const SUSPICION_MS = 1000
/** Initiations without an answer after which a person is told what to look at. */
const UNANSWERED = 3

export class UplinkHandshake {
  readonly #options: UplinkHandshakeOptions
  #handshake: EdgeHandshake | undefined
  /** An answer is being turned into a session. */
  #installing = false
  /** ms, monotonic. */
  #lastAttempt = 0
  #pauseMs = 0
  /** Since the gateway last said hello. */
  #failures = 0
  /** The last refusal that was reported. */
  #refusal: string | undefined
  #closed = false

  constructor(options: UplinkHandshakeOptions) {
    this.#options = options
  }

  /** Starts one unless one is under way. */
  connect(why: string): void {
    if (this.#closed || this.busy) return
    const { context, gateway } = this.#options
    const { node, staticKey, trust, timestamps } = context
    node.log.debug({ gateway: gateway().name, why }, 'handshake')
    this.#lastAttempt = node.now()
    this.#pauseMs = retryPauseMs(node.config.timers.handshakeRetryMs, this.#failures)
    this.#failures += 1
    try {
      this.#handshake = new EdgeHandshake({
        node,
        initiator: createInitiator({
          staticKey,
          responderStatic: Buffer.from(gateway().staticKey, 'base64'),
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

  get busy(): boolean {
    return this.#handshake !== undefined || this.#installing
  }

  /** Nothing is under way, and the pause is over. */
  get ready(): boolean {
    return !this.busy && this.#options.context.node.now() - this.#lastAttempt >= this.#pauseMs
  }

  #candidates(): Candidate[] {
    const { context, gateway, explain } = this.#options
    const found = candidates(context.node.wan.links, gateway())
    if (found.length === 0) explain('no WAN link can reach the gateway')
    return found
  }

  #payload(offer: Offer, via: Candidate): Omit<InitPayload, 'timestamp'> {
    const { context, confirmedSid, virtualAddress } = this.#options
    return {
      grant: context.grant(),
      replaces: confirmedSid() ?? null,
      subnets: context.subnets(),
      links: offer.paths.map(({ path, link, family }) => ({
        path,
        name: link.name,
        family,
        mtu: link.mtu,
        spi: offer.spis.get(path) ?? 0,
        ...statementOf(link),
      })),
      via: via.path,
      capabilities: { esp: context.node.capabilities.esp },
      policyVersion: context.policyVersion(),
      virtualAddress: virtualAddress() ?? null,
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
    const { remoteSid, payload, secrets } = outcome
    this.#install({ offer, remoteSid, payload, secrets })
  }

  #install(answer: Answer): void {
    const { context, gateway, answered, explain } = this.#options
    this.#installing = true
    answered(answer)
      .then(() => {
        this.#refusal = undefined
      })
      .catch(error => {
        this.#lastAttempt = context.node.now()
        const reason = error instanceof Error ? error.message : String(error)
        explain(reason)
        context.node.log.error({ err: error, gateway: gateway().name }, `no session with ${gateway().name}: ${reason}`)
      })
      .finally(() => {
        this.#installing = false
      })
  }

  #refused(code: string, message: string): void {
    const { context, gateway, explain, refused } = this.#options
    this.#handshake?.end()
    this.#handshake = undefined
    explain(message)
    this.#lastAttempt = context.node.now()
    this.#pauseMs = REFUSED_PAUSE_MS
    if (message !== this.#refusal)
      context.report({
        severity: 'error',
        code: 'handshake-refused',
        message: `${gateway().name} refuses: ${message}`,
        detail: { code },
      })
    this.#refusal = message
    refused()
  }

  #onReset(unknown: number): void {
    if (unknown === this.#options.remoteSid()) this.suspect('gateway does not know the session')
  }

  /** Something hints at trouble, and that the gateway is there: look, by a handshake, but not often. Anyone can make hints. */
  suspect(why: string): void {
    const now = this.#options.context.node.now()
    if (this.#handshake) {
      if (now - this.#handshake.triedAt >= SUSPICION_MS) this.#handshake.try()
    } else if (now - this.#lastAttempt >= SUSPICION_MS) this.connect(why)
  }

  /** The gateway said hello. */
  succeeded(): void {
    this.#failures = 0
  }

  /** What a person should look at when nothing answers; undefined: it is too early to say. */
  get complaint(): string | undefined {
    if (!this.#handshake || this.#handshake.tries < UNANSWERED) return undefined
    const endpoints = this.#options.gateway().endpoints.map(({ address, port }) => `${address} port ${port}`)
    return `no answer from ${endpoints.join(', ')}: is it reachable by UDP, and is its key the one in the gateway list?`
  }

  close(): void {
    this.#closed = true
    this.#handshake?.end()
    this.#handshake = undefined
  }
}
