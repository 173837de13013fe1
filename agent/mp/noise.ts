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
 * The pattern is a list of tokens: a hybrid with ML-KEM adds its tokens and their two cases.
 */
import { hash, hkdfSync } from 'node:crypto'
import { type Aead, CipherState, TAG_LENGTH } from './cipher.ts'
import { DH_LENGTH, exchange, generateKeyPair, importPublic, type KeyPair, type PublicKey } from './dh.ts'

type Token = 'e' | 's' | 'ee' | 'es' | 'se' | 'ss'

const IK: readonly (readonly Token[])[] = [
  ['e', 'es', 's', 'ss'],
  ['e', 'ee', 'se'],
]

const AEADS: Readonly<Record<string, Aead>> = { AESGCM: 'aes-256-gcm', ChaChaPoly: 'chacha20-poly1305' }
const HASHES: Readonly<Record<string, { digest: string; length: number }>> = {
  SHA256: { digest: 'sha256', length: 32 },
  SHA512: { digest: 'sha512', length: 64 },
  BLAKE2s: { digest: 'blake2s256', length: 32 },
}

const NOTHING = new Uint8Array(0)

/** Bytes that message 1 and message 2 add to their payloads. */
export const MESSAGE_1_OVERHEAD = DH_LENGTH + DH_LENGTH + TAG_LENGTH + TAG_LENGTH
export const MESSAGE_2_OVERHEAD = DH_LENGTH + TAG_LENGTH

export interface Suite {
  readonly name: string
  readonly aead: Aead
  readonly digest: string
  readonly hashLength: number
}

/** @param name as the specification writes it, e.g. `Noise_IK_25519_AESGCM_SHA256`. Throws a RangeError when this module has no such suite. */
export function parseSuite(name: string): Suite {
  const [, cipher = '', hashName = ''] = /^Noise_IK_25519_(\w+)_(\w+)$/.exec(name) ?? []
  const aead = AEADS[cipher]
  const hashed = HASHES[hashName]
  if (aead === undefined || hashed === undefined) throw new RangeError(`no Noise suite ${name}`)
  return { name, aead, digest: hashed.digest, hashLength: hashed.length }
}

/** Chaining key, handshake hash and the current cipher: SymmetricState of §5.2. Values are replaced, never changed, so a copy is cheap. */
class SymmetricState {
  readonly suite: Suite
  chainingKey: Uint8Array
  hash: Uint8Array
  cipher: CipherState | undefined

  constructor(suite: Suite, from?: SymmetricState) {
    this.suite = suite
    if (from !== undefined) {
      this.chainingKey = from.chainingKey
      this.hash = from.hash
      return
    }
    const name = Buffer.from(suite.name)
    const padded = Buffer.alloc(suite.hashLength)
    name.copy(padded)
    this.hash = name.length <= suite.hashLength ? padded : hash(suite.digest, name, 'buffer')
    this.chainingKey = this.hash
  }

  mixHash(data: Uint8Array): void {
    this.hash = hash(this.suite.digest, Buffer.concat([this.hash, data]), 'buffer')
  }

  /** Noise's HKDF is RFC 5869's with the chaining key as salt and no info (§4.3). */
  expand(input: Uint8Array): [Uint8Array, Uint8Array] {
    const length = this.suite.hashLength
    const output = new Uint8Array(hkdfSync(this.suite.digest, input, this.chainingKey, NOTHING, 2 * length))
    return [output.subarray(0, length), output.subarray(length)]
  }

  mixKey(input: Uint8Array): void {
    const [chainingKey, key] = this.expand(input)
    this.chainingKey = chainingKey
    this.cipher?.dispose()
    this.cipher = new CipherState(this.suite.aead, key.subarray(0, 32))
    key.fill(0)
  }

  encryptAndHash(plaintext: Uint8Array): Uint8Array {
    const sealed = this.cipher === undefined ? plaintext : this.cipher.seal(this.hash, plaintext)
    this.mixHash(sealed)
    return sealed
  }

  decryptAndHash(sealed: Uint8Array): Uint8Array | undefined {
    const plaintext = this.cipher === undefined ? sealed : this.cipher.open(this.hash, sealed)
    if (plaintext !== undefined) this.mixHash(sealed)
    return plaintext
  }
}

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

  /** Split of §5.2; only after both messages. */
  finish(): HandshakeResult {
    if (this.#message !== IK.length) throw new Error(`the handshake stands before message ${this.#message + 1}`)
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
