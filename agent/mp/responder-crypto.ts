/**
 * The half of the responder that takes time: what needs the private key, signatures and the decoding of payloads. It decides nothing and knows no
 * addresses; commands and replies are plain data, so it runs in the caller's thread or in a worker (responder-worker.ts).
 *
 *   init ----> Noise message 1, payload, grant ----+---------------------------> opened ----> answer ----> message 2 ----> answered
 *                                                  `-- ML-KEM: waiting <- init-kem --^
 *
 * Only initiations of edges with a good grant wait for their INIT_KEM, the newest of each, and a bounded number of them: strangers make no state.
 */
import type { GrantBody, Signed, TrustBundle } from '../../schema/grant.ts'
import {
  type Hybrid,
  type InitPayload,
  initPayloadSchema,
  NOISE_PROLOGUE,
  NOISE_SUITE,
  type RefusalCode,
  type ResponsePayload,
} from '../../schema/mpinit.ts'
import type { KeyPair } from './dh.ts'
import { verifyGrant } from './grant.ts'
import { KEM } from './kem.ts'
import { equal, mac1Key } from './mac.ts'
import { Handshake, type HandshakeResult } from './noise.ts'
import { type Datagrams, formatResponse, formatResponseKem, RESPONSE_OVERHEAD } from './packets.ts'
import { decodePayload, encodePayload } from './payload.ts'
import type { IgnoredReason } from './reasons.ts'
import { parseSuite } from './symmetric.ts'

const SUITE = parseSuite(NOISE_SUITE)
const PROLOGUE = Buffer.from(NOISE_PROLOGUE)
/** Who may open a tunnel to a gateway. */
const ROLES: readonly GrantBody['role'][] = ['edge', 'cloud-edge', 'dce']
/** Initiations that wait for their INIT_KEM at once, one for each edge. */
const MAX_WAITING = 16_384

export interface CryptoOptions {
  staticKey: KeyPair
  hybrid: Hybrid
  /** Makes ephemeral keys; tests give fixed ones. */
  generate?: () => KeyPair
}

/** `grant`: of whom the refused initiation is, when that is known. */
export type Verified =
  | { ok: true; grant: GrantBody }
  | { ok: false; code: RefusalCode; message: string; grant?: GrantBody }

/** What the machine adds itself is left out: its grant, and ML-KEM where both have it. */
export type AnswerPayload = Omit<ResponsePayload & { ok: true }, 'grant'> | (ResponsePayload & { ok: false })

export type CryptoCommand =
  /** Before the first `init`, and whenever one of them changes. */
  | { type: 'configure'; trust: TrustBundle; ownGrant: Signed }
  /** @param room bytes that the RESPONSE may have. @param now Unix ms */
  | { type: 'init'; id: number; senderSid: number; noise: Uint8Array; room: number; now: number }
  | { type: 'init-kem'; id: number; sealed: Uint8Array }
  | { type: 'answer'; id: number; localSid: number; payload: AnswerPayload }
  | { type: 'forget'; id: number }

export type CryptoReply =
  | { type: 'waiting'; id: number }
  /** Authentic; `verified` says whether the edge may have a tunnel. Asks for an `answer` or a `forget`. */
  | { type: 'opened'; id: number; initiatorStatic: Uint8Array; init: InitPayload; verified: Verified }
  /** The payload finds no room; another answer may. */
  | { type: 'too-long'; id: number }
  /** The last reply about this id. `keys` in the initiator's view, only when the payload accepts. */
  | { type: 'answered'; id: number; packets: Datagrams; keys?: HandshakeResult }
  | { type: 'ignored'; id: number; reason: IgnoredReason }

interface Initiation {
  handshake: Handshake
  senderSid: number
  room: number
  initiatorStatic: Uint8Array
  init: InitPayload
  verified: Verified
  /** Where it waits for its INIT_KEM. */
  waiting: string | undefined
  hybrid: boolean
}

export class ResponderCrypto {
  readonly #options: CryptoOptions
  readonly #reply: (reply: CryptoReply) => void
  readonly #initiations = new Map<number, Initiation>()
  /** Static key -> the initiation that waits, in the order in which they came. */
  readonly #waiting = new Map<string, number>()
  #trust: TrustBundle = { anchors: [], revocations: undefined }
  #ownGrant: Signed | undefined

  constructor(options: CryptoOptions, reply: (reply: CryptoReply) => void) {
    this.#options = options
    this.#reply = reply
  }

  /** Replies before it returns, or not at all. */
  run(command: CryptoCommand): void {
    const reply = this.#handle(command)
    if (reply) this.#reply(reply)
  }

