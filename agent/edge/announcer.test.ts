import { expect, test } from 'vitest'
import { MAX_RECORD, PREFIXES_PER_MESSAGE } from '../../schema/route-messages.ts'
import { EncodedMessage } from '../mp/route-session.ts'
import { Announcer } from './announcer.ts'

const on = (...prefixes: string[]) => prefixes.map(prefix => ({ prefix, reachable: true }))

test('a new route session hears everything, later only what differs', () => {
  const announcer = new Announcer()
  expect(announcer.burst(on('10.1.0.0/24', '10.2.0.0/24'))).toEqual([
    { type: 'announce', full: false, subnets: on('10.1.0.0/24', '10.2.0.0/24') },
    { type: 'end-of-rib' },
  ])
  expect(announcer.difference(on('10.1.0.0/24', '10.2.0.0/24'))).toEqual([])
  const off = { prefix: '10.1.0.0/24', reachable: false }
  expect(announcer.difference([off, ...on('10.3.0.0/24')])).toEqual([
    { type: 'withdraw', prefixes: ['10.2.0.0/24'] },
    { type: 'announce', full: false, subnets: [off, ...on('10.3.0.0/24')] },
  ])
  expect(announcer.burst([off])).toEqual([{ type: 'announce', full: false, subnets: [off] }, { type: 'end-of-rib' }])
})

test('without a subnet the first burst is its end', () => {
  expect(new Announcer().burst([])).toEqual([{ type: 'end-of-rib' }])
})

test('long lists are cut, nothing is lost, and each piece fits into a record', () => {
  const prefixes = Array.from({ length: 1000 }, (_, index) => `2001:db8:ffff:${(0x1000 + index).toString(16)}::/64`)
  const announcer = new Announcer()
  const messages = announcer.burst(on(...prefixes))
  const told = messages.flatMap(message => (message.type === 'announce' ? message.subnets : []))
  expect(told).toEqual(on(...prefixes))
  expect(messages).toHaveLength(Math.ceil(1000 / PREFIXES_PER_MESSAGE) + 1)
  const gone = announcer.difference([])
  expect(gone.flatMap(message => (message.type === 'withdraw' ? message.prefixes : []))).toEqual(prefixes)
  for (const message of [...messages, ...gone])
    expect(new EncodedMessage(message).bytes.length).toBeLessThanOrEqual(MAX_RECORD)
})

test('a piece of routes with the longest names fits into a record', () => {
  const routes = Array.from({ length: PREFIXES_PER_MESSAGE }, () => ({
    prefix: '2001:0db8:ffff:ffff:ffff:ffff:ffff:ffff/128',
    reachable: false,
    security: 'clear' as const,
    owner: '7c5b6a6e-3d7e-4f0b-9d7c-0d9d5a3f1e11',
    ownerName: 'n'.repeat(63),
  }))
  expect(new EncodedMessage({ type: 'routes', full: false, routes }).bytes.length).toBeLessThanOrEqual(MAX_RECORD)
})
