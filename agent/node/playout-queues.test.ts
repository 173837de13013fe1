import { beforeEach, expect, it } from 'vitest'
import { KernelError } from '../kernel/error.ts'
import { FakeNetwork } from '../kernel/fake/network.ts'
import type { Link } from '../kernel/port.ts'
import { ROOT } from '../kernel/queueing.ts'
import { PlayoutQueues } from './playout-queues.ts'
import { HANDLE } from './queues.ts'

let network: FakeNetwork
let lan0: Link
let lan1: Link
let said: string[]
const queues = () => new PlayoutQueues(network, { info: (_: object, message: string) => said.push(message) } as never)
const kinds = async () => (await network.qdiscs()).map(({ ifindex, kind }) => [ifindex, kind])

beforeEach(() => {
  network = new FakeNetwork(false)
  lan0 = network.addDevice('lan0')
  lan1 = network.addDevice('lan1')
  said = []
})

it('every port gets an fq, once', async () => {
  expect(await queues().refresh([lan0, lan1])).toEqual(new Set([lan0.ifindex, lan1.ifindex]))
  expect(await network.qdiscs()).toEqual(
    [lan0, lan1].map(({ ifindex }) => ({ ifindex, kind: 'fq', handle: HANDLE, parent: ROOT })),
  )
  network.replaceQdisc = () => Promise.reject(new Error('made twice'))
  expect(await queues().refresh([lan0, lan1])).toEqual(new Set([lan0.ifindex, lan1.ifindex]))
})

it('a port that is none any more, or needs none, loses it', async () => {
  const both = queues()
  await both.refresh([lan0, lan1])
  expect(await both.refresh([lan1])).toEqual(new Set([lan1.ifindex]))
  expect(await kinds()).toEqual([[lan1.ifindex, 'fq']])
  await queues().refresh([])
  expect(await kinds()).toEqual([])
})

it('somebody’s own qdisc stays, and counts where it is an fq', async () => {
  await network.replaceQdisc({ kind: 'pfifo', ifindex: lan0.ifindex, handle: 0x10000, parent: ROOT, limit: 7 })
  await network.replaceQdisc({
    kind: 'fq',
    ifindex: lan1.ifindex,
    handle: 0x10000,
    parent: ROOT,
    limit: 7,
    flowLimit: 7,
  })
  const own = queues()
  for (let look = 0; look < 2; look++) expect(await own.refresh([lan0, lan1])).toEqual(new Set([lan1.ifindex]))
  expect(await kinds()).toEqual([
    [lan0.ifindex, 'pfifo'],
    [lan1.ifindex, 'fq'],
  ])
  expect(said).toEqual([expect.stringContaining('LAN port lan0 has no fq')])
  await queues().refresh([])
  expect(await kinds()).toHaveLength(2)
})

it('a kernel without fq goes without, and it is said once', async () => {
  network.replaceQdisc = () => Promise.reject(new KernelError('replace', 'qdisc fq', 'ENOENT', 'unknown kind'))
  const none = queues()
  for (let look = 0; look < 2; look++) expect(await none.refresh([lan0])).toEqual(new Set())
  expect(said).toEqual([expect.stringContaining('unknown kind')])
})
