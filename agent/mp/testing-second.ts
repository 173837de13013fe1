/**
 * A second initiator of MP_INIT for the interop test, written from the specifications and schema/mpinit.ts alone: it shares no code with the first.
 * X25519 is the ladder of RFC 7748 §5 in big integers, HMAC and HKDF are RFC 2104 and RFC 5869 over SHA-256, CBOR is RFC 8949 by hand; only AES-GCM, SHA-256
 * and ML-KEM are node's. Slow and not constant in time: for tests only.
 */
import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createPrivateKey,
  createPublicKey,
  decapsulate,
} from 'node:crypto'
import type { SessionSecrets } from '../../schema/mpinit.ts'

const P = 2n ** 255n - 19n

function littleEndian(bytes: Uint8Array): bigint {
  return BigInt(`0x${Buffer.from(bytes).reverse().toString('hex')}`)
}

function power(base: bigint, exponent: bigint): bigint {
  let result = 1n
  for (let b = base, e = exponent; e > 0n; e >>= 1n, b = (b * b) % P) if (e & 1n) result = (result * b) % P
  return result
}

/** RFC 7748 §5. @returns k * u */
export function x25519(scalar: Uint8Array, point: Uint8Array): Buffer {
  const clamped = Buffer.from(scalar)
  clamped[0] = (clamped[0] ?? 0) & 248
  clamped[31] = ((clamped[31] ?? 0) & 127) | 64
  const k = littleEndian(clamped)
  const x1 = (littleEndian(point) & (2n ** 255n - 1n)) % P
  let [x2, z2, x3, z3] = [1n, 0n, x1, 1n]
  let swap = 0n
  for (let t = 254n; t >= 0n; t--) {
    const bit = (k >> t) & 1n
    if (swap !== bit) [x2, x3, z2, z3] = [x3, x2, z3, z2]
    swap = bit
    const [a, b, c, d] = [x2 + z2, x2 - z2 + P, x3 + z3, x3 - z3 + P]
    const [aa, bb, da, cb] = [(a * a) % P, (b * b) % P, (d * a) % P, (c * b) % P]
    const e = aa - bb + P
    x3 = ((da + cb) * (da + cb)) % P
    z3 = (x1 * (da - cb + P) * (da - cb + P)) % P
    x2 = (aa * bb) % P
    z2 = (e * (aa + 121665n * e)) % P
  }
  if (swap) [x2, z2] = [x3, z3]
  const out = Buffer.from(((x2 * power(z2, P - 2n)) % P).toString(16).padStart(64, '0'), 'hex')
  return out.reverse()
}

export function publicOf(scalar: Uint8Array): Buffer {
  return x25519(scalar, Buffer.from(`09${'00'.repeat(31)}`, 'hex'))
}

const sha = (...parts: Uint8Array[]) => createHash('sha256').update(Buffer.concat(parts)).digest()

function hmac(key: Uint8Array, ...parts: Uint8Array[]): Buffer {
  const block = Buffer.alloc(64)
  Buffer.from(key.length > 64 ? sha(key) : key).copy(block)
  const pad = (byte: number) => block.map(value => value ^ byte)
  return sha(pad(0x5c), sha(pad(0x36), ...parts))
}

function hkdf(salt: Uint8Array, input: Uint8Array, info: string, length: number): Buffer {
  const prk = hmac(salt, input)
  let output: Uint8Array = Buffer.alloc(0)
  for (let i = 1, last: Uint8Array = Buffer.alloc(0); output.length < length; i++) {
    last = hmac(prk, last, Buffer.from(info), Buffer.from([i]))
    output = Buffer.concat([output, last])
  }
  return Buffer.from(output.subarray(0, length))
}

function nonce(count: number): Buffer {
  return Buffer.alloc(12).fill(count, 11)
}

function encrypt(key: Uint8Array, ad: Uint8Array, plaintext: Uint8Array, count = 0): Buffer {
  const cipher = createCipheriv('aes-256-gcm', key, nonce(count)).setAAD(ad)
  return Buffer.concat([cipher.update(plaintext), cipher.final(), cipher.getAuthTag()])
}

function decrypt(key: Uint8Array, ad: Uint8Array, sealed: Uint8Array, count = 0): Buffer {
  const decipher = createDecipheriv('aes-256-gcm', key, nonce(count)).setAAD(ad)
  decipher.setAuthTag(sealed.subarray(-16))
  return Buffer.concat([decipher.update(sealed.subarray(0, -16)), decipher.final()])
}

/** Shortest forms; integers beyond 32 bits as doubles, as the first implementation writes them (RFC 8949 allows both). */
export function cbor(value: unknown): Buffer {
  const head = (major: number, n: number): Buffer => {
    const top = major << 5
    if (n < 24) return Buffer.from([top | n])
    if (n < 256) return Buffer.from([top | 24, n])
    if (n < 65_536) return Buffer.from([top | 25, n >> 8, n & 255])
    const long = Buffer.from([top | 26, 0, 0, 0, 0])
    long.writeUInt32BE(n, 1)
    return long
  }
  if (value === null) return Buffer.from([0xf6])
  if (typeof value === 'boolean') return Buffer.from([value ? 0xf5 : 0xf4])
  if (typeof value === 'number') {
    if (value < 2 ** 32) return head(0, value)
    const double = Buffer.alloc(9, 0xfb)
    double.writeDoubleBE(value, 1)
    return double
  }
  if (typeof value === 'string') return Buffer.concat([head(3, Buffer.byteLength(value)), Buffer.from(value)])
  if (value instanceof Uint8Array) return Buffer.concat([head(2, value.length), value])
  if (Array.isArray(value)) return Buffer.concat([head(4, value.length), ...value.map(cbor)])
  const members = Object.entries(value as object)
  return Buffer.concat([head(5, members.length), ...members.flatMap(([key, member]) => [cbor(key), cbor(member)])])
}

