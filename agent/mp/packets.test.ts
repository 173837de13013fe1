import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { HANDSHAKE, MIN_INIT, MP_VERSION } from '../../schema/mpinit.ts'
import { decodeCbor, encodeCbor } from './cbor.ts'
import { mac, mac1Key } from './mac.ts'
import { formatReset, parsePacket } from './packets.ts'
import { spanText } from './span.ts'
import { offer, SOURCE, World } from './testing.ts'

const seed = Number(process.env.FUZZ_SEED ?? Math.floor(Math.random() * 2 ** 31))
console.log(`fast-check seed ${seed} (repeat with FUZZ_SEED=${seed})`)

describe('packets', () => {
  it('have the types of bpf/wire.h', () => {
    const header = readFileSync(new URL('../../bpf/wire.h', import.meta.url), 'utf8')
    const value = (name: string) => Number(new RegExp(`${name}\\s*=?\\s*(\\d+)`).exec(header)?.[1])
    expect(MP_VERSION).toBe(Number(/#define MP_VERSION (\d+)/.exec(header)?.[1]))
    expect(HANDSHAKE).toEqual({
      init: value('\\tMP_INIT ='),
      response: value('\\tMP_RESPONSE ='),
      cookie: value('\\tMP_COOKIE'),
      reset: value('\\tMP_RESET'),
      initKem: value('\\tMP_INIT_KEM'),
      responseKem: value('\\tMP_RESPONSE_KEM'),
    })
  })

  it('RESET is eight bytes', () => {
    expect(formatReset(0xdeadbeef).toString('hex')).toBe('1b000000deadbeef')
    expect(parsePacket(formatReset(0xdeadbeef))).toEqual({
      ok: true,
      packet: { type: 'reset', unknownSid: 0xdeadbeef },
    })
  })
})

describe('fuzz', () => {
  it('parsePacket takes any bytes', () => {
    const start = fc.constantFrom(0x18, 0x19, 0x1a, 0x1b, 0x1c, 0x1d)
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 2000 }), fc.option(start, { nil: undefined }), (bytes, first) => {
        if (first !== undefined && bytes.length > 0) bytes[0] = first
        const result = parsePacket(bytes)
        expect(typeof (result.ok ? result.packet.type : result.reason)).toBe('string')
      }),
      { seed, numRuns: 2000 },
    )
  })

  it('decodeCbor takes any bytes, and gives back what encodeCbor wrote', () => {
    const anything = z.unknown()
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), bytes => {
        expect(typeof decodeCbor(bytes, anything).ok).toBe('boolean')
      }),
      { seed, numRuns: 5000 },
    )
    const { value } = fc.letrec(tie => ({
      value: fc.oneof(
        { maxDepth: 3 },
        fc.string(),
        fc.boolean(),
        fc.constant(null),
        fc.integer(),
        fc.uint8Array(),
        fc.array(tie('value')),
        fc.dictionary(fc.stringMatching(/^[a-z]+$/), tie('value'), { noNullPrototype: true }),
      ),
    }))
    fc.assert(
      fc.property(value, input => {
        expect(decodeCbor(encodeCbor(input), anything)).toEqual({ ok: true, value: input })
      }),
      { seed, numRuns: 1000 },
    )
  })

  it('the responder takes any change of a good INIT and accepts none', () => {
    const world = new World()
    const edge = world.node('edge-a')
    const responder = world.responder()
    const good = world.initiator(edge).start(1, offer(edge))[0]
    const key = mac1Key(world.gateway.key.publicKey.raw)
    const edit = fc.record({ at: fc.nat(MIN_INIT - 33), bytes: fc.uint8Array({ minLength: 1, maxLength: 40 }) })
    fc.assert(
      fc.property(fc.array(edit, { minLength: 1, maxLength: 3 }), fc.boolean(), (edits, withMac) => {
        const packet = Buffer.from(good)
        for (const { at, bytes } of edits) packet.set(bytes.subarray(0, MIN_INIT - 32 - at), at)
        // A session id is under mac1 alone: whoever knows the gateway's public key may choose it, so it is left as it was.
        if (withMac) good.copy(packet, 4, 4, 8)
        if (withMac) mac(key, packet.subarray(0, -32)).copy(packet, MIN_INIT - 32)
        fc.pre(!packet.equals(good))
        world.now += 100
        expect(responder.receive(packet, SOURCE).kind).toBe('ignored')
        expect(responder.timestamps.size).toBe(0)
      }),
      { seed, numRuns: 500 },
    )
    expect(responder.receive(good, SOURCE).kind).toBe('established')
  })
})

it.each([
  [0, '0 s'],
  [59.4, '59 s'],
  [60, '1 min'],
  [7199, '1 h'],
  [7200, '2 h'],
  [86_400 * 2.9, '2 d'],
])('spanText(%d) is %s', (seconds, text) => {
  expect(spanText(seconds)).toBe(text)
})
