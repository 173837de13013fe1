/**
 * Makes the transcripts beside this file, from fixed keys: `node agent/mp/vectors/make.ts`. They are frozen: a change of their bytes is a change of
 * the protocol, and needs a new version in the MP header or the prologue, not new files. Encapsulation draws a random number, so the hybrid's RESPONSE_KEM
 * and keys can be checked by their receiver, not made again.
 */
import { createPrivateKey } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import type { GrantBody } from '../../../schema/grant.ts'
import type { Hybrid, InitPayload, SessionSecrets } from '../../../schema/mpinit.ts'
import { CipherState } from '../cipher.ts'
import { CookieJar } from '../cookie.ts'
import { importKeyPair } from '../dh.ts'
import { signGrant } from '../grant.ts'
import { createInitiator } from '../initiator.ts'
import { importKemSeed } from '../kem.ts'
import { Handshake } from '../noise.ts'
import { parsePacket } from '../packets.ts'
import { signingKey } from '../signed.ts'
import { parseSuite } from '../symmetric.ts'
import { accepted, offerOf } from '../testing-payloads.ts'
import { TestResponder } from '../testing-responder.ts'

const hex = (bytes: Uint8Array | undefined) => Buffer.from(bytes ?? []).toString('hex')
/** 32 bytes that tell in a dump what they are. */
const fixed = (byte: number) => Uint8Array.from({ length: 32 }, (_, i) => (byte + i) & 0xff)

export const KEYS = {
  edge: fixed(0x10),
  edgeEphemeral: fixed(0x30),
  gateway: fixed(0x50),
  gatewayEphemeral: fixed(0x70),
  signer: fixed(0x90),
}
/** d and z of FIPS 203. */
export const KEM_SEED = Buffer.concat([fixed(0xb0), fixed(0xd0)])
/** 2026-01-01 00:00 UTC. */
export const NOW = 1_767_225_600_000
export const SOURCE = { address: '192.0.2.7', port: 2426 }
export const EDGE_SID = 0x1230
export const GATEWAY_SID = 0x4560

const SUITES = [
  'AESGCM_SHA256',
  'AESGCM_SHA512',
  'AESGCM_BLAKE2s',
  'ChaChaPoly_SHA256',
  'ChaChaPoly_SHA512',
  'ChaChaPoly_BLAKE2s',
]

export function noiseTranscripts() {
  return SUITES.map(name => {
    const suite = parseSuite(`Noise_IK_25519_${name}`)
    const prologue = Buffer.from('branchline vectors')
    const [edge, edgeEphemeral, gateway, gatewayEphemeral] = [
      KEYS.edge,
      KEYS.edgeEphemeral,
      KEYS.gateway,
      KEYS.gatewayEphemeral,
    ].map(importKeyPair)
    if (!edge || !edgeEphemeral || !gateway || !gatewayEphemeral) throw new Error('keys are missing')
    const initiator = Handshake.initiator({
      suite,
      prologue,
      staticKey: edge,
      remoteStatic: gateway.publicKey,
      generate: () => edgeEphemeral,
    })
    const responder = Handshake.responder({ suite, prologue, staticKey: gateway, generate: () => gatewayEphemeral })
    const first = initiator.write(Buffer.from('first')) ?? Buffer.alloc(0)
    responder.read(first)
    const second = responder.write(Buffer.from('second')) ?? Buffer.alloc(0)
    initiator.read(second)
    const { split, hash } = initiator.finish()
    const transport = split.map(key =>
      hex(new CipherState(suite.aead, key).seal(Buffer.alloc(0), Buffer.from('transport'))),
    )
    return {
      suite: suite.name,
      prologue: hex(prologue),
      messages: [hex(first), hex(second), ...transport],
      hash: hex(hash),
    }
  })
}

/** The two nodes of the packet transcript. */
export function nodes() {
  // RFC 8410: what stands before the 32 raw bytes in the PKCS #8 form of an Ed25519 private key.
  const der = Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), KEYS.signer])
  const signer = signingKey(createPrivateKey({ key: der, format: 'der', type: 'pkcs8' }))
  const edgeKey = importKeyPair(KEYS.edge)
  const gatewayKey = importKeyPair(KEYS.gateway)
  const edge: GrantBody = {
    version: 1,
    enterprise: '7c5b6a6e-3d7e-4f0b-9d7c-0d9d5a3f1e11',
    enterpriseName: 'acme',
    node: '0b8e5bb1-6f0c-4d1e-8a55-58a7b6f1c001',
    nodeName: 'edge-a',
    role: 'edge',
    staticKey: edgeKey.publicKey.raw,
    prefixes: ['10.1.0.0/16', '2001:db8:1::/48'],
    security: 'esp',
    serial: 1,
    notBefore: NOW / 1000 - 86_400,
    expires: NOW / 1000 + 86_400,
  }
  const gateway: GrantBody = {
    ...edge,
    enterprise: null,
    enterpriseName: null,
    node: '0b8e5bb1-6f0c-4d1e-8a55-58a7b6f1c002',
    nodeName: 'gw1',
    role: 'gateway',
    staticKey: gatewayKey.publicKey.raw,
    prefixes: [],
  }
  return { signer, edgeKey, gatewayKey, edgeGrant: signGrant(edge, signer), gatewayGrant: signGrant(gateway, signer) }
}

