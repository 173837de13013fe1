/**
 * What leaves for a peer whose class is protected (bpf/path/fec-number.h, fec-out.h). A group's last packet leaves as a copy, which no test sees, and what the
 * run leaves behind is the parity. Programs may run on any CPU, and each has its lane: rows look at the lane that is complete first. World: rig.ts.
 */
import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import { openMap } from '../../agent/kernel/bpf-map.ts'
import { plainSteering } from '../../agent/plan/values.ts'
import { ABI_FAMILY_IPV4, bundleCodec, type MpHdr, mpType, spread, trafficClass } from '../../schema/abi.gen.ts'
import { u32Codec } from '../../schema/codec.ts'
import { type Bytes, concat, ethernet, filler, ip, udp } from './build.ts'
import { fecCode, type Member, parityOf } from './fec-sender.ts'
import { behind, FAMILIES, host } from './hosts.ts'
import { dissect, ipOf, mp, NODE_KEY, outer } from './mp.ts'
import { bytes16, MTU, REDIRECT, REMOTE_SID, Rig, SID, WAN } from './rig.ts'

const ROUTER = [2, 1, 2, 3, 4, 5]
const OWN = [6, 7, 8, 9, 10, 11]
const EF = 0xb8
const LANES = 8
const NUMBER = 2 ** 29 - 1

const rig = new Rig(['lan', 'wan-egress'])
const bundles = openMap('bundles', rig.fd('bundles'), u32Codec, bundleCodec)
afterAll(() => rig[Symbol.dispose]())

/** Lanes go on where the row before ended: the blocks outlive it. */
let start = 0n

beforeEach(() => {
  rig.reset()
  start += 10_000n
  lanesAt(start)
  for (const handle of [SID, SID | 1]) learnHop(handle)
})

function lanesAt(sequence: bigint): void {
  const empty = bundleCodec.decode(new Uint8Array(bundleCodec.size))
  const lanes = empty.lanes.map(lane => ({ ...lane, txSequence: sequence }))
  bundles.set(SID / 16 / 2, { ...empty, sid: SID, lanes })
}

/** The kernel has just sent something there. */
function learnHop(handle: number): void {
  const { local, remote } = WAN[handle & 1 ? 6 : 4]
  const frame = outer(
    { src: local, dst: remote },
    mp({ session: REMOTE_SID, path: handle & 1, key: NODE_KEY }, filler(40)),
  )
  rig.run('wan-egress', concat(Uint8Array.of(...ROUTER, ...OWN), frame.subarray(12)), { mark: handle })
  const state = rig.maps.pathState.get(handle)
  if (state) rig.maps.pathState.set(handle, { ...state, hopAsked: Number((state.hop[0] ?? 0n) >> 48n) + 1 })
}

function protect(fec: number, change: { best?: number; second?: number; mask?: number } = {}): void {
  const { best = 0, second = best, mask = 1 } = change
  const steering = plainSteering(best, 3)
  steering[trafficClass.CLASS_REALTIME] = { mode: spread.SPREAD_BEST, best, second, fec, mask: 3, playoutMs: 0 }
  rig.setPeer(9, { pathBest: best, pathMask: mask | (1 << best), steering })
}

const inner = (family: 4 | 6, length: number, { tos = EF, ttl = 64 } = {}) =>
  ip({ src: host(family), dst: behind(family, 2), tos, ttl }, udp(7, 8, filler(length)))

interface Sent {
  readonly header: MpHdr
  readonly lane: number
  readonly number: number
  readonly inner: Bytes
  readonly frame: Bytes
  readonly counters: Record<string, number>
}

function send(length: number, family: 4 | 6 = 4, tos = EF): Sent {
  const out = rig.run('lan', ethernet(inner(family, length, { tos })))
  expect(out).toMatchObject({ verdict: REDIRECT, drops: {} })
  const { header } = dissect(out.packet)
  const [lane, number] = [header.sequence >>> 29, header.sequence & NUMBER]
  return {
    header,
    lane,
    number,
    inner: inner(family, length, { tos, ttl: 63 }),
    frame: out.packet,
    counters: out.counters,
  }
}

