/**
 * Packets that nobody honest sends, at both machines: each is ignored for its own reason, throws nothing and leaves no state.
 *
 *   attacker ---- anything ---> gw1 (responder)          attacker ---- anything ---> edge-a (initiator, waiting for its answer)
 */
import { describe, expect, it } from 'vitest'
import { MAX_INIT, MIN_INIT, NOISE_PROLOGUE, NOISE_SUITE } from '../../schema/mpinit.ts'
import { encodeCbor } from './cbor.ts'
import { CookieJar } from './cookie.ts'
import { exportPrivate, generateKeyPair, importPublic } from './dh.ts'
import { mac, mac1Key } from './mac.ts'
import { Handshake } from './noise.ts'
import { formatInit, formatInitKem, formatReset, formatResponse, formatResponseKem, parsePacket } from './packets.ts'
import type { IgnoredReason } from './reasons.ts'
import { parseSuite } from './symmetric.ts'
import { offer, SOURCE, START, World } from './testing.ts'

const world = new World()
const edge = world.node('edge-a')
const gatewayPublic = world.gateway.key.publicKey.raw
const good = world.initiator(edge).start(0x1000, offer(edge))[0]
const body = { ...offer(edge), timestamp: START * 1000 }
const [link] = body.links

type Change = (packet: Buffer) => Buffer | undefined

const flip =
  (at: number, mask = 1): Change =>
  packet => {
    packet[at] = (packet[at] ?? 0) ^ mask
    return packet
  }
/** The attacker knows the gateway's public key, so mac1 is right. */
const remac = (packet: Buffer): Buffer => {
  mac(mac1Key(gatewayPublic), packet.subarray(0, -32)).copy(packet, packet.length - 32)
  return packet
}
const remacced =
  (change: Change): Change =>
  packet =>
    remac(change(packet) ?? packet)
const ephemeral = (hex: string): Change => remacced(packet => void Buffer.from(hex, 'hex').copy(packet, 8))

/** An INIT of somebody who knows the protocol and has a key, but says what he likes. */
function authentic(payload: Uint8Array, prologue = NOISE_PROLOGUE, suite = NOISE_SUITE, staticKey = edge.key): Buffer {
  const handshake = Handshake.initiator({
    suite: parseSuite(suite),
    prologue: Buffer.from(prologue),
    staticKey,
    remoteStatic: importPublic(gatewayPublic),
  })
  return formatInit(0x1000, handshake.write(payload) ?? Buffer.alloc(0), mac1Key(gatewayPublic))
}

/** @param cbor encoded, or a value to encode */
function saying(cbor: unknown): Buffer {
  const bytes = cbor instanceof Uint8Array ? cbor : encodeCbor(cbor)
  const payload = Buffer.alloc(Math.max(MIN_INIT, 2 + bytes.length))
  payload.writeUInt16BE(bytes.length)
  payload.set(bytes, 2)
  return authentic(payload)
}

const weakStatic = { privateKey: generateKeyPair().privateKey, publicKey: importPublic(new Uint8Array(32)) }
const hex = (text: string) => Buffer.from(text, 'hex')

