/**
 * Noise IK (revision 34 of the Noise specification, https://noiseprotocol.org/noise.html): the initiator knows the responder's static key and
 * sends its own, encrypted, in the first message.
 *
 *   <- s
 *   ...
 *   -> e, es, s, ss
 *   <- e, ee, se
 *
 * What IK gives (§7.7, §7.8): message 1 can be replayed and is open to whoever steals the responder's static key (key compromise
 * impersonation too); only the initiator's first transport message proves that it is there now. So the responder acts on message 1 only as far
 * as a replay may make it act. Message 2 authenticates the responder. The initiator's identity is hidden from all but the responder.
 *
 * With ML-KEM (kem.ts) both messages go on in a datagram of their own, by the tokens of the hybrid forward secrecy extension
 * (https://github.com/noiseprotocol/noise_hfs_spec):
 *
 *   -> e, es, s, ss, payload   ->  e1
 *   <- e, ee, se, payload      <-  ekem1, empty payload
 *
 * e1 is sealed under the keys of message 1 and bound to it; it enters the hash behind message 2, which is therefore the same for a responder
 * that has no ML-KEM. ekem1 mixes the encapsulated secret into the chaining key, so what `finish` gives hangs on both exchanges; the empty payload
 * behind it shows that both ends have the same. Payloads and authentication stay with X25519 alone.
 */
import type { KeyObject } from 'node:crypto'
import { TAG_LENGTH } from './cipher.ts'
import { DH_LENGTH, exchange, generateKeyPair, importPublic, type KeyPair, type PublicKey } from './dh.ts'
import {
  decapsulate,
  type Encapsulated,
  encapsulate,
  importKem,
  KEM_CIPHERTEXT_LENGTH,
  type KemKeyPair,
} from './kem.ts'
import { type Suite, SymmetricState } from './symmetric.ts'

type Token = 'e' | 's' | 'ee' | 'es' | 'se' | 'ss'

const IK: readonly (readonly Token[])[] = [
  ['e', 'es', 's', 'ss'],
  ['e', 'ee', 'se'],
]

const NOTHING = new Uint8Array(0)

/** Bytes that message 1 and message 2 add to their payloads. */
export const MESSAGE_1_OVERHEAD = DH_LENGTH + DH_LENGTH + TAG_LENGTH + TAG_LENGTH
export const MESSAGE_2_OVERHEAD = DH_LENGTH + TAG_LENGTH

/** Bytes that sealing adds to an encapsulation key, and to a ciphertext with the empty payload behind it. */
export const E1_OVERHEAD = TAG_LENGTH
export const EKEM1_OVERHEAD = TAG_LENGTH + TAG_LENGTH

export interface HandshakeOptions {
  suite: Suite
  prologue: Uint8Array
  staticKey: KeyPair
  /** Makes the ephemeral key; given by tests with published vectors. */
  generate?: () => KeyPair
}

/** `bad-key`: a public key in the message gives an all-zero secret. `decrypt-failed`: forged, for another key, or another prologue. */
export type ReadFailure = 'truncated' | 'bad-key' | 'decrypt-failed'
export type ReadResult = { ok: true; payload: Uint8Array } | { ok: false; reason: ReadFailure }

/** What is left after both messages. Keys are in the initiator's view; the receiver owns the arrays. */
export interface HandshakeResult {
  /** 32 bytes each: initiator to responder, responder to initiator. */
  split: [Uint8Array, Uint8Array]
  hash: Uint8Array
  /** Secret. For further keys (§11.2 suggests taking them from here). */
  chainingKey: Uint8Array
}

/** One handshake of one side. Messages alternate, the initiator writes first; a call out of turn throws an Error (it is a bug of the caller). */
export class Handshake {
  readonly #initiator: boolean
  readonly #static: KeyPair
  readonly #generate: () => KeyPair
  #symmetric: SymmetricState
  #ephemeral: KeyPair | undefined
  #remoteStatic: PublicKey | undefined
  #remoteEphemeral: PublicKey | undefined
  #message = 0
  /** The sealed e1: read or written, and not yet in the hash. */
  #sealedE1: Uint8Array | undefined
  #remoteKem: KeyObject | undefined

