import { describe, expect, it } from 'vitest'
import { type InstanceFacts, lifecycle, type Need, takers } from './lifecycle.ts'

const limits = () => ({ max: 1000, drainMs: 60_000 })
const need = (enterprise: string, total: number, active = total): Need => ({
  function: 'nat',
  enterprise,
  active,
  total,
})
const instance = (name: string, change: Partial<InstanceFacts> = {}): InstanceFacts => ({
  name,
  function: 'nat',
  enterprise: 'acme',
  state: 'ready',
  sinceMs: 0,
  connections: 0,
  ...change,
})
const told = (needs: Need[], instances: InstanceFacts[], nowMs = 100_000, max = 1000) =>
  lifecycle(needs, instances, () => ({ ...limits(), max }), nowMs).map(step =>
    step.what === 'launch' ? `launch for ${step.enterprise}` : `${step.what} ${step.name}`,
  )

describe('more are needed', () => {
  it('launches them', () => {
    expect(told([need('acme', 2)], [])).toEqual(['launch for acme', 'launch for acme'])
    expect(told([need('acme', 2)], [instance('nat-1', { state: 'starting' })])).toEqual(['launch for acme'])
  })

  it('takes back one that was to go before it starts another', () => {
    const leaving = [instance('nat-1', { state: 'draining', sinceMs: 90_000, connections: 3 })]
    expect(told([need('acme', 1)], leaving)).toEqual(['resume nat-1'])
  })

  it('replaces one that died, and never exceeds the operator’s limit', () => {
    const dead = instance('nat-1', { state: 'dead' })
    expect(told([need('acme', 1)], [dead])).toEqual(['launch for acme'])
    const others = [instance('nat-2', { enterprise: 'other' }), instance('nat-3', { state: 'stopping' })]
    expect(told([need('acme', 2), need('other', 1)], others, 100_000, 3)).toEqual(['launch for acme'])
  })
})

describe('fewer are needed', () => {
  it('drains the one with the fewest connections, and stops what is still starting', () => {
    const two = [instance('nat-1', { connections: 5 }), instance('nat-2', { connections: 2 })]
    expect(told([need('acme', 1)], two)).toEqual(['drain nat-2'])
    expect(told([need('acme', 1)], [instance('nat-1'), instance('nat-2', { state: 'starting' })])).toEqual([
      'stop nat-2',
    ])
  })

  it('stops a drained one without connections, or at the deadline', () => {
    const draining = (change: Partial<InstanceFacts>) => told([], [instance('nat-1', { state: 'draining', ...change })])
    expect(draining({ sinceMs: 99_000 })).toEqual([])
    expect(draining({ sinceMs: 97_000 })).toEqual(['stop nat-1'])
    expect(draining({ sinceMs: 97_000, connections: 1 })).toEqual([])
    expect(draining({ sinceMs: 40_000, connections: 1 })).toEqual(['stop nat-1'])
  })
})

it('an enterprise whose last chain is gone has its instances drained', () => {
  expect(told([need('other', 0)], [instance('nat-1')])).toEqual(['drain nat-1'])
})

it('plans a thousand instances of two enterprises, and nothing once they are there', () => {
  const needs = [need('acme', 600), need('other', 400)]
  const launches = told(needs, [])
  expect(launches.filter(step => step === 'launch for acme')).toHaveLength(600)
  expect(launches).toHaveLength(1000)
  const there = Array.from({ length: 1000 }, (_, index) =>
    instance(`nat-${index}`, { enterprise: index < 600 ? 'acme' : 'other' }),
  )
  expect(told(needs, there)).toEqual([])
  // One enterprise's shrinking is nothing to the other.
  const drained = told([need('acme', 100), need('other', 400)], there)
  expect(drained).toHaveLength(500)
  for (const step of drained) expect(Number(step.slice('drain nat-'.length))).toBeLessThan(600)
})

it('the oldest take connections, the others stand by', () => {
  const ready = [
    instance('nat-3', { sinceMs: 2 }),
    instance('nat-1', { sinceMs: 1 }),
    instance('nat-2', { state: 'draining' }),
  ]
  expect(takers(ready, 1).map(({ name }) => name)).toEqual(['nat-1'])
  expect(takers(ready, 5)).toHaveLength(2)
})
