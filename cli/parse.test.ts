import { expect, test } from 'vitest'
import { table } from './output.ts'
import { duration, parseHostPort, parseLocation } from './parse.ts'

test.each([
  ['192.0.2.1', '192.0.2.1', 2426],
  ['192.0.2.1:9', '192.0.2.1', 9],
  ['2001:db8::1', '2001:db8::1', 2426],
  ['[2001:db8::1]', '2001:db8::1', 2426],
  ['[2001:db8::1]:9', '2001:db8::1', 9],
  ['gw.example.net:0', 'gw.example.net', 0],
])('%s is %s port %i', (text, host, port) => {
  expect(parseHostPort(text, 2426)).toEqual({ host, port })
})

test.each(['', ':9', 'a:b', 'a:9:9', 'a:65536', '[::1', '[::1]9'])('%j is no address with a port', text => {
  expect(() => parseHostPort(text, 2426)).toThrow('must be an address with a port')
})

test.each([
  ['90', 90],
  ['30min', 1800],
  ['12h', 43_200],
  ['7d', 604_800],
])('%s is %i seconds', (text, seconds) => {
  expect(duration(text)).toBe(seconds)
})

test.each(['', '1w', 'h', '-1', '1.5h'])('%j is no time', text => {
  expect(() => duration(text)).toThrow('must be a time')
})

test.each([
  ['50.11,8.68', 50.11, 8.68],
  ['-33.87, 151.21', -33.87, 151.21],
  ['90,-180', 90, -180],
])('%s is a place', (text, latitude, longitude) => {
  expect(parseLocation(text)).toEqual({ latitude, longitude })
})

test.each(['', '50', '50,', '91,0', '0,181', '1.2.3,4', 'north,east'])('%j is no place', text => {
  expect(() => parseLocation(text)).toThrow('must be latitude and longitude')
})

test('tables put numbers to the right and show that a cell is empty', () => {
  const text = table(
    ['NAME', 'N', 'UP'],
    [
      ['edge-a', 5, true],
      ['b', 120, null],
    ],
    'none',
  )
  expect(text).toBe('NAME      N  UP\nedge-a    5  yes\nb       120  -')
  expect(table(['NAME'], [], 'none')).toBe('none')
})
