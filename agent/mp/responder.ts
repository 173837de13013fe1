/**
 * The gateway's side of MP_INIT: a machine without a clock, a socket or a timer of its own. In packet order:
 *
 *   parse -> mac1 -> load: cookie or rate limit -> Noise message 1 -> payload -> grant -> timestamp -> accept (the caller) -> Noise message 2
 *
 * Nothing is kept and no Diffie-Hellman done before mac1 and the load check. What does not decrypt is not answered; what is authentic and
 * refused is answered with the reason.
 *
 * `established` is not yet a living peer: message 1 proves only that somebody once had the edge's static key and chose these values, and who
 * stole the gateway's own key could have made it (noise.ts). The caller installs the session, but moves routes and traffic over, and drops
 * what it replaces, only when the first authentic packet or record on the new keys has arrived.
 */
import type { GrantBody, Signed, TrustBundle } from '../../schema/grant.ts'
import {
  type InitPayload,
  initPayloadSchema,
  NOISE_PROLOGUE,
  NOISE_SUITE,
  type RefusalCode,
  type ResponsePayload,
} from '../../schema/mpinit.ts'
import { CookieJar, type Source } from './cookie.ts'
import type { KeyPair } from './dh.ts'
import { verifyGrant } from './grant.ts'
import { type DisposableSecrets, sessionSecrets } from './keys.ts'
import { Load } from './load.ts'
import { equal, mac1Key } from './mac.ts'
import { Handshake, parseSuite } from './noise.ts'
import { checkMac1, formatResponse, type InitPacket, parsePacket, RESPONSE_OVERHEAD } from './packets.ts'
import { decodePayload, encodePayload } from './payload.ts'
import { type Ignored, ignored } from './reasons.ts'
import { MAX_AHEAD_MS, TimestampTable } from './timestamp.ts'

const SUITE = parseSuite(NOISE_SUITE)
/** Characters of a refusal's message: at three bytes each it fits into the answer to the shortest INIT. */
const MESSAGE_LIMIT = 300
const PROLOGUE = Buffer.from(NOISE_PROLOGUE)
/** Who may open a tunnel to a gateway. */
const ROLES: readonly GrantBody['role'][] = ['edge', 'cloud-edge', 'dce']

/** What the caller decides; the machine adds its grant, `seen` and `time`. */
export type AcceptPayload =
  | Omit<ResponsePayload & { ok: true }, 'grant' | 'seen'>
  | { ok: false; code: RefusalCode; message: string }

export interface Acceptance {
  /** What the initiator puts into its headers towards us; of no meaning in a refusal. */
  localSid: number
  payload: AcceptPayload
}

export interface ResponderOptions {
  staticKey: KeyPair
  ownGrant: () => Signed
  trust: () => TrustBundle
  /** Unix ms. */
  now: () => number
  /** Everything about the initiation is verified when this is called; what it sets up is taken back in `undo`. */
  accept: (init: InitPayload, grant: GrantBody, source: Source) => Acceptance
  /** Called after `accept` took an initiation whose answer then could not be sent: it was longer than the question. */
  undo?: (acceptance: Acceptance) => void
  load?: Load
  timestamps?: TimestampTable
  /** Makes ephemeral keys; tests give fixed ones. */
  generate?: () => KeyPair
}

export type ResponderResult =
  /** Send `packet` to the source: a cookie, or a refusal with its code. */
  | { kind: 'reply'; packet: Buffer; refused?: { code: RefusalCode; message: string; grant?: GrantBody } }
  /** Send `packet`, install the session, wait for its first authentic packet. Secrets are in the initiator's view: see `responderView`. */
  | {
      kind: 'established'
      packet: Buffer
      remoteSid: number
      localSid: number
      init: InitPayload
      grant: GrantBody
      secrets: DisposableSecrets
    }
  | Ignored

export class Responder {
  readonly #options: ResponderOptions
  readonly #load: Load
  readonly #cookies: CookieJar
  readonly #receiveKey: Uint8Array
  readonly timestamps: TimestampTable

  constructor(options: ResponderOptions) {
    this.#options = options
    const publicKey = options.staticKey.publicKey.raw
    this.#load = options.load ?? new Load({ now: options.now })
    this.#cookies = new CookieJar(publicKey, options.now)
    this.#receiveKey = mac1Key(publicKey)
    this.timestamps = options.timestamps ?? new TimestampTable()
  }