export interface SecondOptions {
  staticPrivate: Uint8Array
  ephemeralPrivate: Uint8Array
  responderPublic: Uint8Array
  sid: number
  payload: unknown
  /** 64 bytes: a hybrid handshake. */
  kemSeed?: Uint8Array
}

export interface SecondInitiator {
  packet: Buffer
  kemPacket: Buffer | undefined
  /** Takes the RESPONSE, and the RESPONSE_KEM; throws when anything in it is not as it must be. @returns the CBOR of its payload */
  finish: (
    response: Uint8Array,
    responseKem?: Uint8Array,
  ) => { cbor: Buffer; senderSid: number; secrets: SessionSecrets }
}

function secondKem(seed: Uint8Array) {
  const key = createPrivateKey({ key: Buffer.from(seed), format: 'raw-seed', asymmetricKeyType: 'ml-kem-768' })
  return {
    publicKey: createPublicKey(key).export({ format: 'raw-public' }),
    secret: (text: Uint8Array) => decapsulate(key, text),
  }
}

export function secondInitiator(options: SecondOptions): SecondInitiator {
  const { staticPrivate: s, ephemeralPrivate: e, responderPublic: rs } = options
  const S = publicOf(s)
  const E = publicOf(e)
  let ck: Uint8Array = Buffer.from('Noise_IK_25519_AESGCM_SHA256\0\0\0\0')
  let h: Uint8Array = sha(sha(ck, Buffer.from('branchline mp_init v1')), rs)
  let k: Uint8Array = Buffer.alloc(0)
  const mix = (input: Uint8Array) => {
    const output = hkdf(ck, input, '', 64)
    ck = output.subarray(0, 32)
    k = output.subarray(32)
  }

  h = sha(h, E)
  mix(x25519(e, rs))
  const sealedStatic = encrypt(k, h, S)
  h = sha(h, sealedStatic)
  mix(x25519(s, rs))
  const body = cbor(options.payload)
  const padded = Buffer.alloc(1200 - 8 - 32 - 48 - 16 - 32)
  padded.writeUInt16BE(body.length)
  body.copy(padded, 2)
  const sealedPayload = encrypt(k, h, padded)
  h = sha(h, sealedPayload)

  const kem = options.kemSeed && secondKem(options.kemSeed)
  // Message 1's key goes on with the next number; the hash takes it up behind message 2.
  const sealedKey = kem && encrypt(k, h, kem.publicKey, 1)
  const kemHead = Buffer.from([0x1c, 0, 0, 0, 0, 0, 0, 0])
  kemHead.writeUInt32BE(options.sid, 4)

  const head = Buffer.from([0x18, 0, 0, 0, 0, 0, 0, 0])
  head.writeUInt32BE(options.sid, 4)
  const checked = Buffer.concat([head, E, sealedStatic, sealedPayload])
  const mac1 = hmac(sha(Buffer.from('branchline mac1 v1\0'), rs), checked).subarray(0, 16)

  return {
    packet: Buffer.concat([checked, mac1, Buffer.alloc(16)]),
    kemPacket: sealedKey && Buffer.concat([kemHead, sealedKey]),
    finish(response, responseKem) {
      const bytes = Buffer.from(response)
      const end = bytes.length - 16
      if (bytes.readUInt32BE(0) !== 0x19000000 || bytes.readUInt32BE(8) !== options.sid)
        throw new Error('not the answer')
      const mac = hmac(sha(Buffer.from('branchline mac1 v1\0'), S), bytes.subarray(0, end)).subarray(0, 16)
      if (!mac.equals(bytes.subarray(end))) throw new Error('mac1')
      const RE = bytes.subarray(12, 44)
      h = sha(h, RE)
      mix(x25519(e, RE))
      mix(x25519(s, RE))
      const sealed = bytes.subarray(44, end)
      const plaintext = decrypt(k, h, sealed)
      h = sha(h, sealed)
      if (kem && sealedKey && responseKem) {
        const answer = Buffer.from(responseKem)
        if (answer.readUInt32BE(0) !== 0x1d000000 || answer.readUInt32BE(4) !== options.sid)
          throw new Error('not the answer')
        h = sha(h, sealedKey)
        const [sealedText, tag] = [answer.subarray(8, 8 + 1088 + 16), answer.subarray(8 + 1088 + 16)]
        const text = decrypt(k, h, sealedText, 1)
        h = sha(h, sealedText)
        mix(kem.secret(text))
        if (decrypt(k, h, tag).length !== 0) throw new Error('the last payload is not empty')
        h = sha(h, tag)
      }
      const hash = h
      const split = hkdf(ck, Buffer.alloc(0), '', 64)
      const derive = (label: string, length: number) => hkdf(hash, ck, `branchline v1 ${label}`, length)
      return {
        cbor: plaintext.subarray(2, 2 + plaintext.readUInt16BE(0)),
        senderSid: bytes.readUInt32BE(4),
        secrets: {
          tagTx: derive('tag i2r', 16),
          tagRx: derive('tag r2i', 16),
          recordTx: split.subarray(0, 32),
          recordRx: split.subarray(32),
          hash,
          esp: (path, direction) => derive(`esp ${path} ${direction === 'tx' ? 'i2r' : 'r2i'}`, 36),
        },
      }
    },
  }
}
