import { expect, test } from 'vitest'
import { linkOfferSchema } from '../../schema/mpinit.ts'
import { pathRate, statementOf, traitsOf } from './link-traits.ts'

const lte = { upMbps: 10, downMbps: 40, backup: true, metered: true }

test('each end has the rates in its own direction', () => {
  expect(traitsOf(lte, 'edge')).toEqual({ toPeerMbps: 10, fromPeerMbps: 40, backup: true, metered: true })
  expect(traitsOf(lte, 'gateway')).toEqual({ toPeerMbps: 40, fromPeerMbps: 10, backup: true, metered: true })
})

test('what nobody stated is not said', () => {
  expect(statementOf({ upMbps: undefined, backup: false })).toStrictEqual({})
  expect(traitsOf({ downMbps: 5 }, 'gateway')).toStrictEqual({ toPeerMbps: 5 })
})

test('an offer of an edge that knows of no rates is one; so is one with all of them', () => {
  const offer = { path: 0, name: 'lte', family: 4, mtu: 1500, spi: 0 }
  expect(linkOfferSchema.parse(offer)).toEqual(offer)
  expect(linkOfferSchema.parse({ ...offer, ...lte })).toEqual({ ...offer, ...lte })
  for (const upMbps of [0, -1, Number.POSITIVE_INFINITY, Number.NaN, '10'])
    expect(linkOfferSchema.safeParse({ ...offer, upMbps }).success, String(upMbps)).toBe(false)
})

test('a path is as fast as the slower of its ends', () => {
  expect(pathRate(undefined, undefined)).toBe(0)
  expect(pathRate(10, undefined)).toBe(1250)
  expect(pathRate(100, 10)).toBe(1250)
  expect(pathRate(0.001)).toBe(1)
})