const atResponder: readonly (readonly [name: string, packet: Buffer, reason: IgnoredReason])[] = [
  ['nothing', Buffer.alloc(0), 'too-short'],
  ['one byte', Buffer.from([0x18]), 'too-short'],
  ['a header only', good.subarray(0, 8), 'too-short'],
  ['one byte short of an INIT', good.subarray(0, MIN_INIT - 1), 'too-short'],
  ['one byte too many', Buffer.concat([good, Buffer.alloc(1)]), 'bad-mac1'],
  ['one byte more than the longest', Buffer.concat([good, Buffer.alloc(MAX_INIT + 1 - MIN_INIT)]), 'too-long'],
  ['a whole datagram', Buffer.alloc(65_507, 0x18), 'too-long'],
  ['all zero', Buffer.alloc(MIN_INIT), 'bad-version'],
  ['all ones', Buffer.alloc(MIN_INIT, 255), 'bad-version'],
  ['version 0', change(flip(0, 0x10)), 'bad-version'],
  ['version 2', change(flip(0, 0x30)), 'bad-version'],
  ...[0, 1, 2, 3, 4, 7, 14, 15].map(type => [`type ${type}`, change(set(0, 0x10 | type)), 'bad-type'] as const),
  ...[1, 2, 3].map(at => [`reserved byte ${at}`, change(flip(at, 0x80)), 'bad-reserved'] as const),
  ['session 0', change(remacced(packet => void packet.fill(0, 4, 8))), 'bad-session'],
  ['an INIT that says RESPONSE', change(set(0, 0x19)), 'wrong-type'],
  ['an INIT that says COOKIE', change(set(0, 0x1a)), 'too-long'],
  ['an INIT that says RESET', change(set(0, 0x1b)), 'too-long'],
  ['an INIT that says INIT_KEM', change(set(0, 0x1c)), 'too-short'],
  ['an INIT that says RESPONSE_KEM', change(set(0, 0x1d)), 'too-long'],
  ['an INIT_KEM alone', formatInitKem(0x1000, Buffer.alloc(1200)), 'no-handshake'],
  ['an INIT_KEM of session 0', formatInitKem(0, Buffer.alloc(1200)), 'bad-session'],
  ['an INIT_KEM one byte short', formatInitKem(0x1000, Buffer.alloc(1199)), 'too-short'],
  ['an INIT_KEM one byte long', formatInitKem(0x1000, Buffer.alloc(1201)), 'too-long'],
  ['an INIT_KEM with a reserved byte', formatInitKem(0x1000, Buffer.alloc(1200)).fill(1, 2, 3), 'bad-reserved'],
  ['a RESPONSE_KEM', formatResponseKem(0x1000, Buffer.alloc(1120)), 'wrong-type'],
  ['a RESPONSE', formatResponse(1, 2, Buffer.alloc(100), mac1Key(gatewayPublic)), 'wrong-type'],
  ['a COOKIE', Buffer.concat([hex('1a00000000001000'), Buffer.alloc(56)]), 'wrong-type'],
  ['a RESET', formatReset(0x1000), 'wrong-type'],
  ['a RESET with more behind it', Buffer.concat([formatReset(0x1000), Buffer.alloc(1)]), 'too-long'],
  ['a cut RESET', formatReset(0x1000).subarray(0, 7), 'too-short'],
  ...[4, 8, 39, 40, 87, 88, 600, MIN_INIT - 33, MIN_INIT - 32, MIN_INIT - 17].map(
    at => [`byte ${at} flipped`, change(flip(at)), 'bad-mac1'] as const,
  ),
  ['mac1 of zeros', change(packet => packet.fill(0, MIN_INIT - 32, MIN_INIT - 16)), 'bad-mac1'],
  [
    'mac1 for another gateway',
    formatInit(1, good.subarray(8, -32), mac1Key(generateKeyPair().publicKey.raw)),
    'bad-mac1',
  ],
  ...[8, 38, 40, 60, 87, 88, 600, MIN_INIT - 33].map(
    at => [`byte ${at} flipped, mac1 made anew`, change(remacced(flip(at))), 'decrypt-failed'] as const,
  ),
  ['the top bit of the ephemeral key, which X25519 ignores', change(remacced(flip(39, 0x80))), 'decrypt-failed'],
  ['a longer INIT, mac1 made anew', remac(Buffer.concat([good, Buffer.alloc(50)])), 'decrypt-failed'],
  ['random bytes with a right mac1', formatInit(9, Buffer.alloc(1160, 0x5a), mac1Key(gatewayPublic)), 'decrypt-failed'],
  ['ephemeral key 0', change(ephemeral('00'.repeat(32))), 'bad-key'],
  ['ephemeral key 1', change(ephemeral(`01${'00'.repeat(31)}`)), 'bad-key'],
  ['ephemeral key p - 1', change(ephemeral(`ec${'ff'.repeat(30)}7f`)), 'bad-key'],
  ['ephemeral key p', change(ephemeral(`ed${'ff'.repeat(30)}7f`)), 'bad-key'],
  ['ephemeral key p + 1', change(ephemeral(`ee${'ff'.repeat(30)}7f`)), 'bad-key'],
  [
    'ephemeral key of order 8',
    change(ephemeral('e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800')),
    'bad-key',
  ],
  [
    'ephemeral key of order 8, the other',
    change(ephemeral('5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157')),
    'bad-key',
  ],
  ['a weak static key', authentic(Buffer.alloc(1064), NOISE_PROLOGUE, NOISE_SUITE, weakStatic), 'bad-key'],
  ['another prologue', authentic(Buffer.alloc(1064), 'branchline mp_init v2'), 'decrypt-failed'],
  [
    'another suite',
    authentic(Buffer.alloc(1064), NOISE_PROLOGUE, 'Noise_IK_25519_ChaChaPoly_SHA256'),
    'decrypt-failed',
  ],
  ['a payload of zeros', authentic(Buffer.alloc(1064)), 'bad-payload'],
  ['a length beyond the payload', authentic(Buffer.alloc(1064, 255)), 'bad-payload'],
  ['a length one byte beyond', authentic(Buffer.concat([hex('0427'), Buffer.alloc(1062)])), 'bad-payload'],
  ['no map', saying([1, 2, 3]), 'bad-payload'],
  ['an empty map', saying({}), 'bad-payload'],
  ['a map cut short', saying(encodeCbor(body).subarray(0, -1)), 'bad-payload'],
  ['bytes behind the map', saying(Buffer.concat([encodeCbor(body), hex('00')])), 'bad-payload'],
  ['a tag', saying(Buffer.concat([hex('c1'), encodeCbor(body)])), 'bad-payload'],
  ['a record definition of cbor-x', saying(hex('d9dfff8368616263')), 'bad-payload'],
  ['an array of 4 billion', saying(hex('9affffffff')), 'bad-payload'],
  ['an array of 2^63', saying(hex('9b8000000000000000')), 'bad-payload'],
  ['a text of 2^53', saying(hex('7b0020000000000000')), 'bad-payload'],
  ['a map with a number for a key', saying(hex('a10102')), 'bad-payload'],
  ['an indefinite map', saying(hex('bfff')), 'bad-payload'],
  ['a thousand nested arrays', saying(Buffer.alloc(1000, 0x81)), 'bad-payload'],
  ['no grant', saying({ ...body, grant: null }), 'bad-payload'],
  [
    'a grant whose signature is short',
    saying({ ...body, grant: { ...edge.grant, signature: Buffer.alloc(63) } }),
    'bad-payload',
  ],
  ['timestamp 0', saying({ ...body, timestamp: 0 }), 'bad-payload'],
  ['a negative timestamp', saying({ ...body, timestamp: -5 }), 'bad-payload'],
  ['a timestamp with a fraction', saying({ ...body, timestamp: 1.5 }), 'bad-payload'],
  ['a timestamp of infinity', saying({ ...body, timestamp: Number.POSITIVE_INFINITY }), 'bad-payload'],
  ['a timestamp of 2^60', saying({ ...body, timestamp: 2 ** 60 }), 'bad-payload'],
  ['no links', saying({ ...body, links: [] }), 'bad-payload'],
  [
    'seventeen links',
    saying({ ...body, links: Array.from({ length: 17 }, (_, path) => ({ ...link, path })) }),
    'bad-payload',
  ],
  ['path 16', saying({ ...body, links: [{ ...link, path: 16 }], via: 16 }), 'bad-payload'],
  ['two links of one path', saying({ ...body, links: [link, link] }), 'bad-payload'],
  ['sent over a path that is not offered', saying({ ...body, via: 3 }), 'bad-payload'],
  ['a reserved SPI', saying({ ...body, links: [{ ...link, spi: 255 }] }), 'bad-payload'],
  ['an SPI of 33 bits', saying({ ...body, links: [{ ...link, spi: 2 ** 32 }] }), 'bad-payload'],
  ['family 5', saying({ ...body, links: [{ ...link, family: 5 }] }), 'bad-payload'],
  ['MTU 575', saying({ ...body, links: [{ ...link, mtu: 575 }] }), 'bad-payload'],
  ['a link name with a space', saying({ ...body, links: [{ ...link, name: 'wan 0' }] }), 'bad-payload'],
  [
    'a subnet with host bits',
    saying({ ...body, subnets: [{ prefix: '10.0.0.1/24', reachable: true }] }),
    'bad-payload',
  ],
  ['a virtual address that is none', saying({ ...body, virtualAddress: '100.64.0.256' }), 'bad-payload'],
  ['policy version 0', saying({ ...body, policyVersion: 0 }), 'bad-payload'],
]

