import { isIP } from 'node:net'
import * as fc from 'fast-check'
import { expect, it } from 'vitest'
import {
  be32,
  canonicalPrefix,
  formatAddress,
  formatBe32,
  formatPrefix,
  networkBytes,
  type Prefix,
  parseAddress,
  parsePrefix,
  prefixContains,
  prefixesOverlap,
} from './address.ts'

function prefix(text: string): Prefix {
  const parsed = parsePrefix(text)
  if (!parsed) throw new Error(`test names no prefix: ${text}`)
  return parsed
}

it.each([
  ['0.0.0.0', '00000000'],
  ['10.1.2.255', '0a0102ff'],
  ['255.255.255.255', 'ffffffff'],
])('parses IPv4 %s', (text, hex) => {
  expect(parseAddress(text)).toEqual({ family: 4, bytes: new Uint8Array(Buffer.from(hex, 'hex')) })
  expect(formatAddress(Buffer.from(hex, 'hex'))).toBe(text)
})

// Formatting rules with their RFC 5952 sections.
it.each([
  ['::', '00000000000000000000000000000000', '::'],
  ['::1', '00000000000000000000000000000001', '::1'],
  ['1::', '00010000000000000000000000000000', '1::'],
  ['2001:0DB8::0001', '20010db8000000000000000000000001', '2001:db8::1'], // 4.1, 4.3
  ['2001:db8:0:0:0:0:2:1', '20010db8000000000000000000020001', '2001:db8::2:1'], // 4.2.1
  ['2001:db8::1:1:1:1:1', '20010db8000000010001000100010001', '2001:db8:0:1:1:1:1:1'], // 4.2.2: one group stays
  ['2001:0:0:1:0:0:0:1', '20010000000000010000000000000001', '2001:0:0:1::1'], // 4.2.3: the longest run
  ['2001:db8:0:0:1:0:0:1', '20010db8000000000001000000000001', '2001:db8::1:0:0:1'], // 4.2.3: the first of equal runs
  ['1:2:3:4:5:6:7::', '00010002000300040005000600070000', '1:2:3:4:5:6:7:0'],
  ['::2:3:4:5:6:7:8', '00000002000300040005000600070008', '0:2:3:4:5:6:7:8'],
  ['::ffff:192.0.2.1', '00000000000000000000ffffc0000201', '::ffff:192.0.2.1'], // 5
  ['64:ff9b::192.0.2.33', '0064ff9b0000000000000000c0000221', '64:ff9b::c000:221'],
  ['1:2:3:4:5:6:1.2.3.4', '00010002000300040005000601020304', '1:2:3:4:5:6:102:304'],
])('parses IPv6 %s', (text, hex, canonical) => {
  expect(parseAddress(text)).toEqual({ family: 6, bytes: new Uint8Array(Buffer.from(hex, 'hex')) })
  expect(formatAddress(Buffer.from(hex, 'hex'))).toBe(canonical)
})

it.each([
  '',
  ' ',
  '1',
  '1.2.3',
  '1.2.3.4.5',
  '1.2.3.256',
  '01.2.3.4',
  '1.2.3.4 ',
  '1..2.3',
  '+1.2.3.4',
  '0x1.2.3.4',
  ':',
  ':::',
  '1',
  '1:2:3:4:5:6:7',
  '1:2:3:4:5:6:7:8:9',
  '1::2::3',
  '1:2:3:4:5:6:7:8::',
  '::1:2:3:4:5:6:7:8',
  '1:2:3:4::5:6:7:8',
  '12345::',
  'g::',
  '::1%eth0',
  '::1/64',
  '[::1]',
  '1.2.3.4::',
  '::1.2.3.4:1',
  '::1.2.3',
  '1:2:3:4:5:6:7:1.2.3.4',
  ':1:2:3:4:5:6:7',
  '1:2:3:4:5:6:7:',
])('refuses address %j', text => {
  expect(parseAddress(text)).toBeUndefined()
})

it('agrees with inet_pton about what an address is, and formats what it parsed to the same bytes', async () => {
  const text = fc.oneof(
    fc.ipV4(),
    fc.ipV6(),
    fc.string({ unit: fc.constantFrom('0', '1', 'f', '9', ':', '.', '::'), maxLength: 20 }),
  )
  await fc.assert(
    fc.property(text, value => {
      const parsed = parseAddress(value)
      expect(parsed?.family ?? 0).toBe(isIP(value))
      if (parsed) expect(parseAddress(formatAddress(parsed.bytes))).toEqual(parsed)
    }),
    { numRuns: 2000 },
  )
})

