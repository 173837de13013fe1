import { beforeEach, describe, expect, it } from 'vitest'
import { trafficClass } from '../../schema/abi.gen.ts'
import { KernelError } from '../kernel/error.ts'
import { FakeNetwork } from '../kernel/fake/network.ts'
import { ROOT } from '../kernel/queueing.ts'
import type { WanLink } from './links.ts'
import { HANDLE, Queues, queueMinor, queuePlan } from './queues.ts'

describe('the plan for a link', () => {
  it('shares its rate, first come the classes that cannot wait', () => {
    const { classes } = queuePlan({ ifindex: 3, mtu: 1500, upMbps: 10 })
    const [link, ...rest] = classes
    expect(link).toMatchObject({ handle: HANDLE | 1, parent: HANDLE, rate: 1_212_500, ceil: 1_212_500, burst: 3028 })
    expect(rest.map(({ handle, priority, rate }) => [handle & 0xffff, priority, rate])).toEqual([
      [0x16, 0, 485_000],
      [0x14, 1, 363_750],
      [0x10, 2, 242_500],
      [0x12, 3, 121_250],
    ])
    expect(rest.every(({ ceil, parent }) => ceil === link?.rate && parent === link.handle)).toBe(true)
    expect(rest.reduce((sum, { rate }) => sum + rate, 0)).toBeLessThanOrEqual(link?.rate ?? 0)
  })

  it('lets no class fall behind by a replay window', () => {
    const { classes, leaves } = queuePlan({ ifindex: 3, mtu: 1500, upMbps: 1000 })
    for (const [place, { best, plain }] of leaves.entries()) {
      const share = (classes[place + 1]?.rate ?? 0) / (classes[0]?.rate ?? 0)
      for (const { limit } of [best, plain] as { limit: number }[]) expect(limit / share).toBeLessThan(2048)
    }
  })

  it.each([0.064, 1, 10, 1000, 400_000])('fits a link of %f Mb/s', upMbps => {
    const { classes, leaves } = queuePlan({ ifindex: 3, mtu: 1500, upMbps })
    for (const { rate, burst, quantum } of classes) {
      expect(rate).toBeGreaterThan(0)
      expect(burst).toBeGreaterThanOrEqual(2 * 1514)
      expect(quantum).toBe(1514)
    }
    for (const { best, plain } of leaves) {
      expect((plain as { limit: number }).limit).toBeGreaterThanOrEqual(8)
      expect((best as { targetUs: number }).targetUs).toBeGreaterThanOrEqual(5000)
    }
  })

  it('leaves alone what waits in front of a link because another is slower', () => {
    const leadUs = [0, 0, 35_000, 0]
    const [before, after] = [{}, { leadUs }].map(
      lead => queuePlan({ ifindex: 3, mtu: 1500, upMbps: 10, ...lead }).leaves,
    )
    const codel = (leaves: typeof before) => leaves?.map(({ best }) => best as { targetUs: number; intervalUs: number })
    const targets = codel(before)?.map(({ targetUs }, place) => targetUs + (place === 1 ? 35_000 : 0))
    expect(codel(after)?.map(({ targetUs }) => targetUs)).toEqual(targets)
    expect(codel(after)?.map(({ intervalUs }) => intervalUs)).toEqual(
      codel(before)?.map(({ intervalUs }) => intervalUs),
    )
    const plain = (leaves: typeof before) => (leaves?.[1]?.plain as { limit: number } | undefined)?.limit ?? 0
    expect(plain(after)).toBeGreaterThan(plain(before) + 25)
  })

  it('has the classes that the programs name', () => {
    const { CLASS_DEFAULT, CLASS_REALTIME, CLASS_TRANSACTIONAL, CLASS_BULK } = trafficClass
    const minors = [CLASS_DEFAULT, CLASS_REALTIME, CLASS_TRANSACTIONAL, CLASS_BULK].map(queueMinor)
    expect(minors).toEqual([0x10, 0x16, 0x14, 0x12])
  })
})

