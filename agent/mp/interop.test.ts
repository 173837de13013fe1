/**
 *   second implementation (testing-second.ts) ---- INIT ---> our responder
 *                                             <-- RESPONSE --
 * and transcripts frozen in vectors/, made once from fixed keys.
 */
import { randomBytes } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { responsePayloadSchema, type SessionSecrets } from '../../schema/mpinit.ts'
import { decodeCbor, encodeCbor } from './cbor.ts'
import { exportPrivate, generateKeyPair } from './dh.ts'
import { offer, SOURCE, START, World } from './testing.ts'
import { cbor, publicOf, secondInitiator, x25519 } from './testing-second.ts'
import {
  EDGE_SID,
  fixedInitiator,
  offer as fixedOffer,
  fixedResponder,
  GATEWAY_SID,
  hybridQuestion,
  KEYS,
  mpInitTranscript,
  noiseTranscripts,
} from './vectors/make.ts'
import frozenInit from './vectors/mp-init.json' with { type: 'json' }
import frozenHybrid from './vectors/mp-init-hybrid.json' with { type: 'json' }
import frozenNoise from './vectors/noise-ik.json' with { type: 'json' }

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')

function listed(secrets: SessionSecrets) {
  const { hash, tagTx, tagRx, recordTx, recordRx, esp } = secrets
  return { hash, tagTx, tagRx, recordTx, recordRx, espTx0: esp(0, 'tx'), espRx1: esp(1, 'rx') }
}

const inHex = (keys: Record<string, Uint8Array>) =>
  Object.fromEntries(Object.entries(keys).map(([name, key]) => [name, hex(key)]))

describe('the second implementation', () => {
  it('has the X25519 of RFC 7748 §5.2 and of node', () => {
    const scalar = Buffer.from('a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4', 'hex')
    const point = Buffer.from('e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c', 'hex')
    expect(hex(x25519(scalar, point))).toBe('c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552')
    const key = generateKeyPair()
    expect(hex(publicOf(exportPrivate(key)))).toBe(hex(key.publicKey.raw))
  })

  it('writes the same CBOR', () => {
    const value = {
      a: [0, 23, 24, 255, 256, 65_535, 65_536, 2 ** 32 - 1, START * 1000],
      b: null,
      c: true,
      d: 'é'.repeat(30),
      e: randomBytes(300),
    }
    expect(hex(cbor(value))).toBe(hex(encodeCbor(value)))
  })

  it('opens a tunnel to our responder and gets the same keys', () => {
    const world = new World()
    const edge = world.node('edge-a')
    const second = secondInitiator({
      staticPrivate: exportPrivate(edge.key),
      ephemeralPrivate: exportPrivate(generateKeyPair()),
      responderPublic: world.gateway.key.publicKey.raw,
      sid: 0x777,
      payload: { ...offer(edge), timestamp: START * 1000 },
    })
    const there = world.responder().receive(second.packet, SOURCE)
    if (there.kind !== 'established') throw new Error(`not established: ${JSON.stringify(there)}`)
    expect(there).toMatchObject({ remoteSid: 0x777, grant: edge.body })
    const here = second.finish(there.packets[0])
    expect(here.senderSid).toBe(0x2000)
    expect(decodeCbor(here.cbor, responsePayloadSchema)).toMatchObject({
      ok: true,
      value: { ok: true, virtualAddress: '100.64.0.2', seen: SOURCE },
    })
    expect(inHex(listed(here.secrets))).toEqual(inHex(listed(there.secrets)))
  })
})

