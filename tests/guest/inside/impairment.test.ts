/**
 * The two ways to make a link worse against each other, where the kernel has both: a profile means the same to the relay and to netem.
 * The machine is emulated, so times are bounded from below only, but for the quickest packet: noise delays, and never the quickest of thousands.
 *
 *   branch-a --- [relay or netem] --- inet --- gw1
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { FlowResult } from '../../../scripts/lab/flow.ts'
import { DIRECTIONS, type ProfileInput } from '../../../scripts/lab/impairment/profile.ts'
import { type Impairment, openImpairment } from '../../../scripts/lab/impairment.ts'
import type { Lab } from '../../../scripts/lab/lab.ts'
import { burstSpread, LINK, seed, send, spread, upLab, warm } from '../../net/impairment/measure.ts'

const TRAFFIC = { pps: 500, count: 1000 }
/** What an emulated machine adds to the quickest packet, both ways of impairment alike. */
const OVERHEAD_US = 3000
let lab: Lab
let link: Impairment

beforeAll(async () => {
  lab = await upLab()
}, 120_000)
afterAll(() => lab?.down())

describe.each(['relay', 'netem'] as const)('%s', kind => {
  beforeAll(async () => {
    link = await openImpairment(lab, LINK, { with: kind, seed })
    await warm(lab)
  }, 120_000)

  async function through(profile: ProfileInput, traffic: Partial<typeof TRAFFIC> & { size?: number } = {}) {
    await link.set('out', profile)
    const result = await send(lab, { ...TRAFFIC, ...traffic })
    for (const direction of DIRECTIONS) await link.set(direction, {})
    return result
  }

  const shareOf = ({ sent }: FlowResult, count: number) => count / sent

  it('is the one in the link', () => expect(link.kind).toBe(kind))

  it('delays', async () => {
    const result = await through({ delayMs: 20 })
    expect(result).toMatchObject({ lost: 0, duplicated: 0 })
    // The relay is one thread; for netem two CPUs may meet at the queue.
    expect(result.reordered).toBeLessThanOrEqual(kind === 'relay' ? 0 : result.sent / 100)
    expect(result.delayUs.min).toBeGreaterThanOrEqual(20_000)
    expect(result.delayUs.min).toBeLessThan(20_000 + OVERHEAD_US)
  })

  it('spreads delays evenly', async () => {
    const result = await through({ delayMs: 40, jitterMs: 20 })
    expect(result.lost).toBe(0)
    expect(result.reordered).toBeGreaterThan(0)
    // netem rounds to its own grain, below the range by as much.
    expect(result.delayUs.min).toBeGreaterThanOrEqual(19_900)
    // The lowest of 1,000 lies above 2.5 % of the range once in 10^11 times.
    expect(result.delayUs.min).toBeLessThan(21_000 + OVERHEAD_US)
    expect(result.delayUs.p99).toBeGreaterThan(58_000)
    // Half of the range is 20 ms wide; four deviations of the median of 1,000 are 2.6 ms.
    expect(result.delayUs.median).toBeGreaterThan(37_400)
  })

  it('loses each packet by itself', async () => {
    const result = await through({ loss: 0.2 })
    expect(Math.abs(shareOf(result, result.lost) - 0.2)).toBeLessThan(spread(0.2, result.sent))
    expect(Math.abs(shareOf(result, result.lostRuns) - 0.16)).toBeLessThan(spread(0.16, result.sent))
  })

  it('loses in bursts', async () => {
    const result = await through({ loss: 0.2, burst: 4 }, { pps: 1000, count: 4000 })
    expect(Math.abs(shareOf(result, result.lost) - 0.2)).toBeLessThan(burstSpread(0.2, 4, result.sent))
    // A geometric length of mean 4 has the deviation sqrt(12).
    const [mean, runs] = [result.lost / result.lostRuns, result.lostRuns]
    expect(Math.abs(mean - 4)).toBeLessThan((4 * Math.sqrt(12)) / Math.sqrt(runs))
  })

  it('doubles', async () => {
    const result = await through({ duplicate: 0.2 })
    expect(result.lost).toBe(0)
    expect(Math.abs(shareOf(result, result.duplicated) - 0.2)).toBeLessThan(spread(0.2, result.sent))
  })

  it('damages', async () => {
    const result = await through({ corrupt: 0.3 })
    // The checksum of UDP finds all of it but what hits the lower layers, where other checks do, or nothing does.
    const share = shareOf(result, result.lost)
    expect(share).toBeLessThan(0.3 + spread(0.3, result.sent))
    expect(share).toBeGreaterThan(0.85 * 0.3 - spread(0.3, result.sent))
  })

  it('lets packets overtake', async () => {
    const result = await through({ delayMs: 20, reorder: 0.2 })
    expect(result).toMatchObject({ lost: 0, duplicated: 0 })
    expect(result.delayUs.min).toBeLessThan(OVERHEAD_US)
    expect(result.delayUs.median).toBeGreaterThanOrEqual(20_000)
    expect(result.reordered).toBeGreaterThan(0)
  })

  it('keeps a rate, delays by its queue and drops at its tail', async () => {
    const [size, rate, queueMs] = [1000, 1_000_000, 100]
    const { received, delayUs, spanMs } = await through({ rate, queueMs }, { pps: 250, count: 750, size })
    const frame = size + 8 + 20 + 14
    // By the receiver's clock: the sender falls behind where the machine is slow, the queue stays full.
    const share = ((received - 1) * frame * 8) / (spanMs / 1000) / rate
    expect(share).toBeLessThan(1.03)
    // The bucket holds 13 ms; what an emulated machine sleeps beyond that is lost.
    expect(share).toBeGreaterThan(0.75)
    expect(delayUs.median).toBeGreaterThan(70_000)
  })

  it('is a black hole', async () => {
    expect(await through({ blackhole: true }, { count: 100 })).toMatchObject({ sent: 100, received: 0 })
    expect(await through({}, { count: 100 })).toMatchObject({ lost: 0 })
  })
})
