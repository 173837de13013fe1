/** What every Noise handshake works on, whatever its pattern: chaining key, handshake hash and the current cipher (SymmetricState of §5.2). */
import { createSecretKey, hash, hkdfSync } from 'node:crypto'
import { type Aead, CipherState } from './cipher.ts'

const AEADS: Readonly<Record<string, Aead>> = { AESGCM: 'aes-256-gcm', ChaChaPoly: 'chacha20-poly1305' }
const HASHES: Readonly<Record<string, { digest: string; length: number }>> = {
  SHA256: { digest: 'sha256', length: 32 },
  SHA512: { digest: 'sha512', length: 64 },
  BLAKE2s: { digest: 'blake2s256', length: 32 },
}

const NOTHING = new Uint8Array(0)

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

/** Values are replaced, never changed, so a copy is cheap. */
export class SymmetricState {
  readonly suite: Suite
  chainingKey: Uint8Array
  hash: Uint8Array
  cipher: CipherState | undefined

  constructor(suite: Suite, from?: SymmetricState) {
    this.suite = suite
    if (from !== undefined) {
      this.chainingKey = from.chainingKey
      this.hash = from.hash
      this.cipher = from.cipher?.copy()
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
    // A key object: given bytes, node:crypto finds out what they are by an exception, at half of the price of the call.
    const output = new Uint8Array(
      hkdfSync(this.suite.digest, createSecretKey(input), this.chainingKey, NOTHING, 2 * length),
    )
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
