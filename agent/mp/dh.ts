/**
 * X25519 (RFC 7748) with keys as node:crypto wants them. Importing a key costs as much as half an exchange, so static keys are imported once
 * and kept as objects.
 */
import { createPrivateKey, createPublicKey, diffieHellman, generateKeyPairSync, type KeyObject } from 'node:crypto'

/** Bytes of a public key, a private key and a shared secret. */
export const DH_LENGTH = 32

export interface PublicKey {
  readonly raw: Uint8Array
  readonly key: KeyObject
}

export interface KeyPair {
  readonly publicKey: PublicKey
  readonly privateKey: KeyObject
}

/** RFC 8410: what stands before the 32 raw bytes in the PKCS #8 form of an X25519 private key. */
const PKCS8_PREFIX = Buffer.from('302e020100300506032b656e04220420', 'hex')

export function generateKeyPair(): KeyPair {
  const { publicKey, privateKey } = generateKeyPairSync('x25519')
  return { publicKey: { raw: rawPublic(publicKey), key: publicKey }, privateKey }
}

/** @param raw 32 bytes. Throws a RangeError on another length. */
export function importKeyPair(raw: Uint8Array): KeyPair {
  requireLength(raw)
  const privateKey = createPrivateKey({ key: Buffer.concat([PKCS8_PREFIX, raw]), format: 'der', type: 'pkcs8' })
  const publicKey = createPublicKey(privateKey)
  return { publicKey: { raw: rawPublic(publicKey), key: publicKey }, privateKey }
}

/** The 32 bytes that `importKeyPair` takes: for the node's key file. */
export function exportPrivate(pair: KeyPair): Uint8Array {
  return Uint8Array.from(pair.privateKey.export({ format: 'der', type: 'pkcs8' }).subarray(PKCS8_PREFIX.length))
}

/** @param raw 32 bytes, copied. Throws a RangeError on another length. Any 32 bytes are a public key; the exchange finds out weak ones. */
export function importPublic(raw: Uint8Array): PublicKey {
  requireLength(raw)
  const copy = Uint8Array.from(raw)
  const x = Buffer.from(copy).toString('base64url')
  return { raw: copy, key: createPublicKey({ key: { kty: 'OKP', crv: 'X25519', x }, format: 'jwk' }) }
}

/**
 * @returns 32 bytes, or undefined when the result would be all zero: the remote key is a point of small order and the secret known to everyone
 * (RFC 7748 §6.1). OpenSSL makes that check; the tests hold it to it.
 */
export function exchange(local: KeyPair, remote: PublicKey): Uint8Array | undefined {
  try {
    return diffieHellman({ privateKey: local.privateKey, publicKey: remote.key })
  } catch {
    return undefined
  }
}

function rawPublic(key: KeyObject): Uint8Array {
  const { x } = key.export({ format: 'jwk' })
  if (x === undefined) throw new TypeError('not an X25519 public key')
  return Uint8Array.from(Buffer.from(x, 'base64url'))
}

function requireLength(raw: Uint8Array): void {
  if (raw.length !== DH_LENGTH) throw new RangeError(`an X25519 key has ${DH_LENGTH} bytes, not ${raw.length}`)
}