function change(how: Change): Buffer {
  const packet = Buffer.from(good)
  return how(packet) ?? packet
}

function set(at: number, value: number): Change {
  return packet => packet.fill(value, at, at + 1)
}

describe('at the responder', () => {
  const asked: number[] = []
  const responder = world.responder({
    accept: init => {
      asked.push(init.timestamp)
      return { localSid: 1, payload: { ok: false, code: 'full', message: 'only asked' } }
    },
  })

  it.each(atResponder)('%s', (_, packet, reason) => {
    expect(responder.receive(packet, SOURCE)).toEqual({ kind: 'ignored', reason })
    expect(responder.timestamps.size).toBe(0)
    expect(asked).toEqual([])
  })

  it(`are ${atResponder.length} cases with names of their own, and the packet they are made from is good`, () => {
    expect(new Set(atResponder.map(([name]) => name)).size).toBe(atResponder.length)
    expect(atResponder.length).toBeGreaterThanOrEqual(60)
    expect(responder.receive(good, SOURCE)).toMatchObject({ kind: 'reply', refused: { code: 'full' } })
    expect(asked).toHaveLength(1)
    expect(responder.receive(good, SOURCE)).toEqual({ kind: 'ignored', reason: 'duplicate' })
  })

  it('a mac2 that nobody asked for does not matter', () => {
    const other = world.responder()
    expect(other.receive(change(flip(MIN_INIT - 1)), SOURCE)).toMatchObject({ kind: 'established' })
  })
})

