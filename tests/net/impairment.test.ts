/**
 * The relay on one link of the lab's network. Each claim is measured at the far side, and would fail if the relay did nothing:
 *
 *   branch-a wan-inet --- nd… [relay] rt… --- inet --- gw1
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { ProfileInput } from '../../scripts/lab/impairment/profile.ts'
import { type Impairment, impairFromTopology, openImpairment } from '../../scripts/lab/impairment.ts'
import { Lab } from '../../scripts/lab/lab.ts'
import { readMark } from '../../scripts/lab/record.ts'
import { topologySchema } from '../../scripts/lab/topology.ts'
import { TcpTransfer } from '../../scripts/lab/traffic.ts'
import { burstSpread, LINK, seed, send, spread, upLab, wanAddress, warm } from './impairment/measure.ts'

const FAST = 5000
/** By which other programs may delay most packets of a run. */
const NOISE_US = 5000
let lab: Lab
let link: Impairment

beforeAll(async () => {
  lab = await upLab()
  link = await openImpairment(lab, LINK, { with: 'relay', seed })
  await warm(lab)
})
afterAll(() => lab?.down())

beforeEach(async () => {
  for (const direction of ['out', 'in'] as const) await link.set(direction, {})
})

/** What the relay counted of the direction during `action`. */
async function counted<T>(action: () => Promise<T>) {
  const before = await link.counters()
  const result = await action()
  const after = await link.counters()
  const more = (name: keyof (typeof after)['out']) => (after.out[name] ?? 0) - (before.out[name] ?? 0)
  return { result, more }
}

function apply(profile: ProfileInput) {
  return link.set('out', profile)
}