describe('the second implementation, with ML-KEM', () => {
  it('opens a tunnel to our responder and gets the same keys', () => {
    const world = new World()
    const edge = world.node('edge-a')
    const second = secondInitiator({
      staticPrivate: exportPrivate(edge.key),
      ephemeralPrivate: exportPrivate(generateKeyPair()),
      responderPublic: world.gateway.key.publicKey.raw,
      sid: 0x777,
      payload: { ...offer(edge, { capabilities: { esp: true, kem: 'ml-kem-768' } }), timestamp: START * 1000 },
      kemSeed: randomBytes(64),
    })
    const responder = world.responder()
    expect(responder.receive(second.packet, SOURCE)).toEqual({ kind: 'waiting' })
    const there = responder.receive(second.kemPacket ?? Buffer.alloc(0), SOURCE)
    if (there.kind !== 'established') throw new Error(`not established: ${JSON.stringify(there)}`)
    const here = second.finish(there.packets[0], there.packets[1])
    expect(decodeCbor(here.cbor, responsePayloadSchema)).toMatchObject({
      ok: true,
      value: { ok: true, capabilities: { esp: true, kem: 'ml-kem-768' } },
    })
    expect(inHex(listed(here.secrets))).toEqual(inHex(listed(there.secrets)))
  })

  it('sends and derives what is frozen', () => {
    const { timestamp, ...rest } = fixedOffer()
    const second = secondInitiator({
      staticPrivate: KEYS.edge,
      ephemeralPrivate: KEYS.edgeEphemeral,
      responderPublic: publicOf(KEYS.gateway),
      sid: EDGE_SID,
      payload: { ...rest, capabilities: { ...rest.capabilities, kem: 'ml-kem-768' }, timestamp },
      kemSeed: Buffer.from(frozenHybrid.kemSeed, 'hex'),
    })
    expect(hex(second.packet)).toBe(frozenHybrid.init)
    expect(hex(second.kemPacket ?? Buffer.alloc(0))).toBe(frozenHybrid.initKem)
    const [response, responseKem] = [frozenHybrid.response, frozenHybrid.responseKem].map(text =>
      Buffer.from(text, 'hex'),
    )
    if (!response || !responseKem) throw new Error('no answer is frozen')
    expect(inHex(listed(second.finish(response, responseKem).secrets))).toEqual(frozenHybrid.secrets)
  })
})

describe('frozen transcripts', () => {
  it('of the hybrid MP_INIT: both questions, and the keys from both answers', () => {
    const { response, responseKem, secrets, ...question } = frozenHybrid
    expect(hybridQuestion()).toEqual(question)
    const initiator = fixedInitiator('required')
    const { timestamp: _, ...payload } = fixedOffer()
    initiator.start(EDGE_SID, payload)
    expect(initiator.receive(Buffer.from(response, 'hex'))).toEqual({ kind: 'waiting' })
    const here = initiator.receive(Buffer.from(responseKem, 'hex'))
    if (here.kind !== 'established') throw new Error(`not established: ${JSON.stringify(here)}`)
    expect(inHex(listed(here.secrets))).toEqual(secrets)
  })

  it('of Noise IK, six suites', () => {
    expect(frozenNoise).toHaveLength(6)
    expect(noiseTranscripts()).toEqual(frozenNoise)
  })

  it('of MP_INIT: INIT, COOKIE, INIT with cookie, RESPONSE and every key', () => {
    expect(mpInitTranscript()).toEqual(frozenInit)
  })

  it('are what the second implementation sends and derives, too', () => {
    const { timestamp, ...rest } = fixedOffer()
    const second = secondInitiator({
      staticPrivate: KEYS.edge,
      ephemeralPrivate: KEYS.edgeEphemeral,
      responderPublic: publicOf(KEYS.gateway),
      sid: EDGE_SID,
      payload: { ...rest, timestamp },
    })
    expect(hex(second.packet)).toBe(frozenInit.init)
    const { senderSid, secrets } = second.finish(Buffer.from(frozenInit.response, 'hex'))
    expect(senderSid).toBe(GATEWAY_SID)
    expect(inHex(listed(secrets))).toEqual(frozenInit.secrets)
  })

  it('are answered by today’s responder', () => {
    const answer = fixedResponder().receive(Buffer.from(frozenInit.init, 'hex'), SOURCE)
    expect(answer).toMatchObject({ kind: 'established', remoteSid: EDGE_SID })
  })
})
