import { expect, test } from 'vitest'
import { changesBetween, plan } from './plan.ts'
import { keyOf, type Resource } from './resource.ts'

const nexthop = (index: number, target: number): Resource => ({
  kind: 'nexthop',
  index,
  value: { kind: 5, flags: 0, reserved: 0, target },
})
const fib = (address: string, to: number): Resource => ({ kind: 'fib', vrf: 1, address, prefixLength: 24, nexthop: to })
const association = (spi: number, key?: Uint8Array): Resource => ({
  kind: 'association',
  value: {
    direction: 'in',
    source: '100.64.0.2',
    destination: '100.64.0.1',
    spi,
    ifId: 16,
    replayWindow: 4096,
    ...(key ? { key } : {}),
  },
})
const told = (stages: ReturnType<typeof plan>) =>
  stages.map(stage => stage.map(({ action, resource }) => `${action} ${keyOf(resource)}`))

test('nothing to do where desired and observed agree', () => {
  const state = [nexthop(1, 7), fib('10.1.0.0', 1)]
  expect(plan(changesBetween(state, structuredClone(state)))).toEqual([])
})

test('what is pointed to is made first and removed last', () => {
  expect(told(plan(changesBetween([fib('10.1.0.0', 1), nexthop(1, 7)], [])))).toEqual([
    ['create nexthop 1'],
    ['create fib 1 10.1.0.0/24'],
  ])
  expect(told(plan(changesBetween([], [nexthop(1, 7), fib('10.1.0.0', 1)])))).toEqual([
    ['delete fib 1 10.1.0.0/24'],
    ['delete nexthop 1'],
  ])
})

test('creations run before deletions, so a move never leaves a gap', () => {
  const stages = told(plan(changesBetween([nexthop(2, 8), fib('10.1.0.0', 2)], [nexthop(1, 7), fib('10.1.0.0', 1)])))
  expect(stages).toEqual([['create nexthop 2'], ['replace fib 1 10.1.0.0/24'], ['delete nexthop 1']])
})

test('an adopted SA, whose key nobody can read back, is left alone', () => {
  expect(plan(changesBetween([association(1000, new Uint8Array(36))], [association(1000)]))).toEqual([])
})
