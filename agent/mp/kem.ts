/**
 * ML-KEM-768 (FIPS 203): the part of the handshake that a quantum computer does not undo. A key pair serves one initiation; keys travel in their
 * raw form (FIPS 203 §7), which node:crypto takes and checks on import.
 */
import {
  createPrivateKey,
  createPublicKey,
  decapsulate as decapsulateKey,
  encapsulate as encapsulateKey,
  generateKeyPairSync,
  type KeyObject,
} from 'node:crypto'

/** As the capability of MP_INIT and the key types of node:crypto name it. */
export const KEM = 'ml-kem-768'
/** Bytes of an encapsulation key and of a ciphertext (FIPS 203 table 3). */
export const KEM_KEY_LENGTH = 1184
export const KEM_CIPHERTEXT_LENGTH = 1088

export interface KemKeyPair {
  /** Encapsulation key. */
  readonly raw: Uint8Array
  readonly privateKey: KeyObject
}

export interface Encapsulated {
  readonly ciphertext: Uint8Array
  /** 32 bytes. */
  readonly secret: Uint8Array
}

export function generateKem(): KemKeyPair {
  const { publicKey, privateKey } = generateKeyPairSync(KEM)
  return { raw: publicKey.export({ format: 'raw-public' }), privateKey }
}

/** @param seed d and z of FIPS 203 algorithm 19, 64 bytes */
export function importKemSeed(seed: Uint8Array): KemKeyPair {
  const privateKey = createPrivateKey({ key: Buffer.from(seed), format: 'raw-seed', asymmetricKeyType: KEM })
  return { raw: createPublicKey(privateKey).export({ format: 'raw-public' }), privateKey }
}

/** @param raw of the other side. @returns undefined when it is no encapsulation key (the modulus check of FIPS 203 §7.2) */
export function importKem(raw: Uint8Array): KeyObject | undefined {
  try {
    return createPublicKey({
      key: Buffer.from(raw.buffer, raw.byteOffset, raw.length),
      format: 'raw-public',
      asymmetricKeyType: KEM,
    })
  } catch {
    return undefined
  }
}

export function encapsulate(key: KeyObject): Encapsulated {
  const { ciphertext, sharedKey } = encapsulateKey(key)
  return { ciphertext, secret: sharedKey }
}

/**
 * @returns 32 bytes, also for a ciphertext that nobody made for this key: then they are known to nobody (implicit rejection, FIPS 203 §6.3). That the
 * other side has the same ones shows only when something sealed with them opens. Throws a RangeError on another length.
 */
export function decapsulate(pair: KemKeyPair, ciphertext: Uint8Array): Uint8Array {
  if (ciphertext.length !== KEM_CIPHERTEXT_LENGTH) {
    throw new RangeError(`an ${KEM} ciphertext has ${KEM_CIPHERTEXT_LENGTH} bytes, not ${ciphertext.length}`)
  }
  return decapsulateKey(pair.privateKey, ciphertext)
}
