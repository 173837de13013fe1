import { existsSync, readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { CipherState } from './cipher.ts'
import { exportPrivate, generateKeyPair, importKeyPair, importPublic, type KeyPair } from './dh.ts'
import { Handshake } from './noise.ts'
import { parseSuite } from './symmetric.ts'

const hex = (text: string) => Buffer.from(text, 'hex')

/** Published by the cacophony project; kept beside the repository, not in it. */
const vectorFile = new URL('../../../shared/data/noise-ik.json', import.meta.url)
const vectorSchema = z.object({
  vectors: z.array(
    z.object({
      protocol_name: z.string(),
      init_prologue: z.string(),
      init_static: z.string(),
      init_ephemeral: z.string(),
      init_remote_static: z.string(),
      resp_prologue: z.string(),
      resp_static: z.string(),
      resp_ephemeral: z.string(),
      handshake_hash: z.string(),
      messages: z.array(z.object({ payload: z.string(), ciphertext: z.string() })),
    }),
  ),
})
const published = existsSync(vectorFile)
  ? vectorSchema
      .parse(JSON.parse(readFileSync(vectorFile, 'utf8')))
      .vectors.filter(vector => vector.protocol_name.startsWith('Noise_IK_'))
  : undefined
if (published === undefined) console.warn(`published Noise vectors are not at ${vectorFile.pathname}: skipped`)

describe.skipIf(published === undefined)('published vectors', () => {
  it('are six: two ciphers, three hashes', () => {
    expect(published?.map(vector => vector.protocol_name)).toHaveLength(6)
  })

  for (const vector of published ?? []) {
    it(vector.protocol_name, () => {
      const suite = parseSuite(vector.protocol_name)
      const initiator = Handshake.initiator({
        suite,
        prologue: hex(vector.init_prologue),
        staticKey: importKeyPair(hex(vector.init_static)),
        remoteStatic: importPublic(hex(vector.init_remote_static)),
        generate: () => importKeyPair(hex(vector.init_ephemeral)),
      })
      const responder = Handshake.responder({
        suite,
        prologue: hex(vector.resp_prologue),
        staticKey: importKeyPair(hex(vector.resp_static)),
        generate: () => importKeyPair(hex(vector.resp_ephemeral)),
      })
      const [first, second, ...transport] = vector.messages
      if (first === undefined || second === undefined) throw new Error('a vector without a handshake')

      const message1 = initiator.write(hex(first.payload))
      expect(message1?.toString('hex')).toBe(first.ciphertext)
      expect(responder.read(hex(first.ciphertext))).toEqual({ ok: true, payload: hex(first.payload) })
      expect(responder.remoteStatic?.raw).toEqual(importKeyPair(hex(vector.init_static)).publicKey.raw)

      const message2 = responder.write(hex(second.payload))
      expect(message2?.toString('hex')).toBe(second.ciphertext)
      expect(initiator.read(hex(second.ciphertext))).toEqual({ ok: true, payload: hex(second.payload) })

      const sides = [initiator.finish(), responder.finish()]
      for (const side of sides) expect(Buffer.from(side.hash).toString('hex')).toBe(vector.handshake_hash)
      expect(sides[1]).toEqual(sides[0])

      const split = sides[0]?.split ?? []
      const senders = split.map(key => new CipherState(suite.aead, key))
      const receivers = split.map(key => new CipherState(suite.aead, key))
      expect(transport).toHaveLength(4)
      transport.forEach((message, i) => {
        const sealed = senders[i % 2]?.seal(Buffer.alloc(0), hex(message.payload))
        expect(sealed?.toString('hex')).toBe(message.ciphertext)
        expect(receivers[i % 2]?.open(Buffer.alloc(0), hex(message.ciphertext))).toEqual(hex(message.payload))
      })
    })
  }
})

const suite = parseSuite('Noise_IK_25519_AESGCM_SHA256')
const prologue = Buffer.from('test')

function pair(options: { initiatorKey?: KeyPair; responderKey?: KeyPair; expected?: KeyPair } = {}) {
  const responderKey = options.responderKey ?? generateKeyPair()
  return {
    initiator: Handshake.initiator({
      suite,
      prologue,
      staticKey: options.initiatorKey ?? generateKeyPair(),
      remoteStatic: importPublic((options.expected ?? responderKey).publicKey.raw),
    }),
    responder: Handshake.responder({ suite, prologue, staticKey: responderKey }),
  }
}

function written(handshake: Handshake, payload = 'hello'): Buffer {
  const message = handshake.write(Buffer.from(payload))
  if (message === undefined) throw new Error('the handshake could not write')
  return message
}

describe('Handshake', () => {
  it('refuses each flipped bit of message 1 and still takes the right one afterwards', () => {
    const { initiator, responder } = pair()
    const message = written(initiator)
    for (let at = 0; at < message.length; at++) {
      const bad = Buffer.from(message)
      bad[at] = (bad[at] ?? 0) ^ (1 << (at % 7)) // never bit 7: X25519 ignores the top bit of a key
      expect(responder.read(bad), `byte ${at}`).toEqual({ ok: false, reason: 'decrypt-failed' })
      expect(responder.remoteStatic).toBeUndefined()
    }
    expect(responder.read(message).ok).toBe(true)
  })

  it('refuses a flipped top bit of the ephemeral key, which X25519 ignores, by the hash', () => {
    const { initiator, responder } = pair()
    const message = written(initiator)
    message[31] = (message[31] ?? 0) ^ 0x80
    expect(responder.read(message)).toEqual({ ok: false, reason: 'decrypt-failed' })
  })

  it('refuses each flipped byte of message 2 and still takes the right one afterwards', () => {
    const { initiator, responder } = pair()
    responder.read(written(initiator))
    const message = written(responder)
    for (let at = 0; at < message.length; at++) {
      const bad = Buffer.from(message)
      bad[at] = (bad[at] ?? 0) ^ 0x01
      expect(initiator.read(bad), `byte ${at}`).toEqual({ ok: false, reason: 'decrypt-failed' })
    }
    expect(initiator.read(message).ok).toBe(true)
  })

  it('calls every short message truncated or forged', () => {
    const { initiator, responder } = pair()
    const message = written(initiator)
    for (let length = 0; length < message.length; length++) {
      const reason = length < 32 + 48 + 16 ? 'truncated' : 'decrypt-failed'
      expect(responder.read(message.subarray(0, length)), `${length} bytes`).toEqual({ ok: false, reason })
    }
  })

  // Points of order 1, 2, 4 and 8 and their twins above the field prime: https://cr.yp.to/ecdh.html#validate
  it.each([
    '0000000000000000000000000000000000000000000000000000000000000000',
    '0100000000000000000000000000000000000000000000000000000000000000',
    'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
    'e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800',
    '5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157',
    'edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
    'eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  ])('refuses the weak ephemeral key %s', weak => {
    const { initiator, responder } = pair()
    const message = written(initiator)
    hex(weak).copy(message)
    expect(responder.read(message)).toEqual({ ok: false, reason: 'bad-key' })
  })

  it('cannot write to a weak responder key', () => {
    const initiator = Handshake.initiator({
      suite,
      prologue,
      staticKey: generateKeyPair(),
      remoteStatic: importPublic(new Uint8Array(32)),
    })
    expect(initiator.write(Buffer.from('hello'))).toBeUndefined()
  })

  it('fails for another prologue and another responder', () => {
    const { initiator } = pair()
    const staticKey = generateKeyPair()
    expect(Handshake.responder({ suite, prologue, staticKey }).read(written(initiator)).ok).toBe(false)
    const other = Handshake.initiator({
      suite,
      prologue: Buffer.from('other'),
      staticKey,
      remoteStatic: staticKey.publicKey,
    })
    expect(Handshake.responder({ suite, prologue, staticKey }).read(written(other)).ok).toBe(false)
  })

  it('throws on a call out of turn', () => {
    const { initiator, responder } = pair()
    expect(() => responder.write(Buffer.alloc(0))).toThrow("not this side's turn to write message 1")
    expect(() => initiator.read(Buffer.alloc(96))).toThrow("not this side's turn to read message 1")
    expect(() => initiator.finish()).toThrow('before message 1')
  })
})

describe('keys', () => {
  it('go out and in again', () => {
    const key = generateKeyPair()
    expect(importKeyPair(exportPrivate(key)).publicKey.raw).toEqual(key.publicKey.raw)
  })

  it('of a wrong length, and unknown suites, are refused', () => {
    expect(() => importPublic(new Uint8Array(31))).toThrow('an X25519 key has 32 bytes, not 31')
    expect(() => importKeyPair(new Uint8Array(33))).toThrow('not 33')
    expect(() => parseSuite('Noise_XX_25519_AESGCM_SHA256')).toThrow('no Noise suite')
    expect(() => parseSuite('Noise_IK_25519_AESGCM_MD5')).toThrow('no Noise suite')
  })
})
