/**
 * The gateway's side of MP_INIT: a machine without a clock, a socket or a timer of its own. In packet order:
 *
 *   parse -> mac1 -> load: cookie or rate limit -> Noise message 1 -> payload -> grant -> timestamp -> accept (the caller) -> Noise message 2
 *                                                  `--------- responder-crypto.ts ---------'                                `------------'
 *
 * Nothing is kept and no Diffie-Hellman done before mac1 and the load check. What does not decrypt is not answered; what is authentic and
 * refused is answered with the reason. The cryptographic half may run elsewhere, so the outcome is handed to `done`, for one source in the
 * order in which its packets came; in the caller's own thread that is before `receive` returns.
 *
 * `established` is not yet a living peer: message 1 proves only that somebody once had the edge's static key and chose these values, and who
 * stole the gateway's own key could have made it (noise.ts). The caller installs the session, but moves routes and traffic over, and drops
 * what it replaces, only when the first authentic packet or record on the new keys has arrived.
 */
import type { GrantBody, Signed, TrustBundle } from '../../schema/grant.ts'
import type { Hybrid, InitPayload, RefusalCode, ResponsePayload } from '../../schema/mpinit.ts'
import { CookieJar, type Source } from './cookie.ts'
import type { KeyPair } from './dh.ts'
import { type DisposableSecrets, sessionSecrets } from './keys.ts'
import { Load } from './load.ts'
import { mac1Key } from './mac.ts'
import { checkMac1, type Datagrams, type InitKemPacket, type InitPacket, parsePacket } from './packets.ts'
import { type Ignored, type IgnoredReason, ignored } from './reasons.ts'
import {
  type AnswerPayload,
  type CryptoCommand,
  type CryptoOptions,
  type CryptoReply,
  ResponderCrypto,
} from './responder-crypto.ts'
import { MAX_AHEAD_MS, TimestampTable } from './timestamp.ts'

/** Characters of a refusal's message: at three bytes each it fits into the answer to the shortest INIT. */
const MESSAGE_LIMIT = 300
/** The other part of an INIT is sent right behind it; in this time the edge tries again. */
const KEM_WAIT_MS = 2000
/** INIT_KEM packets that are looked at for one INIT: who can see the INIT can forge as many as he likes. */
const KEM_TRIES = 4

/** What the caller decides; the machine adds its grant, `seen` and `time`. */
export type AcceptPayload =
  | Omit<ResponsePayload & { ok: true }, 'grant' | 'seen'>
  | { ok: false; code: RefusalCode; message: string }

export interface Acceptance {
  /** What the initiator puts into its headers towards us; of no meaning in a refusal. */
  localSid: number
  payload: AcceptPayload
}

/** Where the cryptographic half runs. Replies to one id come in the order of its commands. */
export interface CryptoPort {
  /** `busy`: new initiations wait longer than they should. */
  readonly pressure: 'none' | 'busy'
  /** @param from what comes from the same source stays in order. @returns false: there is no room, and nothing was taken */
  post(command: CryptoCommand, from: string): boolean
  close(): void
}

/** `lost`: whoever had the initiation in its hands is gone. */
export type PortReply = CryptoReply | { type: 'lost'; id: number }
export type OpenCrypto = (options: CryptoOptions, reply: (reply: PortReply) => void) => CryptoPort

/** In the caller's thread: replies come while `post` runs. */
export const inlineCrypto: OpenCrypto = (options, reply) => {
  const crypto = new ResponderCrypto(options, reply)
  return {
    pressure: 'none',
    post(command) {
      crypto.run(command)
      return true
    },
    close() {},
  }
}

export interface ResponderOptions<S extends Source = Source> {
  staticKey: KeyPair
  /** Both: the same object until something in it changes. */
  ownGrant: () => Signed
  trust: () => TrustBundle
  /** Unix ms. */
  now: () => number
  /** Everything about the initiation is verified when this is called; what it sets up is taken back in `undo`. */
  accept: (init: InitPayload, grant: GrantBody, source: S) => Acceptance
  /** Called after `accept` took an initiation whose answer then could not be sent. */
  undo?: (acceptance: Acceptance) => void
  done: (result: ResponderResult, source: S) => void
  /** Default `preferred`. */
  hybrid?: Hybrid
  crypto?: OpenCrypto
  load?: Load
  timestamps?: TimestampTable
  /** Makes ephemeral keys; tests give fixed ones. */
  generate?: () => KeyPair
}

export type ResponderResult =
  /** Send `packet` to the source: a cookie, or a refusal with its code. */
  | { kind: 'reply'; packet: Buffer; refused?: { code: RefusalCode; message: string; grant?: GrantBody } }
  /** Install the session, then send `packets`, wait for its first authentic packet. Secrets are in the initiator's view: see `responderView`. */
  | {
      kind: 'established'
      packets: Datagrams
      remoteSid: number
      localSid: number
      init: InitPayload
      grant: GrantBody
      secrets: DisposableSecrets
    }
  | Ignored

