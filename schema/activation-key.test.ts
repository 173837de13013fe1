import { randomBytes } from 'node:crypto'
import { expect, test } from 'vitest'
import { formatActivationKey, parseActivationKey } from './activation-key.ts'

const key = { id: '0123456789abcdef', secret: new Uint8Array(20).fill(0xff), caFingerprint: new Uint8Array(32) }

test('is spelled in base32, so that it survives mail, shells and double clicks', () => {
  // RFC 4648 §6: 8 bytes are 13 letters, 20 are 32, 32 are 52.
  expect(formatActivationKey(key)).toBe(`BL1-AERUKZ4JVPG66-${'7'.repeat(32)}-${'A'.repeat(52)}`)
})

test('comes back as it was, also in lower case and with blanks around', () => {
  for (let round = 0; round < 50; round++) {
    const random = { id: randomBytes(8).toString('hex'), secret: randomBytes(20), caFingerprint: randomBytes(32) }
    const parsed = parseActivationKey(` ${formatActivationKey(random).toLowerCase()}\n`)
    expect(parsed?.id).toBe(random.id)
    expect(Buffer.from(parsed?.secret ?? [])).toEqual(random.secret)
    expect(Buffer.from(parsed?.caFingerprint ?? [])).toEqual(random.caFingerprint)
  }
})

test.each([
  ['nothing', ''],
  ['another version', formatActivationKey(key).replace('BL1', 'BL2')],
  ['a part missing', formatActivationKey(key).split('-').slice(0, 3).join('-')],
  ['a part too many', `${formatActivationKey(key)}-AA`],
  ['a letter missing', formatActivationKey(key).slice(0, -1)],
  ['a letter too many', `${formatActivationKey(key)}A`],
  ['a letter that base32 has not', formatActivationKey(key).replace('7', '1')],
  ['unused bits set: a second spelling of the same bytes', formatActivationKey(key).replace(/A$/, 'B')],
])('%s is no key', (_what, text) => {
  expect(parseActivationKey(text)).toBeUndefined()
})
