import { afterEach, expect, test } from 'vitest'
import { nexthopKind } from '../../schema/abi.gen.ts'
import { formatBe32 } from '../../schema/address.ts'
import { KernelError } from '../kernel/error.ts'
import { FakeKernel } from '../kernel/fake.ts'
import type { Failure } from './apply.ts'
import { Reconciler } from './reconciler.ts'
import type { Resource } from './resource.ts'

const opened: Reconciler[] = []
afterEach(() => {
  for (const reconciler of opened.splice(0)) reconciler.close()
})

async function setUp() {
  const port = new FakeKernel()
  const dataplane = await port.openDataplane({ bpffs: '/bpf', esp: true })
  const failures: Failure[] = []
  const errors: unknown[] = []
  const reconciler = new Reconciler({
    port,
    dataplane,
    onFailure: failure => failures.push(failure),
    onError: error => errors.push(error),
    retryMs: 20,
  })
  opened.push(reconciler)
  return { port, reconciler, dataplane, failures, errors }
}

const nexthop = (index: number): Resource => ({
  kind: 'nexthop',
  index,
  value: { kind: nexthopKind.NH_PEER, flags: 0, reserved: 0, target: index },
})
const route = (number: number, to: number): Resource => ({
  kind: 'fib',
  vrf: 1,
  address: formatBe32(0x0a000000 + number * 256),
  prefixLength: 24,
  nexthop: to,
})
const targetOf = (port: FakeKernel, number: number) =>
  port.fib()?.get({ vrf: 1, address: formatBe32(0x0a000000 + number * 256), prefixLength: 24 })
const until = async (condition: () => boolean) => {
  for (const end = performance.now() + 10_000; !condition(); ) {
    if (performance.now() > end) throw new Error('not within 10 s')
    await new Promise(resolve => setTimeout(resolve, 5))
  }
}

test('one entry that the kernel refuses does not take the others of its batch along, and is tried again', async () => {
  const { reconciler, dataplane, failures } = await setUp()
  const { vaddrs } = dataplane.maps
  const setMany = vaddrs.setMany.bind(vaddrs)
  let full = true
  vaddrs.setMany = entries => {
    if (full && entries.some(([, peer]) => peer === 700)) throw new KernelError('write', 'map vaddrs', 'E2BIG')
    setMany(entries)
  }
  for (let peer = 1; peer <= 1000; peer++)
    reconciler.want({ kind: 'vaddr', address: formatBe32(0x64400000 + peer), peer })
  const failed = await reconciler.flush()
  expect(failed.map(({ operation }) => operation.resource)).toMatchObject([{ peer: 700 }])
  expect(failures).toEqual(failed)
  expect(vaddrs.entries()).toHaveLength(999)
  expect(await reconciler.flush()).toEqual([])
  full = false
  await until(() => vaddrs.get(formatBe32(0x64400000 + 700)) === 700)
})

test('a session does not wait for a hundred thousand routes', async () => {
  const { port, reconciler, dataplane } = await setUp()
  reconciler.want(nexthop(1))
  for (let number = 0; number < 100_000; number++) reconciler.want(route(number, 1))
  const first = reconciler.flush()
  reconciler.want(nexthop(2))
  await first
  await reconciler.flush()
  expect(dataplane.maps.nexthops.get(2)?.target).toBe(2)
  expect(targetOf(port, 99_999)).toBeUndefined()
  await until(() => reconciler.idle)
  expect(targetOf(port, 99_999)).toBe(1)
})

test('a next hop stays until the last of many routes has left it', async () => {
  const { port, reconciler, dataplane } = await setUp()
  const count = 20_000
  reconciler.want(nexthop(1))
  for (let number = 0; number < count; number++) reconciler.want(route(number, 1))
  await reconciler.flush()
  await until(() => reconciler.idle)
  // The next hop is dropped first, and stands before the routes in the list of what to do.
  reconciler.drop('nexthop 1')
  reconciler.want(nexthop(2))
  for (let number = 0; number < count; number++) reconciler.want(route(number, 2))
  const seen: { left: boolean; gone: boolean }[] = []
  while (!reconciler.idle) {
    await reconciler.flush()
    seen.push({ left: targetOf(port, count - 1) === 2, gone: dataplane.maps.nexthops.get(1)?.target === 0 })
  }
  expect(seen.length).toBeGreaterThan(1)
  expect(seen.filter(({ left, gone }) => gone && !left)).toEqual([])
  expect(seen.at(-1)).toEqual({ left: true, gone: true })
})

