import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { decodeCbor, encodeCbor } from './cbor.ts'

const hex = (text: string) => Buffer.from(text, 'hex')
const refused = { ok: false, problem: 'not one CBOR item of the allowed kinds' }

describe('decodeCbor', () => {
  // Examples of RFC 8949, appendix A.
  it.each([
    ['1903e8', 1000],
    ['1bffffffffffffffff', 18446744073709551615n],
    ['3863', -100],
    ['fb3ff199999999999a', 1.1],
    ['f5', true],
    ['f6', null],
    ['62c3bc', 'ü'],
    ['83010203', [1, 2, 3]],
    ['a26161016162820203', { a: 1, b: [2, 3] }],
    ['4401020304', Uint8Array.of(1, 2, 3, 4)],
  ])('%s', (bytes, value) => {
    expect(decodeCbor(hex(bytes), z.unknown())).toEqual({ ok: true, value })
  })

  it.each([
    ['nothing', ''],
    ['a head without its argument', '19'],
    ['half an argument', '1903'],
    ['text cut short', '62c3'],
    ['bytes longer than the input', '5affffffff00'],
    ['two items', '0101'],
    ['a tag', 'c074323031332d30332d32315432303a30343a30305a'],
    ['a map key that is a number', 'a10102'],
    ['a map without its last value', 'a16161'],
    ['an indefinite array', '9fff'],
    ['indefinite bytes', '5f42010243030405ff'],
    ['a lone break', 'ff'],
    ['undefined', 'f7'],
    ['a simple value', 'f820'],
    ['a reserved head', '1c'],
  ])('refuses %s', (_, bytes) => {
    expect(decodeCbor(hex(bytes), z.unknown())).toEqual(refused)
  })

  it('refuses deep nesting, whatever its length', () => {
    expect(decodeCbor(hex(`${'81'.repeat(8)}00`), z.unknown()).ok).toBe(true)
    expect(decodeCbor(hex(`${'81'.repeat(9)}00`), z.unknown())).toEqual(refused)
    expect(decodeCbor(Buffer.alloc(1 << 20, 0x81), z.unknown())).toEqual(refused)
    expect(decodeCbor(Buffer.alloc(1 << 20, 0xa1), z.unknown())).toEqual(refused)
  })

  it('names the member that is wrong', () => {
    const schema = z.object({ links: z.array(z.object({ mtu: z.int() })) })
    expect(decodeCbor(encodeCbor({ links: [{ mtu: 1 }, { mtu: 'x' }] }), schema)).toMatchObject({
      ok: false,
      problem: expect.stringMatching(/^links\.1\.mtu: /),
    })
    expect(decodeCbor(encodeCbor(5), schema)).toMatchObject({ ok: false, problem: expect.stringMatching(/^message: /) })
  })

  it('does not touch the prototype', () => {
    const decoded = decodeCbor(encodeCbor(JSON.parse('{"__proto__":{"admin":true}}')), z.unknown())
    expect(decoded.ok && (decoded.value as { admin?: boolean }).admin).toBeUndefined()
    expect(({} as { admin?: boolean }).admin).toBeUndefined()
  })

  it('copies byte strings out of the packet', () => {
    const packet = hex('4401020304')
    const decoded = decodeCbor(packet, z.unknown())
    packet.fill(0)
    expect(decoded).toEqual({ ok: true, value: Uint8Array.of(1, 2, 3, 4) })
  })
})
