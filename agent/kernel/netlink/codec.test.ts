import * as fc from 'fast-check'
import { expect, it } from 'vitest'
import { encodeMessage, listAttributes, parseAttributes, parseMessages, readText, readU32, Writer } from './codec.ts'

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')

it('writes attributes as the kernel reads them: length and type, padded to four', () => {
  const writer = new Writer()
  writer.struct(4).setUint8(0, 2)
  writer.u8(1, 0xff).u16(2, 0x1234).u32(3, 7).text(4, 'lo').flag(5)
  writer.nested(6, () => writer.u8(7, 1))
  expect(hex(writer.finish())).toBe(
    [
      '02000000',
      '05000100ff000000',
      '0600020034120000',
      '0800030007000000',
      '070004006c6f0000',
      '04000500',
      '0c000680',
      '0500070001000000',
    ].join(''),
  )
})

it('grows beyond its first buffer without losing what is written', () => {
  const writer = new Writer()
  const value = Uint8Array.from({ length: 1000 }, (_, index) => index & 0xff)
  writer.nested(1, () => writer.bytes(2, value).bytes(3, value))
  const nested = parseAttributes(writer.finish()).get(1)
  expect(nested && parseAttributes(nested)).toEqual(
    new Map([
      [2, value],
      [3, value],
    ]),
  )
})

it('reads back what it writes', async () => {
  const attribute = fc.record({ type: fc.integer({ min: 1, max: 0x3fff }), value: fc.uint8Array({ maxLength: 40 }) })
  const message = fc.record({
    type: fc.integer({ min: 16, max: 0xffff }),
    flags: fc.nat(0xffff),
    sequence: fc.nat(0xffffffff),
    attributes: fc.array(attribute),
  })
  await fc.assert(
    fc.property(fc.array(message), messages => {
      const datagram = Buffer.concat(
        messages.map(({ attributes, ...header }) => {
          const writer = new Writer()
          for (const { type, value } of attributes) writer.bytes(type, value)
          return encodeMessage({ ...header, payload: writer.finish() })
        }),
      )
      const parsed = parseMessages(datagram).map(({ payload, ...header }) => ({
        ...header,
        attributes: listAttributes(payload).map(([type, value]) => ({ type, value: Uint8Array.from(value) })),
      }))
      expect(parsed).toEqual(messages)
    }),
  )
})

it('ends on any bytes, and never reads outside of them', async () => {
  await fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), bytes => {
      for (const { payload } of parseMessages(bytes)) expect(payload.length).toBeLessThanOrEqual(bytes.length - 16)
      for (const [, value] of listAttributes(bytes)) expect(value.length).toBeLessThanOrEqual(bytes.length - 4)
    }),
    { numRuns: 2000 },
  )
})

it.each([
  ['a length of zero', '0000000010000000'],
  ['a length below the header', '0300010000000000'],
  ['a length beyond the end', '0900010000000000'],
])('stops at an attribute with %s', (_, text) => {
  expect(listAttributes(Buffer.from(text, 'hex'))).toEqual([])
})

it('reads values, and nothing from what is too short', () => {
  expect(readU32(Buffer.from('01020304', 'hex'))).toBe(0x04030201)
  expect(readU32(Buffer.from('010203', 'hex'))).toBeUndefined()
  expect(readText(Buffer.from('lo\0junk'))).toBe('lo')
  expect(readText(Buffer.from('lo'))).toBe('lo')
  expect(readText(undefined)).toBeUndefined()
})