describe('at the initiator', () => {
  const responder = world.responder()
  const ownKey = mac1Key(edge.key.publicKey.raw)
  /** The same ephemeral key each time: only so can answers be prepared before the table runs. */
  const ephemeralKey = generateKeyPair()
  const start = () => {
    const initiator = world.initiator(edge, { generate: () => ephemeralKey })
    return { initiator, init: initiator.start(0x1000, offer(edge))[0] }
  }
  const answer = responder.receive(start().init, SOURCE)
  if (answer.kind !== 'established') throw new Error('the test has no answer to change')
  const [response] = answer.packets
  const reworked = (how: Change, again = false): Buffer => {
    const packet = Buffer.from(response)
    const result = how(packet) ?? packet
    if (again) mac(ownKey, result.subarray(0, -16)).copy(result, result.length - 16)
    return result
  }
  const parsed = parsePacket(start().init)
  if (!parsed.ok || parsed.packet.type !== 'init') throw new Error('the test has no INIT')
  const cookie = new CookieJar(gatewayPublic, () => 0).answer(parsed.packet, SOURCE)
  const foreign = new CookieJar(generateKeyPair().publicKey.raw, () => 0).answer(parsed.packet, SOURCE)
  const otherInit = parsePacket(world.initiator(edge).start(0x1000, offer(edge))[0])
  if (!otherInit.ok || otherInit.packet.type !== 'init') throw new Error('the test has no second INIT')
  const late = new CookieJar(gatewayPublic, () => 0).answer(otherInit.packet, SOURCE)

  const rows: readonly (readonly [name: string, packet: Buffer, reason: IgnoredReason])[] = [
    ['nothing', Buffer.alloc(0), 'too-short'],
    ['an INIT', start().init, 'wrong-type'],
    ['a RESET', formatReset(0x1000), 'wrong-type'],
    ['an INIT_KEM', formatInitKem(0x1000, Buffer.alloc(1200)), 'wrong-type'],
    ['a RESPONSE_KEM that nobody asked for', formatResponseKem(0x1000, Buffer.alloc(1120)), 'no-handshake'],
    ['a RESPONSE without room for its tag', response.subarray(0, 75), 'too-short'],
    ['a RESPONSE one byte short', response.subarray(0, -1), 'bad-mac1'],
    ['a RESPONSE one byte long', Buffer.concat([response, Buffer.alloc(1)]), 'bad-mac1'],
    ['a RESPONSE of a whole datagram', Buffer.concat([response, Buffer.alloc(40_000)]), 'too-long'],
    ['a RESPONSE of version 2', reworked(flip(0, 0x30)), 'bad-version'],
    ['a RESPONSE with a reserved byte', reworked(flip(2)), 'bad-reserved'],
    ['a RESPONSE for session 0', reworked(packet => packet.fill(0, 8, 12)), 'bad-session'],
    ['a RESPONSE for another session', reworked(flip(11), true), 'no-handshake'],
    ['a RESPONSE with another sender', reworked(flip(7)), 'bad-mac1'],
    ...[12, 43, 44, 200].map(at => [`byte ${at} flipped`, reworked(flip(at)), 'bad-mac1'] as const),
    ...[12, 43, 44, 200].map(
      at => [`byte ${at} flipped, mac1 made anew`, reworked(flip(at), true), 'decrypt-failed'] as const,
    ),
    ['mac1 flipped', reworked(packet => flip(packet.length - 1)(packet)), 'bad-mac1'],
    ['a weak ephemeral key', reworked(packet => packet.fill(0, 12, 44), true), 'bad-key'],
    ['a RESPONSE made without any key', formatResponse(1, 0x1000, Buffer.alloc(300), ownKey), 'bad-key'],
    ['a COOKIE for another session', Buffer.from(cookie).fill(1, 4, 8), 'no-handshake'],
    ['a COOKIE for session 0', Buffer.from(cookie).fill(0, 4, 8), 'bad-session'],
    ['a COOKIE with a changed nonce', Buffer.from(cookie).fill(1, 8, 9), 'bad-cookie'],
    ['a COOKIE with a changed cookie', Buffer.from(cookie).fill(1, 40, 41), 'bad-cookie'],
    ['a COOKIE of another gateway', foreign, 'bad-cookie'],
    ['a COOKIE for another initiation', late, 'bad-cookie'],
    ['a COOKIE one byte short', cookie.subarray(0, -1), 'too-short'],
    ['a COOKIE one byte long', Buffer.concat([cookie, Buffer.alloc(1)]), 'too-long'],
  ]

  it.each(rows)('%s', (_, packet, reason) => {
    const { initiator } = start()
    expect(initiator.receive(packet)).toEqual({ kind: 'ignored', reason })
    // It still waits for the right one.
    expect(initiator.receive(response)).toMatchObject({ kind: 'established', remoteSid: 0x2000 })
  })

  it('the cookie that the others are made from is good', () => {
    expect(start().initiator.receive(cookie).kind).toBe('cookie')
  })

  it('hears nothing before it has started and after it was cancelled', () => {
    const { initiator } = start()
    initiator.cancel()
    expect(initiator.receive(response)).toEqual({ kind: 'ignored', reason: 'no-handshake' })
    expect(world.initiator(edge).receive(cookie)).toEqual({ kind: 'ignored', reason: 'no-handshake' })
  })

  it('keeps its private key to itself', () => {
    expect(start().init.includes(Buffer.from(exportPrivate(edge.key)))).toBe(false)
  })
})