  #handle(command: CryptoCommand): CryptoReply | undefined {
    switch (command.type) {
      case 'configure':
        this.#trust = command.trust
        this.#ownGrant = command.ownGrant
        return undefined
      case 'init':
        return this.#init(command)
      case 'init-kem':
        return this.#initKem(command.id, command.sealed)
      case 'answer':
        return this.#answer(command.id, command.localSid, command.payload)
      case 'forget':
        this.#end(command.id)
        return undefined
    }
  }

  #init({ id, senderSid, noise, room, now }: CryptoCommand & { type: 'init' }): CryptoReply {
    const { staticKey, generate } = this.#options
    const handshake = Handshake.responder({
      suite: SUITE,
      prologue: PROLOGUE,
      staticKey,
      ...(generate && { generate }),
    })
    const read = handshake.read(noise)
    if (!read.ok) return this.#ignored(id, read.reason)
    const initiatorStatic = handshake.remoteStatic?.raw
    const decoded = decodePayload(read.payload, initPayloadSchema)
    if (initiatorStatic === undefined || !decoded.ok) return this.#ignored(id, 'bad-payload')
    const init = decoded.value
    const { hybrid: policy } = this.#options
    const hybrid = policy !== 'off' && init.capabilities.kem === KEM
    let verified = verifyInitiator(init, initiatorStatic, this.#trust, now)
    if (verified.ok && policy === 'required' && !hybrid) verified = lacksHybrid(verified.grant)
    const initiation = { handshake, senderSid, room, initiatorStatic, init, verified, waiting: undefined, hybrid }
    if (hybrid && verified.ok) return this.#wait(id, initiation)
    this.#initiations.set(id, initiation)
    return opened(id, initiation)
  }

  #wait(id: number, initiation: Initiation): CryptoReply {
    const key = Buffer.from(initiation.initiatorStatic).toString('base64')
    const earlier = this.#waiting.get(key)
    const newest = earlier === undefined ? 0 : (this.#initiations.get(earlier)?.init.timestamp ?? 0)
    // As the caller's table of timestamps will: nothing that is played again may take the place of what is under way.
    if (initiation.init.timestamp <= newest) return this.#ignored(id, 'duplicate')
    if (earlier !== undefined) this.#reply(this.#ignored(earlier, 'kem-missing'))
    this.#initiations.set(id, { ...initiation, waiting: key })
    this.#waiting.set(key, id)
    if (this.#waiting.size > MAX_WAITING) {
      const [oldest] = this.#waiting.values()
      if (oldest !== undefined) this.#reply(this.#ignored(oldest, 'kem-missing'))
    }
    return { type: 'waiting', id }
  }

  /** Who sees the initiation can send what he likes in its name: only the right one ends the wait. */
  #initKem(id: number, sealed: Uint8Array): CryptoReply | undefined {
    const initiation = this.#initiations.get(id)
    if (!initiation?.waiting) return undefined
    const read = initiation.handshake.readE1(sealed)
    if (read === 'bad-key') return this.#ignored(id, 'bad-key')
    if (read !== 'ok') return undefined
    this.#waiting.delete(initiation.waiting)
    initiation.waiting = undefined
    return opened(id, initiation)
  }

  #answer(id: number, localSid: number, answer: AnswerPayload): CryptoReply | undefined {
    const initiation = this.#initiations.get(id)
    if (initiation === undefined) return undefined
    const { handshake, senderSid, room, initiatorStatic, hybrid } = initiation
    const body = encodePayload(this.#complete(answer, hybrid), 0)
    if (RESPONSE_OVERHEAD + body.length > room) return { type: 'too-long', id }
    this.#end(id)
    const noise = handshake.write(body)
    if (noise === undefined) return { type: 'ignored', id, reason: 'bad-key' }
    const response = formatResponse(answer.ok ? localSid : 0, senderSid, noise, mac1Key(initiatorStatic))
    if (!answer.ok) return { type: 'answered', id, packets: [response] }
    const packets: Datagrams = hybrid ? [response, formatResponseKem(senderSid, handshake.writeEkem1())] : [response]
    return { type: 'answered', id, packets, keys: handshake.finish() }
  }

  #complete(answer: AnswerPayload, hybrid: boolean): ResponsePayload {
    if (!answer.ok) return answer
    if (this.#ownGrant === undefined) throw new Error('no grant was configured')
    // The order of the members is part of the frozen transcripts.
    const { seen, ...rest } = answer
    const capabilities = { ...answer.capabilities, ...(hybrid && { kem: KEM }) }
    return { ...rest, capabilities, grant: this.#ownGrant, seen }
  }

  #ignored(id: number, reason: IgnoredReason): CryptoReply {
    this.#end(id)
    return { type: 'ignored', id, reason }
  }

  #end(id: number): void {
    const waiting = this.#initiations.get(id)?.waiting
    if (waiting !== undefined) this.#waiting.delete(waiting)
    this.#initiations.delete(id)
  }
}

function opened(id: number, { initiatorStatic, init, verified }: Initiation): CryptoReply {
  return { type: 'opened', id, initiatorStatic, init, verified }
}

/** What holds or not whatever the gateway's state is. */
function verifyInitiator(init: InitPayload, initiatorStatic: Uint8Array, trust: TrustBundle, now: number): Verified {
  const verified = verifyGrant(init.grant, trust, { now: now / 1000 })
  if (!verified.ok) return verified
  const { grant } = verified
  if (!equal(grant.staticKey, initiatorStatic)) {
    const message = `the grant of ${grant.nodeName} is for another static key: was it copied?`
    return { ok: false, code: 'grant-key-mismatch', message }
  }
  if (!ROLES.includes(grant.role) || grant.enterprise === null) {
    const message = `${grant.nodeName} is ${grant.role}: only edges of an enterprise open tunnels`
    return { ok: false, code: 'role-not-allowed', message, grant }
  }
  return verified
}

function lacksHybrid(grant: GrantBody): Verified {
  const message = `${grant.nodeName} offers no ML-KEM, which this gateway requires: update it, or allow it there`
  return { ok: false, code: 'hybrid-required', message, grant }
}