/** Sends until a lane has its first parity. What that lane sent, parity last. */
function untilParity(length: (at: number) => number, family: 4 | 6 = 4): Sent[] {
  const lanes = Array.from({ length: LANES }, (): Sent[] => [])
  for (let at = 0; at < 31 * LANES; at++) {
    const sent = send(length(at), family)
    lanes[sent.lane]?.push(sent)
    if (sent.header.versionType === (0x10 | mpType.MP_PARITY)) return lanes[sent.lane] ?? []
  }
  throw new Error('no parity in sight')
}

const memberOf = ({ number, inner: payload, header }: Sent): Member => ({
  number,
  payload,
  timestampUs: header.timestampUs,
  qos: header.qos,
})

/** The time at which the last member left is in nothing but the parity. */
function withLastTime(group: Sent[], parity: Sent): Member[] {
  const members = group.map(memberOf)
  const last = members.at(-1)
  const others = members.slice(0, -1).reduce((sum, { timestampUs }) => (sum ^ timestampUs) >>> 0, 0)
  const time = (others ^ parity.header.timestampUs) >>> 0
  const before = members.at(-2)?.timestampUs ?? time
  expect((time - before) >>> 0).toBeLessThan(5_000_000)
  return [...members.slice(0, -1), { ...(last as Member), timestampUs: time, qos: members[0]?.qos ?? 0 }]
}

describe.each(FAMILIES)('over IPv%i', outside => {
  const best = outside === 4 ? 0 : 1
  const { local, remote } = WAN[outside]

  it.each([1, 2, 3, 10, 20])('k = %i: parity right behind the last packet of a group', k => {
    protect(fecCode(k, 1), { best })
    const sent = untilParity(at => 30 + ((at * 331) % 1200))
    expect(sent).toHaveLength(k)
    const parity = sent.at(-1) as Sent
    expect(sent.map(({ number }) => number)).toEqual(sent.map((_, at) => (sent[0]?.number ?? 0) + at))
    expect(((sent[0]?.number ?? 0) - 1) % k).toBe(0)
    const { payload, ...header } = parityOf(withLastTime(sent, parity))
    const fields = {
      ...header,
      type: mpType.MP_PARITY,
      session: REMOTE_SID,
      path: best,
      sequence: parity.header.sequence,
      fec: 0x80 | k,
      qos: parity.header.qos,
      number: BigInt(rig.maps.pathState.get(SID | best)?.txNumber ?? 0n),
      key: NODE_KEY,
    }
    expect(ipOf(parity.frame)).toEqual(ipOf(outer({ src: local, dst: remote, tos: EF }, mp(fields, payload))))
    expect(parity.counters).toMatchObject({ 'parity-out': 1, 'mp-out': 2 })
  })

  it.each(FAMILIES)('of IPv%i packets', inside => {
    protect(fecCode(2, 1), { best })
    const [, parity] = untilParity(() => 700, inside)
    // Both are alike but for their checksums and times: all else is gone.
    expect(parity?.frame.length).toBe(14 + (outside === 4 ? 28 : 48) + 40 + inner(inside, 700).length)
  })
})

it('depth 2: one parity per column, and a burst of two spares either', () => {
  protect(fecCode(2, 2))
  const lanes = Array.from({ length: LANES }, (): Sent[] => [])
  for (let at = 0; at < 64; at++) {
    const sent = send(100 + at)
    lanes[sent.lane]?.push(sent)
  }
  const lane = lanes.find(({ length }) => length >= 8) ?? []
  const kinds = lane.slice(0, 8).map(({ header }) => header.versionType & 15)
  expect(kinds).toEqual([1, 1, 4, 4, 1, 1, 4, 4])
  for (const column of [0, 1]) {
    const group = [lane[column], lane[column + 2]] as Sent[]
    const { payload, policyVersion } = parityOf(withLastTime(group, group[1] as Sent))
    expect(dissect((group[1] as Sent).frame).payload).toEqual(payload)
    expect(group[1]?.header.policyVersion).toBe(policyVersion)
  }
})

