/**
 * SipHash-2-4 (Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012), the tag of the MP header (bpf/wire.h). The dataplane has its
 * own in C, and the two check each other.
 */

const MASK = 0xffffffffffffffffn

function rotl(x: bigint, bits: bigint): bigint {
  return ((x << bits) | (x >> (64n - bits))) & MASK
}

/** The key as the two words that SipHash starts from: what bpf/abi.h holds. @param key 16 bytes */
export function siphashKeyWords(key: Uint8Array): [bigint, bigint] {
  if (key.length !== 16) throw new RangeError(`a SipHash key has 16 bytes, not ${key.length}`)
  const view = new DataView(key.buffer, key.byteOffset, 16)
  return [view.getBigUint64(0, true), view.getBigUint64(8, true)]
}

export type SipState = [bigint, bigint, bigint, bigint]

function sipRounds([v0, v1, v2, v3]: SipState, count: number): SipState {
  for (let i = 0; i < count; i++) {
    v0 = (v0 + v1) & MASK
    v1 = rotl(v1, 13n) ^ v0
    v0 = rotl(v0, 32n)
    v2 = (v2 + v3) & MASK
    v3 = rotl(v3, 16n) ^ v2
    v0 = (v0 + v3) & MASK
    v3 = rotl(v3, 21n) ^ v0
    v2 = (v2 + v1) & MASK
    v1 = rotl(v1, 17n) ^ v2
    v2 = rotl(v2, 32n)
  }
  return [v0, v1, v2, v3]
}

/** What SipHash has come to behind the key and whole words of a message. @param words as siphashKeyWords @param message a multiple of 8 bytes */
export function siphashState([k0 = 0n, k1 = 0n]: readonly bigint[], message: Uint8Array): SipState {
  if (message.length % 8 !== 0) throw new RangeError(`${message.length} bytes are no whole words`)
  const view = new DataView(message.buffer, message.byteOffset, message.length)
  let state: SipState = [
    k0 ^ 0x736f6d6570736575n,
    k1 ^ 0x646f72616e646f6dn,
    k0 ^ 0x6c7967656e657261n,
    k1 ^ 0x7465646279746573n,
  ]
  for (let at = 0; at < message.length; at += 8) {
    const word = view.getBigUint64(at, true)
    state[3] ^= word
    state = sipRounds(state, 2)
    state[0] ^= word
  }
  return state
}

/**
 * @param key 16 bytes
 * @param parts hashed as one message
 * @returns the 64-bit hash as a number; the paper prints its bytes little-endian, wire.h sends them big-endian
 */
export function siphash24(key: Uint8Array, ...parts: readonly Uint8Array[]): bigint {
  const message = Buffer.concat(parts)
  // The last word holds what is left of the message and, in its top byte, the length modulo 256.
  const padded = Buffer.alloc((Math.floor(message.length / 8) + 1) * 8)
  message.copy(padded)
  padded[padded.length - 1] = message.length & 0xff
  const state = siphashState(siphashKeyWords(key), padded)
  state[2] ^= 0xffn
  return sipRounds(state, 4).reduce((sum, word) => sum ^ word, 0n)
}