/** An initiation between its first packet and its outcome. */
interface Job<S> {
  readonly id: number
  readonly source: S
  readonly sender: string
  readonly remoteSid: number
  /** By which the other half judges it. */
  readonly trust: TrustBundle
  kems: number
  /** ms after which it waits no longer for its INIT_KEM. */
  deadline: number
  opened?: { init: InitPayload; grant: GrantBody | undefined }
  acceptance?: Acceptance
  refused?: { code: RefusalCode; message: string; grant?: GrantBody }
}

export class Responder<S extends Source = Source> {
  readonly #options: ResponderOptions<S>
  readonly #load: Load
  readonly #cookies: CookieJar
  readonly #receiveKey: Uint8Array
  readonly #crypto: CryptoPort
  readonly #jobs = new Map<number, Job<S>>()
  /** By address, port and session id: a packet that the network doubled, or somebody's forgery, may share them. */
  readonly #bySender = new Map<string, Job<S>[]>()
  /** Those that wait for an INIT_KEM, the one that began first first. */
  readonly #waiting = new Map<number, Job<S>>()
  #lastId = 0
  #configured: { trust: TrustBundle; ownGrant: Signed } | undefined
  readonly timestamps: TimestampTable

  constructor(options: ResponderOptions<S>) {
    this.#options = options
    const { staticKey, now, hybrid = 'preferred', generate, crypto = inlineCrypto } = options
    const publicKey = staticKey.publicKey.raw
    this.#load = options.load ?? new Load({ now })
    this.#cookies = new CookieJar(publicKey, now)
    this.#receiveKey = mac1Key(publicKey)
    this.timestamps = options.timestamps ?? new TimestampTable()
    this.#crypto = crypto({ staticKey, hybrid, ...(generate && { generate }) }, reply => this.#onReply(reply))
  }

  /** Initiations under way. */
  get size(): number {
    return this.#jobs.size
  }

  /** Any UDP payload of a handshake type. Never throws on what a sender can choose. The bytes may be kept until the outcome. */
  receive(bytes: Uint8Array, source: S): void {
    this.#expire()
    const result = this.#take(bytes, source)
    if (result) this.#options.done(result, source)
  }

  /** What is under way has no outcome. */
  close(): void {
    this.#jobs.clear()
    this.#bySender.clear()
    this.#waiting.clear()
    this.#crypto.close()
  }

  /** @returns undefined: the outcome comes later */
  #take(bytes: Uint8Array, source: S): ResponderResult | undefined {
    const parsed = parsePacket(bytes)
    if (!parsed.ok) return ignored(parsed.reason)
    const { packet } = parsed
    if (packet.type === 'init-kem') return this.#initKem(packet, source)
    if (packet.type !== 'init') return ignored('wrong-type')
    if (!checkMac1(bytes, packet, this.#receiveKey)) return ignored('bad-mac1')
    const proven = () => this.#cookies.accepts(bytes, packet, source)
    const admission = this.#load.admit(source.address, proven, this.#crypto.pressure === 'busy')
    if (admission === 'cookie') return { kind: 'reply', packet: this.#cookies.answer(packet, source) }
    if (admission === 'rate-limited') return ignored('rate-limited')
    return this.#init(bytes.length, packet, source)
  }

  #init(room: number, { senderSid, noise }: InitPacket, source: S): ResponderResult | undefined {
    this.#configure()
    const id = ++this.#lastId
    const sender = senderOf(source, senderSid)
    const trust = this.#options.trust()
    const job: Job<S> = { id, source, sender, remoteSid: senderSid, trust, kems: 0, deadline: 0 }
    this.#jobs.set(id, job)
    this.#bySender.set(sender, [...(this.#bySender.get(sender) ?? []), job])
    const now = this.#options.now()
    const from = `${source.address} ${source.port}`
    if (this.#crypto.post({ type: 'init', id, senderSid, noise, room, now }, from)) return undefined
    this.#remove(job)
    return ignored('overloaded')
  }

  #initKem({ senderSid, sealed }: InitKemPacket, source: S): ResponderResult | undefined {
    const jobs = this.#bySender.get(senderOf(source, senderSid))?.filter(job => ++job.kems <= KEM_TRIES) ?? []
    if (jobs.length === 0) return ignored('no-handshake')
    for (const job of jobs) this.#post(job, { type: 'init-kem', id: job.id, sealed })
    return undefined
  }

  #onReply(reply: PortReply): void {
    const job = this.#jobs.get(reply.id)
    if (job === undefined) return
    const next = this.#step(job, reply)
    if (next === undefined) return
    if ('type' in next) {
      this.#post(job, next)
      return
    }
    this.#remove(job)
    this.#options.done(next, job.source)
  }