describe('on a device', () => {
  let network: FakeNetwork
  let ifindex: number
  let said: string[]
  let queues: Queues
  const log = () => {
    const note = (_: unknown, message: string) => said.push(message)
    return { info: note, warn: note } as never
  }
  beforeEach(() => {
    network = new FakeNetwork(true)
    ifindex = network.addDevice('wan0').ifindex
    said = []
    queues = new Queues(network, log())
  })
  const link = (upMbps: number | undefined): WanLink => ({
    name: 'inet',
    index: 0,
    ifindex,
    mtu: 1500,
    kind: undefined,
    segmenter: 0,
    usable: true,
    addresses: [],
    upMbps,
    downMbps: undefined,
    backup: false,
    metered: false,
  })
  const root = async () => (await network.qdiscs()).find(({ parent }) => parent === ROOT)
  const rate = async () => (await network.classes(ifindex)).find(({ handle }) => handle === (HANDLE | 1))?.rate

  it('without a rate nothing is touched', async () => {
    await network.replaceQdisc({ kind: 'pfifo', ifindex, handle: 0x10000, parent: ROOT, limit: 5 })
    await queues.refresh([link(undefined)])
    expect(await network.qdiscs()).toEqual([{ kind: 'pfifo', ifindex, handle: 0x10000, parent: ROOT }])
    expect(said).toEqual([])
  })

  it('with one somebody’s own qdisc gives way, and is named', async () => {
    await network.replaceQdisc({ kind: 'pfifo', ifindex, handle: 0x10000, parent: ROOT, limit: 5 })
    await queues.refresh([link(10)])
    expect(await root()).toMatchObject({ kind: 'htb', handle: HANDLE })
    expect(await network.classes(ifindex)).toHaveLength(5)
    expect((await network.qdiscs()).filter(({ kind }) => kind === 'fq_codel')).toHaveLength(4)
    expect(said).toEqual(['WAN link inet: its qdisc pfifo gives way, because upMbps is set'])
  })

  it('a later agent takes them over and sets its own rate', async () => {
    await queues.refresh([link(10)])
    let made = 0
    const { replaceQdisc } = network
    network.replaceQdisc = async spec => {
      if (spec.parent === ROOT) made += 1
      return replaceQdisc.call(network, spec)
    }
    await new Queues(network, log()).refresh([link(20)])
    expect(made).toBe(0)
    expect(await rate()).toBe(2_425_000)
  })

  it('they go when the configuration has no rate any more', async () => {
    await queues.refresh([link(10)])
    await new Queues(network, log()).refresh([link(undefined)])
    expect(await network.qdiscs()).toEqual([])
  })

  it('they are there again after somebody took them away', async () => {
    await queues.refresh([link(10)])
    await network.deleteQdisc({ ifindex, parent: ROOT })
    await queues.refresh([link(10)])
    expect(await network.classes(ifindex)).toHaveLength(5)
  })

  it('without fq_codel each class has a short queue', async () => {
    const { replaceQdisc } = network
    network.replaceQdisc = async spec => {
      if (spec.kind === 'fq_codel') throw unknownKind('fq_codel')
      return replaceQdisc.call(network, spec)
    }
    await queues.refresh([link(10)])
    expect((await network.qdiscs()).filter(({ kind }) => kind === 'pfifo')).toHaveLength(4)
    expect(said).toEqual(['this kernel has no fq_codel: one queue per class, without fairness inside it'])
  })

  it('of a kernel without HTB the link goes without, and it is said', async () => {
    network.replaceQdisc = () => Promise.reject(unknownKind('htb'))
    await queues.refresh([link(10)])
    expect(said).toEqual(['no queues on WAN link inet: real-time waits behind bulk there'])
  })
})

function unknownKind(kind: string): KernelError {
  return new KernelError('replace', `qdisc ${kind}`, 'ENOENT', 'Specified qdisc kind is unknown')
}
