import { expect, test } from 'vitest'
import { keyOf } from './resource.ts'
import { type RouteResource, RouteStates } from './route-states.ts'

const route = (address: string, prefixLength: number, nexthop: number): RouteResource => ({
  kind: 'fib',
  vrf: 7,
  address,
  prefixLength,
  nexthop,
})

test.each([
  route('10.1.0.0', 16, 1),
  route('0.0.0.0', 0, 65_535),
  route('2001:db8::', 32, 40_000),
  route('2001:db8::1', 128, 2),
])('a route comes back from its key as it went in: %j', resource => {
  const states = new RouteStates()
  const key = keyOf(resource)
  expect([states.desired(key), states.observed(key)]).toEqual([undefined, undefined])
  states.want(key, resource.nexthop)
  expect([states.desired(key), states.observed(key)]).toEqual([resource, undefined])
  states.observe(key, 65_535)
  expect([states.desired(key), states.observed(key)]).toEqual([resource, { ...resource, nexthop: 65_535 }])
  expect([...states.unwanted()]).toEqual([])
  states.want(key, 0)
  expect([...states.unwanted()]).toEqual([key])
  expect([...states.allObserved()]).toEqual([{ ...resource, nexthop: 65_535 }])
  states.observe(key, 0)
  expect([...states.allObserved()]).toEqual([])
})
