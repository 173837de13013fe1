import { describe, expect, it } from 'vitest'
import { generateKeyPair } from './dh.ts'
import {
  decapsulate,
  type Encapsulated,
  encapsulate,
  generateKem,
  importKem,
  importKemSeed,
  KEM_CIPHERTEXT_LENGTH,
  KEM_KEY_LENGTH,
} from './kem.ts'
import { E1_OVERHEAD, EKEM1_OVERHEAD, Handshake } from './noise.ts'
import { parseSuite } from './symmetric.ts'

const suite = parseSuite('Noise_IK_25519_AESGCM_SHA256')
const prologue = Buffer.from('test')
const bytes = (message: Buffer | undefined): Buffer => {
  if (message === undefined) throw new Error('the handshake could not write')
  return message
}

function encapsulated(raw: Uint8Array): Encapsulated {
  const key = importKem(raw)
  if (key === undefined) throw new Error('no encapsulation key')
  return encapsulate(key)
}

/** Both sides up to where message 2 is read. @param e1 undefined: the initiator has no ML-KEM */
function upToMessage2(e1: 'sent' | 'lost' | undefined) {
  const responderKey = generateKeyPair()
  const initiator = Handshake.initiator({
    suite,
    prologue,
    staticKey: generateKeyPair(),
    remoteStatic: responderKey.publicKey,
  })
  const responder = Handshake.responder({ suite, prologue, staticKey: responderKey })
  const pair = generateKem()
  responder.read(bytes(initiator.write(Buffer.from('one'))))
  const sealed = e1 && initiator.writeE1(pair)
  if (sealed && e1 === 'sent') expect(responder.readE1(sealed)).toBe('ok')
  expect(initiator.read(bytes(responder.write(Buffer.from('two')))).ok).toBe(true)
  return { initiator, responder, pair }
}

const flipped = (message: Uint8Array, at: number) => {
  const bad = Buffer.from(message)
  bad[at] = (bad[at] ?? 0) ^ 1
  return bad
}

describe('ML-KEM-768', () => {
  it('has the sizes of FIPS 203 table 3', () => {
    const { raw } = generateKem()
    const made = encapsulated(raw)
    expect([raw.length, made.ciphertext.length, made.secret.length]).toEqual([
      KEM_KEY_LENGTH,
      KEM_CIPHERTEXT_LENGTH,
      32,
    ])
  })

  it('refuses what is no encapsulation key: a wrong length, and coefficients of q and more', () => {
    const { raw } = generateKem()
    expect(importKem(raw.subarray(1))).toBeUndefined()
    expect(importKem(Buffer.concat([raw, Buffer.alloc(1)]))).toBeUndefined()
    expect(importKem(Buffer.alloc(KEM_KEY_LENGTH, 0xff))).toBeUndefined()
    // The first coefficient is 3329 = q: 12 bits, little-endian.
    const tooLarge = Buffer.from(raw)
    tooLarge[0] = 0x01
    tooLarge[1] = ((tooLarge[1] ?? 0) & 0xf0) | 0x0d
    expect(importKem(tooLarge)).toBeUndefined()
  })

  it('rejects a changed ciphertext implicitly: the same wrong secret each time', () => {
    const pair = generateKem()
    const made = encapsulated(pair.raw)
    expect(decapsulate(pair, made.ciphertext)).toEqual(made.secret)
    const bad = flipped(made.ciphertext, 700)
    const wrong = decapsulate(pair, bad)
    expect(wrong).not.toEqual(made.secret)
    expect(decapsulate(pair, bad)).toEqual(wrong)
    expect(() => decapsulate(pair, bad.subarray(1))).toThrow('has 1088 bytes, not 1087')
  })
})