it('parity takes the class’s second path, if that carries it', () => {
  const conf = { family: ABI_FAMILY_IPV4, local: bytes16('203.0.113.2'), remote: bytes16('203.0.113.1') }
  protect(fecCode(2, 1), { second: 1, mask: 3 })
  for (const [name, change, path] of [
    ['another family', () => {}, 0],
    ['usable', () => rig.setPath(SID | 1, conf), 1],
    ['too small', () => rig.setPath(SID | 1, { ...conf, mtu: 800 }), 0],
  ] as const) {
    change()
    const parity = untilParity(() => 800).at(-1)
    expect(parity?.header.path, name).toBe(path)
    if (path === 1) expect([...(parity?.frame.subarray(26, 34) ?? [])]).toEqual([203, 0, 113, 2, 203, 0, 113, 1])
  }
  rig.setPath(SID | 1, conf)
  rig.setState(SID | 1, { left: 1 })
  expect(untilParity(() => 800).at(-1)?.header.path).toBe(0)
})

it('without a next hop the packet asks the kernel for one, and its group has no parity', () => {
  protect(fecCode(1, 1))
  rig.setState(SID, {})
  const { header, counters } = send(80)
  expect(header).toMatchObject({ versionType: 0x11, fec: 1 })
  expect(counters).toMatchObject({ unprotected: 1, 'mp-out': 1 })
})

it('a new code waits for the end of the block, and begins at a border of its own', () => {
  protect(fecCode(5, 1))
  const first = send(100)
  protect(fecCode(7, 1))
  const all: Sent[] = []
  for (let at = 0; at < 64; at++) all.push(send(100))
  const lane = all.filter(({ lane }) => lane === first.lane)
  expect(lane.length, 'too few on one CPU').toBeGreaterThan(6)
  expect(lane.slice(0, 4).map(({ header }) => header.fec)).toEqual([5, 5, 5, 0x85])
  const next = lane[4] as Sent
  expect(next.header.fec).toBe(7)
  expect((next.number - 1) % 7).toBe(0)
  expect(next.number - (lane[3] as Sent).number).toBeLessThanOrEqual(7)
})

it('leaves other classes alone, and sessions of one path', () => {
  protect(fecCode(5, 1))
  expect(send(100, 4, 0).header).toMatchObject({ sequence: 0, fec: 0 })
  bundles.set(SID / 16 / 2, bundleCodec.decode(new Uint8Array(bundleCodec.size)))
  expect(send(100).header).toMatchObject({ sequence: 0, fec: 0 })
})

it('a code that nobody has room for protects nothing, but counts', () => {
  for (const code of [fecCode(5, 8), 0x20]) {
    protect(code)
    const { header } = send(100)
    expect(header.fec).toBe(0)
    expect(header.sequence & NUMBER).not.toBe(0)
  }
})

it('the largest packet that fits still has a parity', () => {
  protect(fecCode(2, 1))
  const sent = untilParity(() => MTU.clear - 28)
  expect(sent.at(-1)?.frame.length).toBe(14 + 28 + 40 + MTU.clear)
})

it('numbers begin anew at 1, with a block', () => {
  lanesAt(BigInt(NUMBER) - 2n)
  protect(fecCode(3, 1))
  const sent = Array.from({ length: 40 }, () => send(60))
  const { lane } = sent[0] as Sent
  const numbers = sent.filter(other => other.lane === lane).map(({ number }) => number)
  expect(numbers).not.toContain(0)
  const again = numbers.indexOf(1)
  expect(again).toBeGreaterThanOrEqual(0)
  expect(again).toBeLessThan(4)
  lanesAt(start)
})
