/**
 * Which of several paths a packet takes, by class and mode (bpf/path/peer.h, spread.h). World: rig.ts, with four paths to peer 9; even ones have IPv4
 * outside, odd ones IPv6.
 */
import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import { monotonicNs } from '../../agent/kernel/native.ts'
import { ABI_MP_F_SPREAD, spread } from '../../schema/abi.gen.ts'
import { esp, ethernet, filler, ip, udp } from './build.ts'
import { behind, FAMILIES, type Family, host } from './hosts.ts'
import { dissect } from './mp.ts'
import { NODE, PEER, REDIRECT, Rig, SID } from './rig.ts'

const rig = new Rig(['lan', 'mp-egress', 'mp-ingress'])
const ALL = 0xf

beforeEach(() => {
  rig.reset()
  rig.setSession(SID, { pathMask: ALL })
  for (const path of [0, 1, 2, 3]) {
    rig.setPath(SID | path, {})
    rig.setState(SID | path, {})
  }
})
afterAll(() => rig[Symbol.dispose]())

interface Word {
  mode?: number
  best?: number
  mask?: number
}

/** Words of the classes default, real-time, transactional, bulk. */
function steer(words: Word[]): void {
  const steering = [0, 1, 2, 3].map(index => {
    const { mode = spread.SPREAD_BEST, best = 0, mask = ALL } = words[index] ?? {}
    return { mode, best, second: best, fec: 0, mask, playoutMs: 0 }
  })
  rig.setPeer(9, { pathMask: ALL, steering })
}

const DSCP = { default: 0, realtime: 46, transactional: 18, bulk: 8 }

interface Sent {
  family?: Family
  tos?: number
  port?: number
  bytes?: number
}

function send({ family = 4, tos = 0, port = 7, bytes = 100 }: Sent = {}) {
  const packet = ip({ src: host(family), dst: behind(family, 2), tos }, udp(port, 8, filler(bytes)))
  const out = rig.run('lan', ethernet(packet))
  expect(out.verdict).toBe(REDIRECT)
  return dissect(out.packet).header
}

describe.each(FAMILIES)('each class by its own word, IPv%i', family => {
  it.each(Object.entries(DSCP).map(([name, dscp], index) => [name, dscp, index] as const))(
    '%s',
    (_name, dscp, index) => {
      steer([0, 1, 2, 3].map(best => ({ best })))
      for (const ecn of [0, 1, 2])
        expect(send({ family, tos: (dscp << 2) | ecn })).toMatchObject({ path: index, qos: index << 6, sequence: 0 })
    },
  )
})

describe('by flows', () => {
  const flows = Array.from({ length: 600 }, (_, index) => 1024 + index * 7)
  const paths = () => flows.map(port => send({ port }).path)
  const share = (taken: number[], path: number) => taken.filter(at => at === path).length / taken.length

  it('a flow stays, and paths of one rate have as many flows', () => {
    steer([{ mode: spread.SPREAD_FLOWS, mask: 0b0111 }])
    const taken = paths()
    expect(paths()).toEqual(taken)
    // Three standard deviations of a third of 600 are 0.058.
    for (const path of [0, 1, 2]) expect(Math.abs(share(taken, path) - 1 / 3)).toBeLessThan(0.06)
  })

  it('have shares by rate', () => {
    steer([{ mode: spread.SPREAD_FLOWS, mask: 0b0011 }])
    rig.setPath(SID, { rate: 9000 })
    rig.setPath(SID | 1, { rate: 3000 })
    expect(Math.abs(share(paths(), 0) - 0.75)).toBeLessThan(0.06)
  })

  it('a path that is left moves its own flows and no others, and they come back', () => {
    steer([{ mode: spread.SPREAD_FLOWS, mask: 0b0111 }])
    const before = paths()
    rig.setState(SID | 1, { left: 1 })
    const after = paths()
    expect(after).not.toContain(1)
    for (const [index, path] of before.entries()) if (path !== 1) expect(after[index]).toBe(path)
    rig.maps.clearLeft(SID | 1)
    expect(paths()).toEqual(before)
  })

  it('have another path when all of the mask are left', () => {
    steer([{ mode: spread.SPREAD_FLOWS, mask: 0b0011 }])
    for (const path of [0, 1]) rig.setState(SID | path, { left: 1 })
    expect(send().path).toBe(2)
  })
})

