/** Authenticated encryption with a counter for a nonce: the CipherState of the Noise specification (§5.1), also used for records. */
import { createCipheriv, createDecipheriv, createSecretKey, type KeyObject } from 'node:crypto'

export type Aead = 'aes-256-gcm' | 'chacha20-poly1305'

export const KEY_LENGTH = 32
export const TAG_LENGTH = 16
const NONCE_LENGTH = 12
const OPTIONS = { authTagLength: TAG_LENGTH }
/** Both ends stop long before the limits of AES-GCM (RFC 8446 §5.5: 2^24.5 full-size records of TLS) or of a double. */
export const MAX_MESSAGES = 2 ** 32

/** A key object costs a fifth of raw bytes: node:crypto finds out what a key is by an exception (12 of 15 µs a call). */
export type AeadKey = Uint8Array | KeyObject

/** @returns ciphertext followed by the 16-byte tag */
export function seal(aead: Aead, key: AeadKey, nonce: Uint8Array, ad: Uint8Array, plaintext: Uint8Array): Buffer {
  const cipher = makeCipher(aead, key, nonce)
  cipher.setAAD(ad, { plaintextLength: plaintext.length })
  const body = cipher.update(plaintext)
  cipher.final()
  return Buffer.concat([body, cipher.getAuthTag()], body.length + TAG_LENGTH)
}

// Two calls because the overloads of node:crypto do not take a union.
const makeCipher = (aead: Aead, key: AeadKey, nonce: Uint8Array) =>
  aead === 'aes-256-gcm' ? createCipheriv(aead, key, nonce, OPTIONS) : createCipheriv(aead, key, nonce, OPTIONS)

/** @returns the plaintext, or undefined when `sealed` is not what `seal` made with the same key, nonce and associated data */
export function open(
  aead: Aead,
  key: AeadKey,
  nonce: Uint8Array,
  ad: Uint8Array,
  sealed: Uint8Array,
): Buffer | undefined {
  const length = sealed.length - TAG_LENGTH
  if (length < 0) return undefined
  const decipher =
    aead === 'aes-256-gcm' ? createDecipheriv(aead, key, nonce, OPTIONS) : createDecipheriv(aead, key, nonce, OPTIONS)
  decipher.setAAD(ad, { plaintextLength: length })
  decipher.setAuthTag(sealed.subarray(length))
  const body = decipher.update(sealed.subarray(0, length))
  try {
    decipher.final()
  } catch {
    return undefined
  }
  return body
}

const NO_KEY = createSecretKey(Buffer.alloc(KEY_LENGTH))

/** One key and its message counter. The first message has number 0. */
export class CipherState {
  readonly #aead: Aead
  #key: KeyObject
  readonly #nonce = Buffer.alloc(NONCE_LENGTH)
  #count: number

  /** @param key 32 bytes, copied */
  constructor(aead: Aead, key: Uint8Array | KeyObject, count = 0) {
    const length = key instanceof Uint8Array ? key.length : key.symmetricKeySize
    if (length !== KEY_LENGTH) throw new RangeError(`${aead} takes a key of ${KEY_LENGTH} bytes, not ${length}`)
    this.#aead = aead
    this.#key = key instanceof Uint8Array ? createSecretKey(key) : key
    this.#count = count
  }

  /** Stands where this one does and goes on by itself: for what may fail and be tried again. Never to seal two different things with. */
  copy(): CipherState {
    return new CipherState(this.#aead, this.#key, this.#count)
  }

  /** Messages sealed or opened so far. */
  get count(): number {
    return this.#count
  }

  /** Throws a RangeError after `MAX_MESSAGES`: the owner has to change keys before. */
  seal(ad: Uint8Array, plaintext: Uint8Array): Buffer {
    const sealed = seal(this.#aead, this.#key, this.#nextNonce(), ad, plaintext)
    this.#count++
    return sealed
  }

  /**
   * As `seal`, of a message in pieces, into `target` from `at` on: a long message is not copied, which costs three times what its encryption does.
   * @returns where the tag ends
   */
  sealInto(ad: Uint8Array, pieces: readonly Uint8Array[], target: Uint8Array, at: number): number {
    const plaintextLength = pieces.reduce((sum, piece) => sum + piece.length, 0)
    const cipher = makeCipher(this.#aead, this.#key, this.#nextNonce())
    cipher.setAAD(ad, { plaintextLength })
    let end = at
    for (const piece of pieces) {
      target.set(cipher.update(piece), end)
      end += piece.length
    }
    cipher.final()
    target.set(cipher.getAuthTag(), end)
    this.#count++
    return end + TAG_LENGTH
  }

  /** A message that fails does not use up a number. */
  open(ad: Uint8Array, sealed: Uint8Array): Buffer | undefined {
    if (this.#count >= MAX_MESSAGES) return undefined
    const body = open(this.#aead, this.#key, this.#nextNonce(), ad, sealed)
    if (body !== undefined) this.#count++
    return body
  }

  /** Lets go of the key, which node:crypto overwrites when it frees it; nothing can be sealed or opened any more. */
  dispose(): void {
    this.#key = NO_KEY
    this.#count = MAX_MESSAGES
  }

  /** Noise §12.3 and §12.4: 32 zero bits, then the counter, little-endian for ChaChaPoly and big-endian for AESGCM. */
  #nextNonce(): Uint8Array {
    if (this.#count >= MAX_MESSAGES)
      throw new RangeError(`${MAX_MESSAGES} messages were sealed with one key, or it was disposed of`)
    if (this.#aead === 'chacha20-poly1305') this.#nonce.writeBigUInt64LE(BigInt(this.#count), 4)
    else this.#nonce.writeBigUInt64BE(BigInt(this.#count), 4)
    return this.#nonce
  }
}
