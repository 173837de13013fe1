/**
 * The edge's side of MP_INIT: a machine for one gateway without a clock, a socket or a timer of its own. One initiation is under way at a time;
 * `start` begins another with a new ephemeral key and forgets the one before. When to try again is the caller's matter.
 */
import type { GrantBody, TrustBundle } from '../../schema/grant.ts'
import {
  type Hybrid,
  type InitPayload,
  NOISE_PROLOGUE,
  NOISE_SUITE,
  type RefusalCode,
  type ResponsePayload,
  responsePayloadSchema,
} from '../../schema/mpinit.ts'
import { COOKIE_ROTATION, openCookie } from './cookie.ts'
import { importPublic, type KeyPair, type PublicKey } from './dh.ts'
import { verifyGrant } from './grant.ts'
import { fitInit } from './init-fit.ts'
import { generateKem, KEM, type KemKeyPair } from './kem.ts'
import { type DisposableSecrets, sessionSecrets } from './keys.ts'
import { equal, mac1Key } from './mac.ts'
import { Handshake } from './noise.ts'
import {
  type CookiePacket,
  checkMac1,
  type Datagrams,
  formatInit,
  formatInitKem,
  parsePacket,
  type ResponseKemPacket,
  type ResponsePacket,
} from './packets.ts'
import { decodePayload } from './payload.ts'
import { type Ignored, ignored } from './reasons.ts'
import { spanText } from './span.ts'
import { parseSuite } from './symmetric.ts'
import { TimestampSource } from './timestamp.ts'

const SUITE = parseSuite(NOISE_SUITE)
const PROLOGUE = Buffer.from(NOISE_PROLOGUE)

export interface InitiatorOptions {
  staticKey: KeyPair
  /** Static public key of the gateway, 32 bytes, from the gateway list. */
  responderStatic: Uint8Array
  trust: () => TrustBundle
  /** Unix ms. */
  now: () => number
  /** Shared by all initiators of one static key. */
  timestamps?: TimestampSource
  /** Makes ephemeral keys; tests give fixed ones. */
  generate?: () => KeyPair
  generateKem?: () => KemKeyPair
  /** Default `preferred`. */
  hybrid?: Hybrid
}

export type AcceptedPayload = ResponsePayload & { ok: true }

export type InitiatorResult =
  /** The gateway is who it should be and took us. Secrets are in the initiator's view. */
  | {
      kind: 'established'
      remoteSid: number
      payload: AcceptedPayload
      grant: GrantBody
      secrets: DisposableSecrets
    }
  /** `by: 'self'`: the gateway's own grant was not good enough for us. */
  | { kind: 'refused'; by: 'peer' | 'self'; code: RefusalCode; message: string }
  /** The gateway is under load and asks us to prove our address: send `packets` now, to where the INIT went. */
  | { kind: 'cookie'; packets: Datagrams }
  /** One part of the answer: the other one is on its way. */
  | { kind: 'waiting' }
  | Ignored

interface Pending {
  handshake: Handshake
  localSid: number
  noise: Uint8Array
  mac1: Uint8Array
  cookieTaken: boolean
  kem: { pair: KemKeyPair; packet: Buffer } | undefined
  /** A RESPONSE_KEM that overtook its RESPONSE. */
  early: Uint8Array | undefined
  /** The RESPONSE, when a RESPONSE_KEM has to follow. */
  accepted: Accepted | undefined
}

interface Accepted {
  remoteSid: number
  payload: AcceptedPayload
  grant: GrantBody
}

export class Initiator {
  readonly #options: InitiatorOptions
  readonly #remote: PublicKey
  readonly #timestamps: TimestampSource
  readonly #sendKey: Uint8Array
  readonly #receiveKey: Uint8Array
  #pending: Pending | undefined
  #cookie: { value: Uint8Array; time: number } | undefined

