import { setTimeout as delay } from 'node:timers/promises'
import { expect, test } from 'vitest'
import type { NodeIntent } from '../compile/node-state.ts'
import { Publisher } from './publisher.ts'

const intent = (node: string, revision: number): NodeIntent => ({
  node: { id: node, name: node, role: 'edge', revision, location: null },
  grant: '',
  enterprise: { id: 'acme', name: 'acme', security: 'esp', vpnEnabled: true },
  subnets: [],
  gateways: [],
  policy: null,
  trust: { anchors: [], revocations: null },
})

/** A publisher over numbers that the test sets, and everything it loaded. */
function bench(revisions: Record<string, number>) {
  const loads: string[][] = []
  const errors: unknown[] = []
  let failures = 0
  const publisher = new Publisher({
    load: async nodes => {
      loads.push(nodes)
      if (failures-- > 0) throw new Error('the database is away')
      return nodes.flatMap(node => (node in revisions ? [intent(node, revisions[node] ?? 0)] : []))
    },
    onError: error => errors.push(error),
  })
  const follow = (node: string, options: { known?: number; ready?: () => Promise<void>; enterprise?: string } = {}) => {
    const abort = new AbortController()
    const seen: number[] = []
    const { known, ready = async () => {}, enterprise = 'acme' } = options
    const done = (async () => {
      for await (const state of publisher.states({ id: node, enterprise }, known, ready, abort.signal))
        seen.push(state.revision)
    })()
    return {
      seen,
      stop: () => {
        abort.abort()
        return done
      },
    }
  }
  return {
    publisher,
    loads,
    errors,
    follow,
    fail: (times: number) => {
      failures = times
    },
  }
}

test('many nodes that come or change together are loaded together', async () => {
  const revisions = Object.fromEntries(Array.from({ length: 100 }, (_, at) => [`n${at}`, 1]))
  const { publisher, loads, follow } = bench(revisions)
  const nodes = Object.keys(revisions).map(node => follow(node))
  await delay(20)
  expect(loads).toHaveLength(1)
  for (const node of Object.keys(revisions)) revisions[node] = 2
  publisher.notice({ scope: 'enterprise', enterprise: 'acme' })
  await delay(20)
  expect(loads).toHaveLength(2)
  expect(nodes.every(({ seen }) => seen.join() === '1,2')).toBe(true)
  await Promise.all(nodes.map(node => node.stop()))
})

test('a node that has the newest state already is sent nothing; one that has another is', async () => {
  const { follow } = bench({ a: 5, b: 5 })
  const current = follow('a', { known: 5 })
  const behind = follow('b', { known: 4 })
  await delay(20)
  expect(current.seen).toEqual([])
  expect(behind.seen).toEqual([5])
  await Promise.all([current.stop(), behind.stop()])
})

test('a slow node skips what is out of date', async () => {
  const revisions = { a: 1 }
  const { publisher, follow } = bench(revisions)
  let open = () => {}
  const gate = new Promise<void>(resolve => {
    open = resolve
  })
  const slow = follow('a', { ready: () => gate })
  for (const revision of [1, 2, 3]) {
    revisions.a = revision
    publisher.notice({ scope: 'node', node: 'a' })
    await delay(10)
  }
  open()
  await delay(10)
  expect(slow.seen).toEqual([3])
  await slow.stop()
})

test('a change of another enterprise, of a node that is not here, or of nothing loads nothing', async () => {
  const { publisher, loads, follow } = bench({ a: 1 })
  const node = follow('a')
  await delay(10)
  loads.length = 0
  publisher.notice({ scope: 'enterprise', enterprise: 'other' })
  publisher.notice({ scope: 'node', node: 'elsewhere' })
  publisher.notice({ scope: 'shut-out', node: 'a', reason: '' })
  await delay(10)
  expect(loads).toEqual([])
  await node.stop()
  publisher.notice({ scope: 'all' })
  await delay(10)
  expect(loads).toEqual([])
})

test('a database that fails is asked again, and the change is not lost', async () => {
  const { errors, follow, fail } = bench({ a: 1 })
  fail(1)
  const node = follow('a')
  await delay(1200)
  expect(errors).toHaveLength(1)
  expect(node.seen).toEqual([1])
  await node.stop()
})