  private constructor(options: HandshakeOptions, initiator: boolean, remoteStatic: PublicKey | undefined) {
    this.#initiator = initiator
    this.#static = options.staticKey
    this.#generate = options.generate ?? generateKeyPair
    this.#remoteStatic = remoteStatic
    this.#symmetric = new SymmetricState(options.suite)
    this.#symmetric.mixHash(options.prologue)
    this.#symmetric.mixHash(remoteStatic?.raw ?? options.staticKey.publicKey.raw)
  }

  static initiator(options: HandshakeOptions & { remoteStatic: PublicKey }): Handshake {
    return new Handshake(options, true, options.remoteStatic)
  }

  static responder(options: HandshakeOptions): Handshake {
    return new Handshake(options, false, undefined)
  }

  /** The initiator's static key, once message 1 was read; the responder's from the start. */
  get remoteStatic(): PublicKey | undefined {
    return this.#remoteStatic
  }

  /** @returns the message, or undefined when a remote key gives an all-zero secret; the handshake is of no use then. */
  write(payload: Uint8Array): Buffer | undefined {
    const symmetric = this.#symmetric
    const parts: Uint8Array[] = []
    for (const token of this.#turn(true)) {
      if (token === 'e') {
        this.#ephemeral = this.#generate()
        parts.push(this.#ephemeral.publicKey.raw)
        symmetric.mixHash(this.#ephemeral.publicKey.raw)
      } else if (token === 's') {
        parts.push(symmetric.encryptAndHash(this.#static.publicKey.raw))
      } else if (!this.#mixExchange(symmetric, token)) {
        return undefined
      }
    }
    parts.push(symmetric.encryptAndHash(payload))
    this.#message++
    return Buffer.concat(parts)
  }

  /** A message that fails leaves the handshake as it was: the right one may still come after a forged one. */
  read(message: Uint8Array): ReadResult {
    const symmetric = new SymmetricState(this.#symmetric.suite, this.#symmetric)
    const remoteStatic = this.#remoteStatic
    const result = this.#readTokens(symmetric, message)
    if (result.ok) {
      this.#symmetric = symmetric
      this.#message++
    } else {
      this.#remoteStatic = remoteStatic
    }
    return result
  }

  /** Initiator, between the messages. @returns the sealed encapsulation key: message 1 goes on with it */
  writeE1(pair: KemKeyPair): Buffer {
    if (!this.#initiator || this.#message !== 1 || this.#sealedE1)
      throw new Error('e1 is written once, behind message 1')
    const sealed = this.#cipher().seal(this.#symmetric.hash, pair.raw)
    this.#sealedE1 = sealed
    return sealed
  }

  /** Responder, between the messages. What does not open leaves the handshake as it was. `bad-key`: the initiator's own, and no key. */
  readE1(sealed: Uint8Array): 'ok' | ReadFailure {
    if (this.#initiator || this.#message !== 1 || this.#sealedE1) throw new Error('e1 is read once, behind message 1')
    const raw = this.#cipher().open(this.#symmetric.hash, sealed)
    if (raw === undefined) return 'decrypt-failed'
    this.#remoteKem = importKem(raw)
    if (this.#remoteKem === undefined) return 'bad-key'
    this.#sealedE1 = Uint8Array.from(sealed)
    return 'ok'
  }

  /**
   * Responder, behind message 2.
   * @param make given by tests, since encapsulation draws a random number
   * @returns message 2's other part
   */
  writeEkem1(make: (key: KeyObject) => Encapsulated = encapsulate): Buffer {
    const [sealedE1, key] = [this.#sealedE1, this.#remoteKem]
    if (this.#message !== IK.length || !sealedE1 || !key) throw new Error('ekem1 follows e1 and message 2')
    const made = make(key)
    const symmetric = this.#symmetric
    symmetric.mixHash(sealedE1)
    const sealed = symmetric.encryptAndHash(made.ciphertext)
    symmetric.mixKey(made.secret)
    made.secret.fill(0)
    this.#sealedE1 = undefined
    return Buffer.concat([sealed, symmetric.encryptAndHash(NOTHING)])
  }

  /** Initiator, behind message 2. What fails leaves the handshake as it was. @returns whether both ends have the same secret */
  readEkem1(message: Uint8Array, pair: KemKeyPair): boolean {
    const sealedE1 = this.#sealedE1
    if (this.#message !== IK.length || !sealedE1) throw new Error('ekem1 follows e1 and message 2')
    const symmetric = new SymmetricState(this.#symmetric.suite, this.#symmetric)
    symmetric.mixHash(sealedE1)
    const end = KEM_CIPHERTEXT_LENGTH + TAG_LENGTH
    const sealed = message.subarray(0, end)
    const ciphertext = symmetric.decryptAndHash(sealed)
    if (ciphertext?.length !== KEM_CIPHERTEXT_LENGTH) return false
    const secret = decapsulate(pair, ciphertext)
    symmetric.mixKey(secret)
    secret.fill(0)
    if (symmetric.decryptAndHash(message.subarray(end))?.length !== 0) return false
    this.#symmetric.cipher?.dispose()
    this.#symmetric = symmetric
    this.#sealedE1 = undefined
    return true
  }

  /** Split of §5.2; only after both messages, and after ekem1 where there is one. */
  finish(): HandshakeResult {
    if (this.#message !== IK.length) throw new Error(`the handshake stands before message ${this.#message + 1}`)
    if (this.#sealedE1 && this.#remoteKem) throw new Error('the handshake stands before ekem1')
    const symmetric = this.#symmetric
    symmetric.cipher?.dispose()
    const [first, second] = symmetric.expand(NOTHING)
    this.#message++
    return {
      split: [first.subarray(0, 32), second.subarray(0, 32)],
      hash: symmetric.hash,
      chainingKey: symmetric.chainingKey,
    }
  }

  #readTokens(symmetric: SymmetricState, message: Uint8Array): ReadResult {
    let at = 0
    const take = (length: number): Uint8Array | undefined => {
      if (message.length - at < length) return undefined
      at += length
      return message.subarray(at - length, at)
    }
    for (const token of this.#turn(false)) {
      if (token === 'e') {
        const raw = take(DH_LENGTH)
        if (raw === undefined) return { ok: false, reason: 'truncated' }
        this.#remoteEphemeral = importPublic(raw)
        symmetric.mixHash(raw)
      } else if (token === 's') {
        const sealed = take(DH_LENGTH + TAG_LENGTH)
        if (sealed === undefined) return { ok: false, reason: 'truncated' }
        const raw = symmetric.decryptAndHash(sealed)
        if (raw === undefined) return { ok: false, reason: 'decrypt-failed' }
        this.#remoteStatic = importPublic(raw)
      } else if (!this.#mixExchange(symmetric, token)) {
        return { ok: false, reason: 'bad-key' }
      }
    }
    const sealed = message.subarray(at)
    if (sealed.length < TAG_LENGTH) return { ok: false, reason: 'truncated' }
    const payload = symmetric.decryptAndHash(sealed)
    return payload === undefined ? { ok: false, reason: 'decrypt-failed' } : { ok: true, payload }
  }

  #cipher() {
    const { cipher } = this.#symmetric
    if (cipher === undefined) throw new Error('no key is agreed on yet')
    return cipher
  }

  /** The first letter of the token names the initiator's key, the second the responder's. */
  #mixExchange(symmetric: SymmetricState, token: 'ee' | 'es' | 'se' | 'ss'): boolean {
    const own = this.#initiator ? token[0] : token[1]
    const other = this.#initiator ? token[1] : token[0]
    const local = own === 'e' ? this.#ephemeral : this.#static
    const remote = other === 'e' ? this.#remoteEphemeral : this.#remoteStatic
    if (local === undefined || remote === undefined) throw new Error(`${token} comes before its keys`)
    const secret = exchange(local, remote)
    if (secret === undefined) return false
    symmetric.mixKey(secret)
    secret.fill(0)
    return true
  }

  #turn(writing: boolean): readonly Token[] {
    const tokens = IK[this.#message]
    const initiatorWrites = this.#message % 2 === 0
    if (tokens === undefined || writing !== (initiatorWrites === this.#initiator)) {
      throw new Error(`not this side's turn to ${writing ? 'write' : 'read'} message ${this.#message + 1}`)
    }
    return tokens
  }
}