test('next hops on their way out, however many, do not crowd out the routes', async () => {
  const { port, reconciler, dataplane } = await setUp()
  const count = 12_000
  for (let number = 1; number <= count; number++) {
    reconciler.want(nexthop(number))
    reconciler.want(route(number, number))
  }
  await reconciler.flush()
  await until(() => reconciler.idle)
  const apply = dataplane.fib.apply.bind(dataplane.fib)
  const sizes: number[] = []
  dataplane.fib.apply = changes => {
    sizes.push(changes.length)
    return apply(changes)
  }
  reconciler.want(nexthop(count + 1))
  for (let number = 1; number <= count; number++) {
    reconciler.want(route(number, count + 1))
    reconciler.drop(`nexthop ${number}`)
  }
  await reconciler.flush()
  await until(() => reconciler.idle)
  expect(sizes).toEqual([8192, count - 8192])
  expect([targetOf(port, 1), targetOf(port, count)]).toEqual([count + 1, count + 1])
  expect(dataplane.maps.nexthops.entries().filter(([, { kind }]) => kind !== 0)).toHaveLength(1)
})

test('a next hop that is wanted again while it waits to go stays', async () => {
  const { reconciler, dataplane } = await setUp()
  const count = 10_000
  reconciler.want(nexthop(1))
  for (let number = 0; number < count; number++) reconciler.want(route(number, 1))
  await reconciler.flush()
  await until(() => reconciler.idle)
  reconciler.drop('nexthop 1')
  reconciler.want(nexthop(2))
  for (let number = 0; number < count; number++) reconciler.want(route(number, 2))
  await reconciler.flush()
  expect(reconciler.idle).toBe(false)
  reconciler.want(nexthop(1))
  await reconciler.flush()
  await until(() => reconciler.idle)
  expect(dataplane.maps.nexthops.get(1)?.target).toBe(1)
})

test('a run that breaks off loses nothing: it is told, and made up for', async () => {
  const { reconciler, dataplane, errors } = await setUp()
  const { node } = dataplane.maps
  const get = node.get.bind(node)
  let calls = 0
  node.get = key => {
    if (++calls <= 2) throw new Error('bpffs is gone')
    return get(key)
  }
  reconciler.want(nexthop(3))
  await expect(reconciler.flush()).rejects.toThrow('bpffs is gone')
  await until(() => calls > 2 && reconciler.idle)
  expect(get(0)?.routeEpoch).toBe(1)
  expect(errors).toHaveLength(1)
  expect(dataplane.maps.nexthops.get(3)?.target).toBe(3)
})

test('a next hop stays while a route that should leave it cannot be changed', async () => {
  const { port, reconciler, dataplane, failures } = await setUp()
  reconciler.want(nexthop(1))
  reconciler.want(route(1, 1))
  await reconciler.flush()
  const { fib } = dataplane
  const apply = fib.apply.bind(fib)
  let full = true
  fib.apply = async changes =>
    full ? new Map(changes.map((_, index) => [index, new KernelError('write', 'fib', 'ENOSPC')])) : await apply(changes)

  reconciler.want(nexthop(2))
  reconciler.want(route(1, 2))
  reconciler.drop(nexthop(1))
  await reconciler.flush()
  expect(targetOf(port, 1)).toBe(1)
  expect(reconciler.exists('nexthop 1')).toBe(true)
  // Neither in a later run, which does not try the route.
  reconciler.want(nexthop(3))
  reconciler.drop(nexthop(3))
  await reconciler.flush()
  expect(dataplane.maps.nexthops.get(1)?.target).toBe(1)
  // Only what the kernel refused is told.
  expect(new Set(failures.map(({ operation }) => operation.resource.kind))).toEqual(new Set(['fib']))

  full = false
  await until(() => targetOf(port, 1) === 2 && !reconciler.exists('nexthop 1'))
})