it('formats every address as the WHATWG URL parser does (RFC 5952 but for IPv4-mapped)', async () => {
  const group = fc.constantFrom(0, 0, 0, 1, 0xab, 0xffff)
  await fc.assert(
    fc.property(fc.array(group, { minLength: 8, maxLength: 8 }), groups => {
      fc.pre(!(groups.slice(0, 5).every(value => value === 0) && groups[5] === 0xffff))
      const bytes = new Uint8Array(groups.flatMap(value => [value >> 8, value & 0xff]))
      const text = groups.map(value => value.toString(16)).join(':')
      expect(`[${formatAddress(bytes)}]`).toBe(new URL(`http://[${text}]/`).hostname)
    }),
    { numRuns: 2000 },
  )
})

it('refuses to format what is no address', () => {
  expect(() => formatAddress(new Uint8Array(5))).toThrow(RangeError)
})

it('parses a prefix and keeps its host bits', () => {
  expect(prefix('10.1.2.3/24')).toEqual({ family: 4, bytes: new Uint8Array([10, 1, 2, 3]), length: 24 })
  expect(formatPrefix(prefix('2001:DB8::1/48'))).toBe('2001:db8::1/48')
  expect(formatAddress(networkBytes(prefix('10.1.2.255/25')))).toBe('10.1.2.128')
  expect(formatAddress(networkBytes(prefix('2001:db8:ffff::1/33')))).toBe('2001:db8:8000::')
})

it.each([
  '10.0.0.0',
  '10.0.0.0/',
  '10.0.0.0/33',
  '::/129',
  '10.0.0.0/-1',
  '10.0.0.0/08',
  '10.0.0.0/8/8',
  '10.0.0.0/ 8',
  '10.0.0/8',
  '/8',
  '::/1e1',
])('refuses prefix %j', text => {
  expect(parsePrefix(text)).toBeUndefined()
  expect(canonicalPrefix(text)).toBeUndefined()
})

it.each([
  ['0.0.0.0/0', '0.0.0.0/0'],
  ['10.1.0.0/16', '10.1.0.0/16'],
  ['10.1.2.3/32', '10.1.2.3/32'],
  ['2001:DB8:0::/48', '2001:db8::/48'],
  ['::/0', '::/0'],
  ['10.1.0.1/16', undefined],
  ['128.0.0.0/0', undefined],
  ['10.1.2.3/31', undefined],
  ['2001:db8::1/127', undefined],
  ['2001:db8::1/128', '2001:db8::1/128'],
])('canonical form of %s is %s', (text, canonical) => {
  expect(canonicalPrefix(text)).toBe(canonical)
})

it.each([
  ['0.0.0.0/0', '1.2.3.4/32', true],
  ['10.0.0.0/8', '10.255.0.0/16', true],
  ['10.0.0.0/8', '10.0.0.0/8', true],
  ['10.0.0.0/9', '10.128.0.0/9', false],
  ['10.1.0.0/16', '10.0.0.0/8', false],
  ['10.1.2.4/31', '10.1.2.5/32', true],
  ['10.1.2.4/31', '10.1.2.6/32', false],
  ['::/0', '10.0.0.0/8', false],
  ['0.0.0.0/0', '::/0', false],
  ['2001:db8::/47', '2001:db8:1::/48', true],
  ['2001:db8::/48', '2001:db8:1::/48', false],
])('%s contains %s: %s', (outer, inner, contains) => {
  expect(prefixContains(prefix(outer), prefix(inner))).toBe(contains)
})

it('overlaps exactly when one contains the other', async () => {
  const arbitrary = fc
    .tuple(fc.uint8Array({ minLength: 4, maxLength: 4 }), fc.nat(32))
    // Few distinct first bytes, so that overlaps happen.
    .map(([bytes, length]): Prefix => ({ family: 4, bytes: bytes.map(byte => byte & 0x81), length }))
  await fc.assert(
    fc.property(arbitrary, arbitrary, (a, b) => {
      expect(prefixesOverlap(a, b)).toBe(prefixContains(a, b) || prefixContains(b, a))
    }),
    { numRuns: 2000 },
  )
  expect(prefixesOverlap(prefix('0.0.0.0/0'), prefix('::/0'))).toBe(false)
})

it('converts IPv4 addresses to numbers and back', () => {
  expect(be32('10.0.0.1')).toBe(0x0a000001)
  expect(be32('255.255.255.255')).toBe(0xffffffff)
  expect(formatBe32(0xc0000201)).toBe('192.0.2.1')
  expect(() => be32('::1')).toThrow(TypeError)
  expect(() => be32('10.0.0')).toThrow(TypeError)
})