  /** Any UDP payload of a handshake type. Never throws on what a sender can choose. */
  receive(bytes: Uint8Array, source: Source): ResponderResult {
    const parsed = parsePacket(bytes)
    if (!parsed.ok) return ignored(parsed.reason)
    const { packet } = parsed
    if (packet.type !== 'init') return ignored('wrong-type')
    if (!checkMac1(bytes, packet, this.#receiveKey)) return ignored('bad-mac1')

    const admission = this.#load.admit(source.address, () => this.#cookies.accepts(bytes, packet, source))
    if (admission === 'cookie') return { kind: 'reply', packet: this.#cookies.answer(packet, source) }
    if (admission === 'rate-limited') return ignored('rate-limited')
    return this.#handshake(bytes.length, packet, source)
  }

  #handshake(length: number, packet: InitPacket, source: Source): ResponderResult {
    const { staticKey, generate, now } = this.#options
    const handshake = Handshake.responder({
      suite: SUITE,
      prologue: PROLOGUE,
      staticKey,
      ...(generate && { generate }),
    })
    const read = handshake.read(packet.noise)
    if (!read.ok) return ignored(read.reason)
    const initiatorStatic = handshake.remoteStatic?.raw
    const decoded = decodePayload(read.payload, initPayloadSchema)
    if (initiatorStatic === undefined || !decoded.ok) return ignored('bad-payload')
    const init = decoded.value
    const respond = (sid: number, payload: ResponsePayload): Buffer | undefined => {
      const body = encodePayload(payload, 0)
      if (RESPONSE_OVERHEAD + body.length > length) return undefined
      const noise = handshake.write(body)
      return noise && formatResponse(sid, packet.senderSid, noise, mac1Key(initiatorStatic))
    }
    const refuse = (
      code: RefusalCode,
      message: string,
      more?: { after?: number; grant?: GrantBody },
    ): ResponderResult => {
      const after = more?.after
      const answer = respond(0, {
        ok: false,
        code,
        message: message.slice(0, MESSAGE_LIMIT),
        time: Math.floor(now()),
        ...(after !== undefined && { after }),
      })
      if (answer === undefined) return ignored('bad-key')
      return { kind: 'reply', packet: answer, refused: { code, message, ...(more?.grant && { grant: more.grant }) } }
    }

    const verified = verifyGrant(init.grant, this.#options.trust(), { now: now() / 1000 })
    if (!verified.ok) return refuse(verified.code, verified.message)
    const { grant } = verified
    if (!equal(grant.staticKey, initiatorStatic)) {
      return refuse('grant-key-mismatch', `the grant of ${grant.nodeName} is for another static key: was it copied?`)
    }
    if (!ROLES.includes(grant.role) || grant.enterprise === null) {
      return refuse(
        'role-not-allowed',
        `${grant.nodeName} is ${grant.role}: only edges of an enterprise open tunnels`,
        { grant },
      )
    }
    if (init.timestamp / 1000 > now() + MAX_AHEAD_MS) {
      return refuse('clock-ahead', `the clock of ${grant.nodeName} is far ahead: set it right`, { grant })
    }
    const fresh = this.timestamps.accept(initiatorStatic, init.timestamp)
    if (!fresh.ok) {
      if (fresh.reason === 'duplicate') return ignored('duplicate')
      const message = `the initiation of ${grant.nodeName} is older than one before: played again, or its clock was set back`
      return refuse('timestamp-replayed', message, { after: fresh.after, grant })
    }

    const acceptance = this.#options.accept(init, grant, source)
    const { localSid, payload } = acceptance
    if (!payload.ok) return refuse(payload.code, payload.message, { grant })
    const seen = { address: source.address, port: source.port }
    const answer = respond(localSid, { ...payload, grant: this.#options.ownGrant(), seen })
    if (answer === undefined) {
      this.#options.undo?.(acceptance)
      return refuse('full', `the answer to ${grant.nodeName} is longer than its initiation may be answered with`, {
        grant,
      })
    }
    const secrets = sessionSecrets(handshake.finish())
    return { kind: 'established', packet: answer, remoteSid: packet.senderSid, localSid, init, grant, secrets }
  }
}

export function createResponder(options: ResponderOptions): Responder {
  return new Responder(options)
}