  /** @returns what to ask of the other half next, or the outcome */
  #step(job: Job<S>, reply: PortReply): CryptoCommand | ResponderResult | undefined {
    switch (reply.type) {
      case 'waiting':
        job.deadline = this.#options.now() + KEM_WAIT_MS
        this.#waiting.set(job.id, job)
        return undefined
      case 'opened':
        return this.#judge(job, reply)
      case 'too-long':
        return this.#tooLong(job)
      case 'answered':
        return this.#answered(job, reply)
      case 'ignored':
        return this.#drop(job, reply.reason)
      case 'lost':
        return this.#drop(job, 'worker-lost')
    }
  }

  #judge(
    job: Job<S>,
    { init, initiatorStatic, verified }: CryptoReply & { type: 'opened' },
  ): CryptoCommand | ResponderResult {
    this.#waiting.delete(job.id)
    job.opened = { init, grant: verified.grant }
    if (job.trust !== this.#options.trust()) return this.#forget(job, 'trust-changed')
    if (!verified.ok) return this.#refuse(job, verified.code, verified.message)
    const { nodeName } = verified.grant
    if (init.timestamp / 1000 > this.#options.now() + MAX_AHEAD_MS)
      return this.#refuse(job, 'clock-ahead', `the clock of ${nodeName} is far ahead: set it right`)
    const fresh = this.timestamps.accept(initiatorStatic, init.timestamp)
    if (!fresh.ok && fresh.reason === 'duplicate') return this.#forget(job, 'duplicate')
    if (!fresh.ok) {
      const message = `the initiation of ${nodeName} is older than one before: played again, or its clock was set back`
      return this.#refuse(job, 'timestamp-replayed', message, fresh.after)
    }
    const acceptance = this.#options.accept(init, verified.grant, job.source)
    const { localSid, payload } = acceptance
    if (!payload.ok) return this.#refuse(job, payload.code, payload.message)
    job.acceptance = acceptance
    const { address, port } = job.source
    return { type: 'answer', id: job.id, localSid, payload: { ...payload, seen: { address, port } } }
  }

  #refuse(job: Job<S>, code: RefusalCode, message: string, after?: number): CryptoCommand {
    const grant = job.opened?.grant
    job.refused = { code, message, ...(grant && { grant }) }
    const payload: AnswerPayload = {
      ok: false,
      code,
      message: message.slice(0, MESSAGE_LIMIT),
      time: Math.floor(this.#options.now()),
      ...(after !== undefined && { after }),
    }
    return { type: 'answer', id: job.id, localSid: 0, payload }
  }

  #tooLong(job: Job<S>): CryptoCommand | ResponderResult {
    if (job.refused) return this.#forget(job, 'bad-payload')
    this.#undo(job)
    const name = job.opened?.grant?.nodeName
    return this.#refuse(job, 'full', `the answer to ${name} is longer than its initiation may be answered with`)
  }

  #answered(job: Job<S>, { packets, keys }: CryptoReply & { type: 'answered' }): ResponderResult {
    const { refused, acceptance, opened, remoteSid } = job
    if (refused) return { kind: 'reply', packet: packets[0], refused }
    if (job.trust !== this.#options.trust()) return this.#drop(job, 'trust-changed')
    if (!acceptance || !opened?.grant || !keys) throw new Error(`initiation ${job.id} was answered without a decision`)
    const { localSid } = acceptance
    const { init, grant } = opened
    return { kind: 'established', packets, remoteSid, localSid, init, grant, secrets: sessionSecrets(keys) }
  }

  /** What belongs to an initiation that was taken is taken too. */
  #post(job: Job<S>, command: CryptoCommand): void {
    this.#crypto.post(command, job.sender)
  }

  #forget(job: Job<S>, reason: IgnoredReason): Ignored {
    this.#post(job, { type: 'forget', id: job.id })
    return ignored(reason)
  }

  #drop(job: Job<S>, reason: IgnoredReason): Ignored {
    this.#undo(job)
    return ignored(reason)
  }

  #undo(job: Job<S>): void {
    if (job.acceptance) this.#options.undo?.(job.acceptance)
    delete job.acceptance
  }

  #remove(job: Job<S>): void {
    this.#jobs.delete(job.id)
    this.#waiting.delete(job.id)
    const others = this.#bySender.get(job.sender)?.filter(other => other !== job) ?? []
    if (others.length > 0) this.#bySender.set(job.sender, others)
    else this.#bySender.delete(job.sender)
  }

  /** The crypto half bounds their number; this one their time. */
  #expire(): void {
    const now = this.#options.now()
    for (const job of this.#waiting.values()) {
      if (job.deadline > now) return
      const result = this.#forget(job, 'kem-missing')
      this.#remove(job)
      this.#options.done(result, job.source)
    }
  }

  #configure(): void {
    const [trust, ownGrant] = [this.#options.trust(), this.#options.ownGrant()]
    if (this.#configured?.trust === trust && this.#configured.ownGrant === ownGrant) return
    this.#configured = { trust, ownGrant }
    this.#crypto.post({ type: 'configure', trust, ownGrant }, '')
  }
}

export function createResponder<S extends Source = Source>(options: ResponderOptions<S>): Responder<S> {
  return new Responder(options)
}

function senderOf({ address, port }: Source, sid: number): string {
  return `${address} ${port} ${sid}`
}