describe('by packets', () => {
  /** Rates in bytes per ms: slow, so that what a link still has to send weighs more than the time that the test takes. */
  function rates(...list: number[]): void {
    for (const [path, rate] of list.entries()) rig.setPath(SID | path, { rate })
  }
  const counts = (packets: number) => {
    const taken = Array.from({ length: packets }, () => send({ bytes: 900 }).path)
    return [0, 1].map(path => taken.filter(at => at === path).length)
  }
  beforeEach(() => steer([{ mode: spread.SPREAD_PACKETS, mask: 0b0011 }]))

  it('links of one rate take turns', () => {
    rates(50, 50)
    const [a = 0, b = 0] = counts(16)
    expect(Math.abs(a - b)).toBeLessThanOrEqual(2)
  })

  it('links get what they carry', () => {
    rates(150, 50)
    const [a = 0, b = 0] = counts(24)
    expect(Math.abs(a - 18)).toBeLessThanOrEqual(2)
    expect(a + b).toBe(24)
  })

  it('the quicker way is taken while it is free', () => {
    rates(50, 50)
    rig.setPath(SID, { rate: 50, delayUs: 10_000_000 })
    expect(counts(4)).toEqual([0, 4])
  })

  it('no link is thought busier than 200 ms', () => {
    rates(1, 0)
    counts(5)
    const until = rig.maps.pathState.get(SID)?.busyUntilNs ?? 0n
    expect(until).toBe(0n)
  })

  it('say so, for whoever puts them in order', () => {
    rates(50, 50)
    expect(send().qos).toBe(ABI_MP_F_SPREAD)
    steer([{ mode: spread.SPREAD_BEST }])
    expect(send().qos).toBe(0)
  })

  it('headers are part of what a link carries', () => {
    rates(1, 1)
    // 28 bytes of UDP and IP, 20 + 8 + 40 of the tunnel, 14 of Ethernet: 160.
    const before = monotonicNs()
    send({ bytes: 50 })
    const after = monotonicNs()
    const { busyUntilNs = 0n } = rig.maps.pathState.get(SID) ?? {}
    expect(busyUntilNs).toBeGreaterThanOrEqual(before + 160_000_000n)
    expect(busyUntilNs).toBeLessThanOrEqual(after + 160_000_000n)
  })

  it('without a known rate all go by the best', () => {
    expect(counts(4)).toEqual([4, 0])
  })

  it('a path that was left gets none', () => {
    rates(50, 50)
    rig.setState(SID, { left: 1 })
    expect(counts(4)).toEqual([0, 4])
  })

  describe('secure ones', () => {
    const secure = (family: Family) => ip({ src: host(family), dst: behind(family, 3) }, udp(7, 8, filler(900)))
    const ESP = ethernet(ip({ src: NODE, dst: PEER }, esp(filler(900))))
    const path = (mark: number) => dissect(rig.run('mp-egress', ESP, { mark }).packet).header

    it.each(FAMILIES)('are steered before they are encrypted, so each path has its SA, IPv%i', family => {
      rates(50, 50)
      const marks = Array.from({ length: 8 }, () => rig.run('lan', ethernet(secure(family))).mark)
      expect(marks.filter(mark => mark === SID)).toHaveLength(4)
      expect(marks.filter(mark => mark === (SID | 1))).toHaveLength(4)
    })

    it('a GSO packet counts with all its pieces', () => {
      rates(50, 50)
      const large = { gsoSize: 100, gsoSegs: 9 }
      expect(rig.run('lan', ethernet(secure(4)), large).mark).toBe(SID)
      // Eight headers of ESP and MP more than the first one's: another two fit meanwhile.
      expect(rig.run('lan', ethernet(secure(4))).mark).toBe(SID | 1)
      expect(rig.run('lan', ethernet(secure(4))).mark).toBe(SID | 1)
    })

    it('stay on the path of their SA', () => {
      rates(50, 50)
      for (const mark of [SID, SID | 1, SID, SID | 1, SID | 1])
        expect(path(mark)).toMatchObject({ path: mark & 15, qos: ABI_MP_F_SPREAD })
    })

    it('leave it when it was left', () => {
      rates(50, 50)
      rig.setState(SID, { left: 1 })
      expect(path(SID).path).toBe(1)
    })
  })

  it('pieces of a GSO packet are spread behind mp1', () => {
    rates(50, 50)
    const piece = ip({ src: host(4), dst: behind(4, 2) }, udp(7, 8, filler(900)))
    const taken = Array.from(
      { length: 8 },
      () => dissect(rig.run('mp-ingress', ethernet(piece), { mark: SID }).packet).header.path,
    )
    expect(new Set(taken)).toEqual(new Set([0, 1]))
  })

  it('a whole one goes to mp0', () => {
    rates(50, 50)
    const packet = ip({ src: host(4), dst: behind(4, 2) }, udp(7, 8, filler(1200)))
    const out = rig.run('lan', ethernet(packet), { gsoSize: 600, gsoSegs: 2 })
    expect(out).toMatchObject({ verdict: REDIRECT, mark: SID, drops: {} })
    expect(out.counters).not.toHaveProperty('mp-out')
  })
})
