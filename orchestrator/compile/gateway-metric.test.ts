import { expect, test } from 'vitest'
import { type GatewayIntent, greatCircleKm, rankGateways } from './gateway-metric.ts'

const frankfurt = { latitude: 50.11, longitude: 8.68 }
const paris = { latitude: 48.86, longitude: 2.35 }
const sydney = { latitude: -33.87, longitude: 151.21 }

const gateway = (name: string, change: Partial<GatewayIntent> = {}): GatewayIntent => ({
  node: '00000009-0000-4000-8000-000000000000',
  name,
  staticKey: '',
  endpoints: [{ address: '192.0.2.1', port: 2426 }],
  drained: false,
  adminMetric: 100,
  location: null,
  ...change,
})
const order = (gateways: readonly GatewayIntent[], from: Parameters<typeof rankGateways>[1]) =>
  rankGateways(gateways, from).map(({ name, metric }) => `${name} ${metric}`)

test.each([
  ['nowhere else', frankfurt, frankfurt, 0],
  ['Paris', frankfurt, paris, 479],
  ['the other side of the world', frankfurt, sydney, 16_479],
  ['a quarter of the equator', { latitude: 0, longitude: 135 }, { latitude: 0, longitude: -135 }, 10_008],
  ['over the date line', { latitude: 0, longitude: 179.5 }, { latitude: 0, longitude: -179.5 }, 111],
  ['pole to pole', { latitude: 90, longitude: 10 }, { latitude: -90, longitude: -60 }, 20_015],
])('great circle to %s', (_, a, b, km) => {
  expect(Math.abs(greatCircleKm(a, b) - km)).toBeLessThan(0.005 * km + 1)
  expect(greatCircleKm(b, a)).toBeCloseTo(greatCircleKm(a, b), 6)
})

test('nearest first, unless the admin says otherwise', () => {
  const all = [gateway('sydney', { location: sydney }), gateway('paris', { location: paris })]
  expect(order(all, frankfurt)).toEqual(['paris 105', 'sydney 265'])
  const told = [
    gateway('sydney', { location: sydney, adminMetric: 10 }),
    gateway('paris', { location: paris, adminMetric: 200 }),
  ]
  expect(order(told, frankfurt)).toEqual(['sydney 175', 'paris 205'])
})

test('without a location on either side only the admin metric counts, and names break ties', () => {
  const all = [gateway('b', { location: sydney }), gateway('a', { location: paris }), gateway('c', { adminMetric: 99 })]
  expect(order(all, null)).toEqual(['c 99', 'a 100', 'b 100'])
  expect(order([gateway('b', { location: sydney }), gateway('a')], frankfurt)).toEqual(['a 100', 'b 265'])
})

test('a drained one comes last, however near', () => {
  const all = [gateway('here', { location: frankfurt, drained: true }), gateway('sydney', { location: sydney })]
  expect(order(all, frankfurt)).toEqual(['sydney 265', 'here 100'])
})