  constructor(options: InitiatorOptions) {
    this.#options = options
    this.#remote = importPublic(options.responderStatic)
    this.#timestamps = options.timestamps ?? new TimestampSource(options.now)
    this.#sendKey = mac1Key(options.responderStatic)
    this.#receiveKey = mac1Key(options.staticKey.publicKey.raw)
  }

  /**
   * @param localSid what the gateway puts into its headers towards us; not 0
   * @param payload without the timestamp; subnets that find no room in one packet are left to the route session
   * @returns the INIT to send, and behind it the INIT_KEM unless ML-KEM is off. Throws a RangeError when the grant alone does not fit, or the gateway's key is a weak one.
   */
  start(localSid: number, payload: Omit<InitPayload, 'timestamp'>): Datagrams {
    if (!Number.isInteger(localSid) || localSid < 1 || localSid > 0xffffffff) {
      throw new RangeError(`a session id is 1 to 4294967295, not ${localSid}`)
    }
    const { staticKey, generate, now, hybrid = 'preferred' } = this.#options
    const handshake = Handshake.initiator({
      suite: SUITE,
      prologue: PROLOGUE,
      staticKey,
      remoteStatic: this.#remote,
      ...(generate && { generate }),
    })
    const capabilities = { ...payload.capabilities, ...(hybrid !== 'off' && { kem: KEM }) }
    const noise = handshake.write(fitInit({ ...payload, capabilities, timestamp: this.#timestamps.next() }))
    if (noise === undefined) throw new RangeError("the gateway's static key is a weak one: nobody may use it")
    const fresh = this.#cookie !== undefined && now() - this.#cookie.time < COOKIE_ROTATION
    const packet = formatInit(localSid, noise, this.#sendKey, fresh ? this.#cookie?.value : undefined)
    const mac1 = packet.subarray(packet.length - 32, packet.length - 16)
    const kem = hybrid === 'off' ? undefined : this.#offerKem(handshake, localSid)
    this.#pending = {
      handshake,
      localSid,
      noise,
      mac1,
      cookieTaken: false,
      kem,
      early: undefined,
      accepted: undefined,
    }
    return together(packet, kem?.packet)
  }

  #offerKem(handshake: Handshake, localSid: number): Pending['kem'] {
    const pair = (this.#options.generateKem ?? generateKem)()
    return { pair, packet: formatInitKem(localSid, handshake.writeE1(pair)) }
  }

  /** Forgets the initiation under way; late answers to it are ignored. */
  cancel(): void {
    this.#pending = undefined
  }

  /** Any UDP payload of a handshake type. Never throws; `established` and `refused` end the initiation, everything else leaves it as it was. */
  receive(bytes: Uint8Array): InitiatorResult {
    const parsed = parsePacket(bytes)
    if (!parsed.ok) return ignored(parsed.reason)
    const { packet } = parsed
    if (packet.type === 'response') return this.#response(bytes, packet)
    if (packet.type === 'response-kem') return this.#responseKem(packet)
    if (packet.type === 'cookie') return this.#takeCookie(packet)
    return ignored('wrong-type')
  }

  #response(bytes: Uint8Array, packet: ResponsePacket): InitiatorResult {
    const pending = this.#pending
    if (pending === undefined || packet.receiverSid !== pending.localSid) return ignored('no-handshake')
    if (pending.accepted) return ignored('duplicate')
    if (!checkMac1(bytes, packet, this.#receiveKey)) return ignored('bad-mac1')
    const read = pending.handshake.read(packet.noise)
    if (!read.ok) return ignored(read.reason)
    // From here on the packet is the gateway's own, whatever it holds: the initiation is over.
    this.#pending = undefined
    const decoded = decodePayload(read.payload, responsePayloadSchema)
    if (!decoded.ok) return ignored('bad-payload')
    const payload = decoded.value
    if (!payload.ok) return this.#refused(payload)
    if (packet.senderSid === 0) return ignored('bad-session')

    const now = this.#options.now()
    const verified = verifyGrant(payload.grant, this.#options.trust(), { now: now / 1000 })
    if (!verified.ok) return refusedHere(verified.code, `the gateway's: ${verified.message}`)
    const { grant } = verified
    if (!equal(grant.staticKey, this.#remote.raw)) {
      return refusedHere('grant-key-mismatch', `the gateway showed the grant of another key (${grant.nodeName})`)
    }
    if (grant.role !== 'gateway' && grant.role !== 'dce') {
      return refusedHere('role-not-allowed', `${grant.nodeName} answered as a gateway but its grant says ${grant.role}`)
    }
    const accepted: Accepted = { remoteSid: packet.senderSid, payload, grant }
    if (payload.capabilities.kem !== undefined) return this.#awaitKem(pending, accepted)
    if (this.#options.hybrid === 'required') {
      return refusedHere('hybrid-required', `${grant.nodeName} has no ML-KEM, which this node requires`)
    }
    return established(pending.handshake, accepted)
  }

  #awaitKem(pending: Pending, accepted: Accepted): InitiatorResult {
    if (pending.kem === undefined || accepted.payload.capabilities.kem !== KEM) return ignored('bad-payload')
    pending.accepted = accepted
    this.#pending = pending
    const { early } = pending
    pending.early = undefined
    if (early) {
      const result = this.#finishKem(pending, accepted, early)
      if (result.kind === 'established') return result
    }
    return { kind: 'waiting' }
  }

  #responseKem(packet: ResponseKemPacket): InitiatorResult {
    const pending = this.#pending
    if (pending?.kem === undefined || packet.receiverSid !== pending.localSid) return ignored('no-handshake')
    if (pending.accepted) return this.#finishKem(pending, pending.accepted, packet.sealed)
    pending.early = Uint8Array.from(packet.sealed)
    return { kind: 'waiting' }
  }

  #finishKem({ handshake, kem }: Pending, accepted: Accepted, sealed: Uint8Array): InitiatorResult {
    if (kem === undefined || !handshake.readEkem1(sealed, kem.pair)) return ignored('decrypt-failed')
    this.#pending = undefined
    return established(handshake, accepted)
  }

  #refused(payload: ResponsePayload & { ok: false }): InitiatorResult {
    if (payload.after !== undefined) this.#timestamps.continueAfter(payload.after)
    if (payload.code === 'clock-ahead') this.#timestamps.restart()
    const difference = (payload.time - this.#options.now()) / 1000
    const clocks =
      Math.abs(difference) < 60
        ? ''
        : ` (this node's clock is ${spanText(Math.abs(difference))} ${difference > 0 ? 'behind' : 'ahead of'} the gateway's)`
    return { kind: 'refused', by: 'peer', code: payload.code, message: `${payload.message}${clocks}` }
  }

  /** One cookie per initiation: repeated ones would make us send as often as somebody likes. */
  #takeCookie(packet: CookiePacket): InitiatorResult {
    const pending = this.#pending
    if (pending === undefined || packet.receiverSid !== pending.localSid) return ignored('no-handshake')
    if (pending.cookieTaken) return ignored('bad-cookie')
    const value = openCookie(packet, this.#remote.raw, pending.mac1)
    if (value === undefined) return ignored('bad-cookie')
    pending.cookieTaken = true
    this.#cookie = { value, time: this.#options.now() }
    const init = formatInit(pending.localSid, pending.noise, this.#sendKey, value)
    return { kind: 'cookie', packets: together(init, pending.kem?.packet) }
  }
}

export function createInitiator(options: InitiatorOptions): Initiator {
  return new Initiator(options)
}

function established(handshake: Handshake, accepted: Accepted): InitiatorResult {
  return { kind: 'established', ...accepted, secrets: sessionSecrets(handshake.finish()) }
}

function together(packet: Buffer, kem: Buffer | undefined): Datagrams {
  return kem ? [packet, kem] : [packet]
}

function refusedHere(code: RefusalCode, message: string): InitiatorResult {
  return { kind: 'refused', by: 'self', code, message }
}