describe.each([4, 6] as const)('over IPv%i', family => {
  // Other programs share the processors: whatever keeps the receiver waiting delays what it measures, but not the quickest of thousands.
  it('a delay is kept to 0.3 ms at 10,000 packets a second, and none leaves early', async () => {
    const good = await send(lab, { family, pps: 10_000, count: FAST })
    await apply({ delayMs: 20 })
    const { delayUs, lost, reordered } = await send(lab, { family, pps: 10_000, count: FAST })
    expect({ lost, reordered }).toEqual({ lost: 0, reordered: 0 })
    expect(delayUs.min).toBeGreaterThanOrEqual(20_000)
    expect(delayUs.min).toBeLessThan(20_300 + good.delayUs.min)
    expect(delayUs.median).toBeLessThan(20_000 + NOISE_US + good.delayUs.median)
  })

  it('jitter is uniform around the delay', async () => {
    await apply({ delayMs: 30, jitterMs: 10 })
    const { delayUs, lost, reordered, sent } = await send(lab, { family, pps: 2000, count: 6000 })
    expect(lost).toBe(0)
    expect(reordered).toBeGreaterThan(0)
    expect(delayUs.min).toBeGreaterThanOrEqual(20_000)
    // All of 6,000 lie above 2.5 % of the range once in 10^65 times.
    expect(delayUs.min).toBeLessThan(20_500)
    expect(delayUs.p99).toBeGreaterThan(39_500)
    // The median of n is normal around the middle, with half of the range by sqrt(n) as deviation.
    const tolerance = (4 * 10_000) / Math.sqrt(sent)
    expect(delayUs.median).toBeGreaterThan(30_000 - tolerance)
    expect(delayUs.median).toBeLessThan(30_000 + tolerance + NOISE_US)
  })

  it('losses are independent without a burst', async () => {
    await apply({ loss: 0.1 })
    const { sent, lost, lostRuns } = await send(lab, { family, pps: 5000, count: FAST })
    expect(Math.abs(lost / sent - 0.1)).toBeLessThan(spread(0.1, sent))
    // Runs begin where a packet that came is followed by a loss.
    expect(Math.abs(lostRuns / sent - 0.09)).toBeLessThan(spread(0.09, sent))
  })

  it('losses come in bursts of the mean length that was asked for', async () => {
    await apply({ loss: 0.1, burst: 5 })
    const { sent, lost, lostRuns } = await send(lab, { family, pps: 10_000, count: 4 * FAST })
    expect(Math.abs(lost / sent - 0.1)).toBeLessThan(burstSpread(0.1, 5, sent))
    // A geometric length of mean 5 has the deviation sqrt(20).
    expect(Math.abs(lost / lostRuns - 5)).toBeLessThan((4 * Math.sqrt(20)) / Math.sqrt(lostRuns))
  })

  it('some packets come twice', async () => {
    await apply({ duplicate: 0.1 })
    const { sent, lost, duplicated } = await send(lab, { family, pps: 5000, count: FAST })
    expect(lost).toBe(0)
    expect(Math.abs(duplicated / sent - 0.1)).toBeLessThan(spread(0.1, sent))
  })

  it('a damaged packet does not pass its checksum', async () => {
    await apply({ corrupt: 0.1 })
    const { result, more } = await counted(() => send(lab, { family, pps: 5000, count: FAST }))
    const corrupted = more('corrupted')
    expect(Math.abs(corrupted / result.sent - 0.1)).toBeLessThan(spread(0.1, result.sent))
    // Nothing protects 36 bits of an IPv6 header (class, flow label, hop limit), 5 % of these packets.
    expect(result.lost).toBeLessThanOrEqual(corrupted)
    expect(result.lost).toBeGreaterThan(0.85 * corrupted)
  })

  it('some packets overtake others by the time that was asked for', async () => {
    await apply({ delayMs: 20, reorder: 0.1, reorderByMs: 8 })
    const { result, more } = await counted(() => send(lab, { family, pps: 2000, count: 3000 }))
    expect(Math.abs(more('reordered') / result.sent - 0.1)).toBeLessThan(spread(0.1, result.sent))
    expect(result).toMatchObject({ lost: 0, duplicated: 0 })
    expect(result.reordered).toBeGreaterThan(0)
    expect(result.delayUs.min).toBeGreaterThanOrEqual(12_000)
    expect(result.delayUs.min).toBeLessThan(12_500)
    expect(result.delayUs.median).toBeGreaterThanOrEqual(20_000)
  })

  it('a rate fills its queue, delays by it, and drops at the tail', async () => {
    const [size, queueMs, rate] = [1000, 40, 2_000_000]
    await apply({ rate, queueMs })
    const { result, more } = await counted(() => send(lab, { family, pps: 1000, count: 1000, size }))
    const frame = size + 8 + (family === 4 ? 20 : 40) + 14
    const expected = (rate / 8 / frame) * (1 + queueMs / 1000)
    expect(Math.abs(result.received / expected - 1)).toBeLessThan(0.1)
    expect(more('queue')).toBe(result.lost)
    // Bufferbloat: all but the first wait for the whole queue.
    expect(result.delayUs.median).toBeGreaterThan(30_000)
    expect(result.delayUs.median).toBeLessThan(45_000)
  })

  it('a black hole takes one direction and leaves the other', async () => {
    await apply({ blackhole: true })
    const traffic = { family, pps: 1000, count: 200 }
    expect(await send(lab, { ...traffic, direction: 'out' })).toMatchObject({ sent: 200, received: 0 })
    expect(await send(lab, { ...traffic, direction: 'in' })).toMatchObject({ sent: 200, lost: 0 })
    await link.set('in', { blackhole: true })
    expect(await send(lab, { ...traffic, direction: 'in' })).toMatchObject({ sent: 200, received: 0 })
  })

  it('a path may lose large packets only', async () => {
    await apply({ blackhole: true, only: { largerThan: 1300 } })
    const headers = family === 4 ? 28 : 48
    const traffic = { family, pps: 1000, count: 100 }
    expect(await send(lab, { ...traffic, size: 1300 - headers })).toMatchObject({ lost: 0 })
    expect(await send(lab, { ...traffic, size: 1301 - headers })).toMatchObject({ received: 0 })
  })

  it('a path may lose one kind of packet only', async () => {
    // The tag begins behind the four bytes of the magic.
    await apply({ loss: 1, only: { match: { offset: 4, mask: 0xff, value: 'b'.charCodeAt(0) } } })
    const traffic = { family, pps: 1000, count: 100 }
    expect(await send(lab, { ...traffic, tag: 'a' })).toMatchObject({ lost: 0 })
    expect(await send(lab, { ...traffic, tag: 'b' })).toMatchObject({ received: 0 })
  })
})