describe('a hybrid handshake', () => {
  it('gives both ends the same keys', () => {
    const { initiator, responder, pair } = upToMessage2('sent')
    const ekem1 = responder.writeEkem1()
    expect(ekem1).toHaveLength(KEM_CIPHERTEXT_LENGTH + EKEM1_OVERHEAD)
    expect(initiator.readEkem1(ekem1, pair)).toBe(true)
    expect(initiator.finish()).toEqual(responder.finish())
  })

  it('hangs every key on the encapsulated secret: a recording and the X25519 secrets are not enough', () => {
    const staticKeys = [generateKeyPair(), generateKeyPair()] as const
    const ephemerals = [generateKeyPair(), generateKeyPair()] as const
    const kem = importKemSeed(new Uint8Array(64).fill(7))
    const made = encapsulated(kem.raw)
    const run = (secret: number) => {
      const initiator = Handshake.initiator({
        suite,
        prologue,
        staticKey: staticKeys[0],
        remoteStatic: staticKeys[1].publicKey,
        generate: () => ephemerals[0],
      })
      const responder = Handshake.responder({
        suite,
        prologue,
        staticKey: staticKeys[1],
        generate: () => ephemerals[1],
      })
      responder.read(bytes(initiator.write(Buffer.from('one'))))
      responder.readE1(initiator.writeE1(kem))
      responder.write(Buffer.from('two'))
      // The same ciphertext on the wire, another secret in it: all that an eavesdropper with the X25519 secrets lacks.
      const ekem1 = responder.writeEkem1(() => ({ ciphertext: made.ciphertext, secret: Buffer.alloc(32, secret) }))
      return { ciphertext: ekem1.subarray(0, -16), ...responder.finish() }
    }
    const [a, b] = [run(1), run(2)]
    expect(a.ciphertext).toEqual(b.ciphertext)
    expect(a.chainingKey).not.toEqual(b.chainingKey)
    expect(a.split[0]).not.toEqual(b.split[0])
    expect(a.split[1]).not.toEqual(b.split[1])
  })

  it('refuses each flipped byte of e1 and of ekem1, and still takes the right one afterwards', () => {
    const responderKey = generateKeyPair()
    const initiator = Handshake.initiator({
      suite,
      prologue,
      staticKey: generateKeyPair(),
      remoteStatic: responderKey.publicKey,
    })
    const responder = Handshake.responder({ suite, prologue, staticKey: responderKey })
    const pair = generateKem()
    responder.read(bytes(initiator.write(Buffer.from('one'))))
    const e1 = initiator.writeE1(pair)
    expect(e1).toHaveLength(KEM_KEY_LENGTH + E1_OVERHEAD)
    for (let at = 0; at < e1.length; at++)
      expect(responder.readE1(flipped(e1, at)), `byte ${at}`).toBe('decrypt-failed')
    expect(responder.readE1(e1.subarray(1))).toBe('decrypt-failed')
    expect(responder.readE1(e1)).toBe('ok')
    initiator.read(bytes(responder.write(Buffer.from('two'))))
    const ekem1 = responder.writeEkem1()
    for (let at = 0; at < ekem1.length; at++)
      expect(initiator.readEkem1(flipped(ekem1, at), pair), `byte ${at}`).toBe(false)
    for (const length of [0, 16, KEM_CIPHERTEXT_LENGTH + 16, ekem1.length - 1])
      expect(initiator.readEkem1(ekem1.subarray(0, length), pair), `${length} bytes`).toBe(false)
    expect(initiator.readEkem1(Buffer.concat([ekem1, Buffer.alloc(1)]), pair)).toBe(false)
    expect(initiator.readEkem1(ekem1, pair)).toBe(true)
    expect(initiator.finish()).toEqual(responder.finish())
  })

  it('shows an authentic answer to another key: the secrets differ, the empty payload does not open', () => {
    const { initiator, responder, pair } = upToMessage2('sent')
    const other = encapsulated(generateKem().raw)
    expect(
      initiator.readEkem1(
        responder.writeEkem1(() => other),
        pair,
      ),
    ).toBe(false)
    expect(other.secret.every(byte => byte === 0)).toBe(true)
  })

  it('does not take e1 of another handshake', () => {
    const responderKey = generateKeyPair()
    const [staticKey, remoteStatic] = [generateKeyPair(), responderKey.publicKey]
    const start = () => Handshake.initiator({ suite, prologue, staticKey, remoteStatic })
    const [first, second] = [start(), start()]
    first.write(Buffer.from('one'))
    const responder = Handshake.responder({ suite, prologue, staticKey: responderKey })
    responder.read(bytes(second.write(Buffer.from('one'))))
    expect(responder.readE1(first.writeE1(generateKem()))).toBe('decrypt-failed')
  })

  it('is the classical one, key by key, for a responder that does not take e1', () => {
    const { initiator, responder } = upToMessage2('lost')
    expect(initiator.finish()).toEqual(responder.finish())
  })

  it('refuses an authentic e1 that is no encapsulation key', () => {
    const responderKey = generateKeyPair()
    const options = { suite, prologue, staticKey: generateKeyPair(), remoteStatic: responderKey.publicKey }
    const initiator = Handshake.initiator(options)
    const responder = Handshake.responder({ suite, prologue, staticKey: responderKey })
    responder.read(bytes(initiator.write(Buffer.from('one'))))
    const bad = { ...generateKem(), raw: Buffer.alloc(KEM_KEY_LENGTH, 0xff) }
    expect(responder.readE1(initiator.writeE1(bad))).toBe('bad-key')
  })

  it('throws on a call out of turn', () => {
    const { initiator, responder, pair } = upToMessage2('sent')
    expect(() => initiator.writeE1(pair)).toThrow('e1 is written once')
    expect(() => responder.readE1(Buffer.alloc(1200))).toThrow('e1 is read once')
    expect(() => responder.finish()).toThrow('before ekem1')
    const classical = upToMessage2(undefined)
    expect(() => classical.responder.writeEkem1()).toThrow('follows e1')
    expect(() => classical.initiator.readEkem1(Buffer.alloc(1120), pair)).toThrow('follows e1')
  })
})
