import { afterEach, expect, it } from 'vitest'
import { nexthopKind } from '../../schema/abi.gen.ts'
import { FakeKernel } from '../kernel/fake.ts'
import { observe } from '../plan/apply.ts'
import { Reconciler } from '../plan/reconciler.ts'
import { Fib } from './fib.ts'
import { Nexthops, unreachable, viaPeer } from './nexthops.ts'

const opened: Reconciler[] = []
afterEach(() => {
  for (const reconciler of opened.splice(0)) reconciler.close()
})

const kernelWith = async (kernel = new FakeKernel()) => {
  const dataplane = await kernel.openDataplane({ bpffs: '/bpf', esp: false })
  const observed = await observe(kernel, dataplane, { mp0: 1, table: 1, esp: false })
  const reconciler = new Reconciler({ port: kernel, dataplane, observed })
  opened.push(reconciler)
  return { kernel, dataplane, reconciler, fib: new Fib(reconciler, new Nexthops(reconciler)) }
}

const set = (...peers: number[]) => ({ members: peers.map(peer => viaPeer(peer, 0)) })

it('routes share a set of the same members, whatever their order, and it goes with the last', async () => {
  const { dataplane, kernel, reconciler, fib } = await kernelWith()
  fib.set(1, '10.1.0.0/16', set(7, 8, 8))
  fib.set(1, '10.2.0.0/16', set(8, 7, 8))
  fib.set(1, '10.3.0.0/16', viaPeer(7, 0))
  await reconciler.flush()
  const { nexthops, nexthopSets } = dataplane.maps
  const targets = new Map(nexthops.entries().map(([index, { kind, target }]) => [index, [kind, target]]))
  expect([...targets.values()]).toEqual([
    [nexthopKind.NH_PEER, 7],
    [nexthopKind.NH_PEER, 8],
    [nexthopKind.NH_SET, 1],
  ])
  expect(nexthopSets.entries().map(([index, { members }]) => [index, members.slice(0, 4)])).toEqual([[1, [1, 2, 2, 0]]])
  const next = (prefix: string) => kernel.fib()?.get({ vrf: 1, address: prefix, prefixLength: 16 })
  expect([next('10.1.0.0'), next('10.2.0.0'), next('10.3.0.0')]).toEqual([3, 3, 1])

  fib.set(1, '10.1.0.0/16', unreachable(0))
  await reconciler.flush()
  expect(nexthopSets.entries().length).toBe(1)
  fib.delete(1, '10.2.0.0/16')
  await reconciler.flush()
  expect(nexthopSets.entries()).toEqual([])
  expect(nexthops.entries().map(([, { kind, target }]) => [kind, target])).toEqual([
    [nexthopKind.NH_PEER, 7],
    [nexthopKind.NH_UNREACHABLE, 0],
  ])
})

it('a restarted agent finds its sets again', async () => {
  const { kernel, reconciler, fib } = await kernelWith()
  fib.set(1, '10.1.0.0/16', set(7, 8))
  fib.set(1, '10.2.0.0/16', set(8, 9))
  await reconciler.flush()
  const next = await kernelWith(kernel)
  next.fib.set(1, '10.2.0.0/16', set(9, 8))
  next.reconciler.sweep()
  await next.reconciler.flush()
  expect(next.dataplane.maps.nexthopSets.entries().map(([index]) => index)).toEqual([2])
  expect(kernel.fib()?.list().length).toBe(1)
})

it('a set has members, and not more than there is room for', async () => {
  const { fib } = await kernelWith()
  expect(() => fib.set(1, '10.1.0.0/16', set())).toThrow(RangeError)
  expect(() => fib.set(1, '10.1.0.0/16', set(...Array.from({ length: 17 }, () => 7)))).toThrow(RangeError)
})

it('indexes come again, the one longest free first, and only when the kernel has nothing there', async () => {
  const { dataplane, reconciler } = await kernelWith()
  const nexthops = new Nexthops(reconciler)
  const acquire = (first: number, count: number) =>
    Array.from({ length: count }, (_, number) => nexthops.acquire(viaPeer(first + number, 0)))
  const release = (indexes: readonly number[]) => {
    for (const index of indexes) nexthops.release(index)
  }
  const first = acquire(0, 100)
  await reconciler.flush()
  const odd = first.filter(index => index % 2 === 1)
  const even = first.filter(index => index % 2 === 0)
  release(odd)
  // Still in the kernel.
  expect(acquire(1000, 3)).toEqual([101, 102, 103])
  await reconciler.flush()
  release(even)
  await reconciler.flush()
  expect(acquire(2000, 70)).toEqual([...odd, ...even.slice(0, 20)])
  await reconciler.flush()
  expect(acquire(3000, 31)).toEqual([...even.slice(20), 104])
  await reconciler.flush()
  const inKernel = dataplane.maps.nexthops.entries().filter(([, { kind }]) => kind !== 0)
  expect(new Set(inKernel.map(([, { target }]) => target)).size).toBe(104)
})