describe('the relay', () => {
  it('loses nothing when its settings change', async () => {
    const flow = send(lab, { pps: 2000, count: 4000 }, async () => {
      for (const delayMs of [5, 30, 0, 10, 1]) {
        await apply({ delayMs, duplicate: 0 })
        await sleep(50)
      }
    })
    expect(await flow).toMatchObject({ sent: 4000, lost: 0 })
  })

  it('draws the same from the same seed', async () => {
    const losses: (number | undefined)[] = []
    for (const again of [seed + 1, seed + 1, seed + 2]) {
      await link.close()
      link = await openImpairment(lab, LINK, { with: 'relay', seed: again })
      await warm(lab)
      // No other packet draws.
      await apply({ loss: 0.5, only: { match: { offset: 0, bytes: 4, mask: 0xffffffff, value: 0x424c464c } } })
      await send(lab, { pps: 5000, count: 2000 })
      losses.push((await link.counters()).out.loss)
    }
    expect(losses[0]).toBe(losses[1])
    expect(losses[0]).toBeGreaterThan(800)
    expect(link.seed).toBe(seed + 2)
  })

  it('carries TCP in single packets with whole checksums', async () => {
    const source = 'head -c 3000000 /dev/urandom'
    for (const family of [4, 6] as const) {
      const to = { address: wanAddress(lab, 'gw1', family), node: 'gw1' }
      await (await TcpTransfer.start(lab, { from: LINK.node, to, family, port: 7200 + family, source })).finish(20_000)
    }
    const { out, in: back } = await link.counters()
    expect([out.offloaded, out.missed, out.refused, back.offloaded]).toEqual([0, 0, 0, 0])
    expect(out.sentBytes).toBeGreaterThan(6_000_000)
  })

  it('sleeps while nothing comes', async () => {
    const mark = readMark(join(lab.machine.shared, 'proc', 'impair-nd3-branch-a'))
    const spent = () => {
      const fields = readFileSync(`/proc/${mark?.pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
      return Number(fields[11]) + Number(fields[12])
    }
    const before = spent()
    await sleep(500)
    // In ticks of 10 ms.
    expect(spent() - before).toBeLessThanOrEqual(1)
  })

  it('refuses nonsense with a reason, and goes on', async () => {
    await expect(apply({ jitterMs: 5 })).rejects.toThrow('jitterMs: 5 ms of jitter need a delay of 5 ms at least')
    expect(await send(lab, { pps: 1000, count: 50 })).toMatchObject({ lost: 0 })
  })
})

describe('the link', () => {
  it('keeps its carrier while an impairment comes and goes, and is good afterwards', async () => {
    const events = await lab.start(LINK.node, { name: 'link-events', argv: ['ip', 'monitor', 'link'] })
    await link.close()
    expect(await send(lab, { family: 6, pps: 1000, count: 100 })).toMatchObject({ lost: 0 })
    expect(await lab.run('inet', ['ip', '-br', 'link'])).not.toMatch(/nd3|rt3/)
    link = await openImpairment(lab, LINK, { with: 'relay', seed })
    expect(await send(lab, { pps: 1000, count: 100 })).toMatchObject({ lost: 0 })
    await events.end('TERM')
    expect(events.output()).not.toMatch(/NO-CARRIER|state DOWN/)
  })

  it('is found by another process, with what it suffers', async () => {
    await apply({ delayMs: 7, loss: 0.25 })
    const again = await openImpairment(Lab.find(lab.id), LINK)
    expect(again).toMatchObject({ kind: 'relay', seed })
    expect(again.profile('out')).toEqual({ delayMs: 7, loss: 0.25 })
  })

  it('of a topology file that says so is impaired from the start', async () => {
    const impairment = { with: 'relay', out: { blackhole: true } }
    const nodes = lab.topology.nodes.map(node =>
      node.name === LINK.node && node.kind === 'edge'
        ? { ...node, wan: node.wan.map(each => ({ ...each, impairment })) }
        : node,
    )
    await impairFromTopology(lab, topologySchema.parse({ ...lab.topology, nodes }))
    expect(await send(lab, { pps: 1000, count: 50 })).toMatchObject({ received: 0 })
  })
})
