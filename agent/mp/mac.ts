/** Short keyed checks of handshake packets: HMAC-SHA256 cut to 16 bytes (RFC 2104 §5). Domain separation is in the labels of the keys. */
import { createHmac, createSecretKey, hash, timingSafeEqual } from 'node:crypto'

export const MAC_LENGTH = 16

export function mac(key: Uint8Array, data: Uint8Array): Buffer {
  // A key object: node:crypto finds out that bytes are none by an exception, which costs three times the HMAC.
  return createHmac('sha256', createSecretKey(key)).update(data).digest().subarray(0, MAC_LENGTH)
}

export function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && timingSafeEqual(a, b)
}

/** A 32-byte key for one purpose, from public or secret bytes. */
export function labelledKey(label: string, ...parts: readonly Uint8Array[]): Buffer {
  return hash('sha256', Buffer.concat([Buffer.from(`${label}\0`), ...parts]), 'buffer')
}

/** Key of mac1: whoever knows the receiver's static public key can make it, a port scanner cannot. */
export function mac1Key(receiverStatic: Uint8Array): Buffer {
  return labelledKey('branchline mac1 v1', receiverStatic)
}