export function offer(): InitPayload {
  const change = {
    subnets: [
      { prefix: '10.1.1.0/24', reachable: true },
      { prefix: '2001:db8:1:1::/64', reachable: false },
    ],
    links: [
      { path: 0, name: 'wan0', family: 4 as const, mtu: 1500, spi: 0x1000 },
      { path: 1, name: 'wan1', family: 6 as const, mtu: 1280, spi: 0xfffffff0 },
    ],
  }
  return { ...offerOf(nodes().edgeGrant, change), timestamp: NOW * 1000 }
}

export function fixedResponder() {
  const { signer, gatewayKey, gatewayGrant } = nodes()
  const trust = { anchors: [signer.publicKey], revocations: undefined }
  return new TestResponder({
    staticKey: gatewayKey,
    ownGrant: () => gatewayGrant,
    trust: () => trust,
    now: () => NOW,
    generate: () => importKeyPair(KEYS.gatewayEphemeral),
    accept: init => ({ localSid: GATEWAY_SID, payload: accepted(init) }),
  })
}

export function fixedInitiator(hybrid: Hybrid) {
  const { signer, edgeKey, gatewayKey } = nodes()
  return createInitiator({
    staticKey: edgeKey,
    responderStatic: gatewayKey.publicKey.raw,
    trust: () => ({ anchors: [signer.publicKey], revocations: undefined }),
    now: () => NOW,
    generate: () => importKeyPair(KEYS.edgeEphemeral),
    generateKem: () => importKemSeed(KEM_SEED),
    hybrid,
  })
}

const inHex = ({ tagTx, tagRx, recordTx, recordRx, hash, esp }: SessionSecrets) => ({
  hash: hex(hash),
  tagTx: hex(tagTx),
  tagRx: hex(tagRx),
  recordTx: hex(recordTx),
  recordRx: hex(recordRx),
  espTx0: hex(esp(0, 'tx')),
  espRx1: hex(esp(1, 'rx')),
})

/** What the edge sends; the same each time. */
export function hybridQuestion() {
  const { timestamp: _, ...payload } = offer()
  const [init, initKem] = fixedInitiator('preferred').start(EDGE_SID, payload)
  return { kemSeed: hex(KEM_SEED), init: hex(init), initKem: hex(initKem) }
}

function hybridTranscript() {
  const question = hybridQuestion()
  const responder = fixedResponder()
  responder.receive(Buffer.from(question.init, 'hex'), SOURCE)
  const answered = responder.receive(Buffer.from(question.initKem, 'hex'), SOURCE)
  if (answered.kind !== 'established') throw new Error('the hybrid handshake does not go through')
  const [response, responseKem] = answered.packets
  return { ...question, response: hex(response), responseKem: hex(responseKem), secrets: inHex(answered.secrets) }
}

export function mpInitTranscript() {
  const { gatewayKey } = nodes()
  const initiator = fixedInitiator('off')
  const { timestamp: _, ...payload } = offer()
  const [init] = initiator.start(EDGE_SID, payload)
  const parsed = parsePacket(init)
  if (!parsed.ok || parsed.packet.type !== 'init') throw new Error('the INIT does not parse')
  const jar = new CookieJar(
    gatewayKey.publicKey.raw,
    () => NOW,
    length => Uint8Array.from({ length }, (_, i) => 0xb0 + i),
  )
  const cookie = jar.answer(parsed.packet, SOURCE)
  const resent = initiator.receive(cookie)
  const answered = fixedResponder().receive(init, SOURCE)
  if (resent.kind !== 'cookie' || answered.kind !== 'established') throw new Error('the handshake does not go through')
  return {
    keys: Object.fromEntries(Object.entries(KEYS).map(([name, key]) => [name, hex(key)])),
    init: hex(init),
    cookie: hex(cookie),
    initWithCookie: hex(resent.packets[0]),
    response: hex(answered.packets[0]),
    secrets: inHex(answered.secrets),
  }
}

if (import.meta.main) {
  for (const [name, content] of [
    ['noise-ik.json', noiseTranscripts()],
    ['mp-init.json', mpInitTranscript()],
    ['mp-init-hybrid.json', hybridTranscript()],
  ] as const) {
    writeFileSync(new URL(name, import.meta.url), `${JSON.stringify(content, undefined, 2)}\n`)
  }
}
