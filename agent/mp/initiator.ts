/**
 * The edge's side of MP_INIT: a machine for one gateway without a clock, a socket or a timer of its own. One initiation is under way at a time;
 * `start` begins another with a new ephemeral key and forgets the one before. When to try again is the caller's matter.
 */
import type { GrantBody, TrustBundle } from '../../schema/grant.ts'
import {
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
import { type DisposableSecrets, sessionSecrets } from './keys.ts'
import { equal, mac1Key } from './mac.ts'
import { Handshake, parseSuite } from './noise.ts'
import { type CookiePacket, checkMac1, formatInit, parsePacket, type ResponsePacket } from './packets.ts'
import { decodePayload } from './payload.ts'
import { type Ignored, ignored } from './reasons.ts'
import { spanText } from './span.ts'
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
  /** The gateway is under load and asks us to prove our address: send `packet` now, to where the INIT went. */
  | { kind: 'cookie'; packet: Buffer }
  | Ignored

interface Pending {
  handshake: Handshake
  localSid: number
  noise: Uint8Array
  mac1: Uint8Array
  cookieTaken: boolean
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
   * @returns the INIT to send. Throws a RangeError when the grant alone does not fit, or the gateway's key is a weak one.
   */
  start(localSid: number, payload: Omit<InitPayload, 'timestamp'>): Buffer {
    if (!Number.isInteger(localSid) || localSid < 1 || localSid > 0xffffffff) {
      throw new RangeError(`a session id is 1 to 4294967295, not ${localSid}`)
    }
    const { staticKey, generate, now } = this.#options
    const handshake = Handshake.initiator({
      suite: SUITE,
      prologue: PROLOGUE,
      staticKey,
      remoteStatic: this.#remote,
      ...(generate && { generate }),
    })
    const noise = handshake.write(fitInit({ ...payload, timestamp: this.#timestamps.next() }))
    if (noise === undefined) throw new RangeError("the gateway's static key is a weak one: nobody may use it")
    const fresh = this.#cookie !== undefined && now() - this.#cookie.time < COOKIE_ROTATION
    const packet = formatInit(localSid, noise, this.#sendKey, fresh ? this.#cookie?.value : undefined)
    const mac1 = packet.subarray(packet.length - 32, packet.length - 16)
    this.#pending = { handshake, localSid, noise, mac1, cookieTaken: false }
    return packet
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
    if (packet.type === 'cookie') return this.#takeCookie(packet)
    return ignored('wrong-type')
  }

  #response(bytes: Uint8Array, packet: ResponsePacket): InitiatorResult {
    const pending = this.#pending
    if (pending === undefined || packet.receiverSid !== pending.localSid) return ignored('no-handshake')
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
    const secrets = sessionSecrets(pending.handshake.finish())
    return { kind: 'established', remoteSid: packet.senderSid, payload, grant, secrets }
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
    return { kind: 'cookie', packet: formatInit(pending.localSid, pending.noise, this.#sendKey, value) }
  }
}

export function createInitiator(options: InitiatorOptions): Initiator {
  return new Initiator(options)
}

function refusedHere(code: RefusalCode, message: string): InitiatorResult {
  return { kind: 'refused', by: 'self', code, message }
}
