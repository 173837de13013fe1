import { expect, test } from 'vitest'
import { parseFunctions } from './chain.ts'
import { parsePorts, parseProtocol } from './rule.ts'

test.each([
  ['443', [443, 443]],
  ['0', [0, 0]],
  ['8000-8100', [8000, 8100]],
  ['1-65535', [1, 65_535]],
] as const)('%s are ports', (text, ports) => {
  expect(parsePorts(text)).toEqual(ports)
})

test.each(['', '443-80', '65536', '80,443', '-1', 'http', '1-', '1-2-3'])('%j is no range of ports', text => {
  expect(() => parsePorts(text)).toThrow('must be a port or a range')
})

test.each([
  ['tcp', 6],
  ['icmpv6', 58],
  ['any', 0],
  ['255', 255],
])('%s is protocol %i', (text, number) => {
  expect(parseProtocol(text)).toBe(number)
})

test.each(['', 'TCP', '256', '-1', '6.0', 'constructor'])('%j is no protocol', text => {
  expect(() => parseProtocol(text)).toThrow('must be a number up to 255')
})

test('functions come in order, and say what happens without them', () => {
  expect(parseFunctions('nat, dpi:open,av:closed')).toEqual([
    { function: 'nat', failOpen: false },
    { function: 'dpi', failOpen: true },
    { function: 'av', failOpen: false },
  ])
})

test.each(['', 'nat,', 'nat:maybe', 'nat:open:closed', ':open'])('%j are no functions', text => {
  expect(() => parseFunctions(text)).toThrow('must be functions in order')
})
