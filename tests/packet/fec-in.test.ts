/** What wan_ingress makes of protected packets and of parity (bpf/path/fec-decode.h). The sender is fec-sender.ts. World: rig.ts. */
import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import { zeroBundle } from '../../agent/plan/values.ts'
import { ABI_MP_F_SPREAD, trafficClass } from '../../schema/abi.gen.ts'
import { random } from '../../scripts/bench/random.ts'
import { type Bytes, esp, ethernet, filler, ip, udp } from './build.ts'
import { FecSender, fecCode, type Member } from './fec-sender.ts'
import { behind, FAMILIES } from './hosts.ts'
import { NODE_KEY } from './mp.ts'
import { expectOutcome, NEXT, NODE, PEER, REDIRECT, Rig, SHOT, SID } from './rig.ts'

const rig = new Rig(['wan'])
beforeEach(() => rig.reset())
afterAll(() => rig[Symbol.dispose]())

const PARITY = { 'mp-in': 1, 'parity-in': 1 }
const REALTIME = trafficClass.CLASS_REALTIME << 6

/** The maps of groups outlive a row: each row begins at a block of its own, above those before. A multiple of every block's size would be too large. */
let used = 0
function blockAt(code: number): number {
  const size = (code & 31) << ((code >> 5) & 3)
  const first = Math.ceil((used + 1) / size) * size + 1
  used = first + 8 * size
  return first
}

/** @param length of the ESP payload */
const espPacket = (length: number, id: number) => ip({ src: PEER, dst: NODE, id, tos: id & 0xff }, esp(filler(length)))

function members(code: number, count: number, payload: (at: number) => Bytes): Member[] {
  const first = blockAt(code)
  return Array.from({ length: count }, (_, at) => ({
    number: first + at,
    payload: payload(at),
    timestampUs: (0xfff0_0000 + at * 20_001) >>> 0,
    qos: (at % 4) << 6,
  }))
}

const column = (all: readonly Member[], depth: number, at: number) => all.filter((_, index) => index % depth === at)

describe.each(FAMILIES)('over IPv%i', outside => {
  const handle = outside === 4 ? SID : SID | 1

  it.each([1, 2, 3, 4, 5, 8, 10, 16, 20, 31])('k = %i: any one packet comes back from parity', k => {
    const code = fecCode(k, 1)
    for (let lost = 0; lost < k; lost++) {
      rig.reset()
      const sender = new FecSender(outside)
      const group = members(code, k, at => espPacket((at * 97 + lost * 31) % 1300, at))
      const frames = group.map(member => sender.data(code, member))
      for (const [at, frame] of frames.entries())
        if (at !== lost) expectOutcome(rig.run('wan', frame), { verdict: NEXT, counters: { 'mp-in': 1 } })
      const out = rig.run('wan', sender.parity(code, group))
      expect(out, `lost ${lost}`).toEqual({
        verdict: NEXT,
        packet: ethernet(group[lost]?.payload ?? filler(0)),
        mark: 0,
        drops: {},
        counters: { ...PARITY, rebuilt: 1 },
      })
      // What came late is a copy, not another packet.
      const late = rig.run('wan', frames[lost] ?? filler(0))
      expectOutcome(late, { verdict: SHOT, counters: { 'mp-in': 1, 'rebuilt-late': 1 } })
      expect(rig.maps.pathState.get(handle)?.rxLate).toBe(1n)
    }
  })

  it('nothing is rebuilt when nothing is missing', () => {
    const code = fecCode(10, 1)
    const sender = new FecSender(outside)
    const group = members(code, 10, at => espPacket(at, at))
    for (const member of group) expect(rig.run('wan', sender.data(code, member)).verdict).toBe(NEXT)
    expectOutcome(rig.run('wan', sender.parity(code, group)), { verdict: SHOT, counters: PARITY })
  })

  it('nor when two are, whichever', () => {
    const code = fecCode(4, 1)
    for (const lost of [
      [0, 1],
      [0, 3],
      [2, 3],
    ]) {
      rig.reset()
      const sender = new FecSender(outside)
      const group = members(code, 4, at => espPacket(500, at))
      for (const [at, member] of group.entries()) {
        const frame = sender.data(code, member)
        if (!lost.includes(at)) rig.run('wan', frame)
      }
      expectOutcome(rig.run('wan', sender.parity(code, group)), { verdict: SHOT, counters: PARITY })
    }
  })

  it('depth 4: a burst of three, wherever it begins', () => {
    const code = fecCode(5, 4)
    for (let begin = 0; begin < 18; begin++) {
      rig.reset()
      const sender = new FecSender(outside)
      const block = members(code, 20, at => espPacket(40 + at, at))
      for (const [at, member] of block.entries()) {
        const frame = sender.data(code, member)
        if (at < begin || at >= begin + 3) rig.run('wan', frame)
      }
      const back = [0, 1, 2, 3].map(at => rig.run('wan', sender.parity(code, column(block, 4, at))))
      for (const { packet, counters } of back.filter(({ verdict }) => verdict === NEXT)) {
        expect(counters).toEqual({ ...PARITY, rebuilt: 1 })
        expect(block.slice(begin, begin + 3).map(({ payload }) => ethernet(payload))).toContainEqual(packet)
      }
      expect(back.filter(({ verdict }) => verdict === NEXT)).toHaveLength(3)
    }
  })

  it.each(FAMILIES)('an IPv%i packet of a host comes back, and goes on to its port', inside => {
    const code = fecCode(3, 1)
    const sender = new FecSender(outside)
    const packet = (at: number, ttl = 64) =>
      ip({ src: behind(inside, 2), dst: behind(inside, 1), ttl }, udp(7, 8 + at, filler(300 * at)))
    const group = members(code, 3, packet)
    const [first, , last] = group.map(member => sender.data(code, member))
    for (const frame of [first, last]) expect(rig.run('wan', frame ?? filler(0)).verdict).toBe(REDIRECT)
    const out = rig.run('wan', sender.parity(code, group))
    expectOutcome(out, {
      verdict: REDIRECT,
      packet: ethernet(packet(1, 63)),
      counters: { ...PARITY, rebuilt: 1, 'from-peer-clear': 1, 'flow-new': 1, 'lan-out': 1 },
    })
  })

  it('what comes back has its own time and class', () => {
    const code = fecCode(2, 1)
    const sender = new FecSender(outside)
    const group = members(code, 2, at => espPacket(80, at)).map(member => ({
      ...member,
      qos: REALTIME | ABI_MP_F_SPREAD,
    }))
    rig.run('wan', sender.data(code, group[1] as Member))
    rig.run('wan', sender.parity(code, group))
    const stamp =
      ((1 << 31) | (trafficClass.CLASS_REALTIME << 29) | ((group[0]?.timestampUs ?? 0) & ((1 << 29) - 1))) >>> 0
    expect(rig.left?.priority).toBe(stamp)
  })

  describe('parity that is ahead of a member', () => {
    const code = fecCode(3, 1)
    const copyMark = ~handle >>> 0

    it('lets a copy of that member become the one that is missing, once', () => {
      const sender = new FecSender(outside)
      const group = members(code, 3, at => espPacket(100 * at, at))
      const [a, , c] = group.map(member => sender.data(code, member))
      rig.run('wan', a ?? filler(0))
      expectOutcome(rig.run('wan', sender.parity(code, group)), { verdict: SHOT, counters: PARITY })
      expectOutcome(rig.run('wan', c ?? filler(0)), { verdict: NEXT, mark: 0, counters: { 'mp-in': 1 } })
      const out = rig.run('wan', c ?? filler(0), { mark: copyMark })
      const packet = ethernet(group[1]?.payload ?? filler(0))
      expectOutcome(out, { verdict: NEXT, mark: 0, packet, counters: { rebuilt: 1 } })
      const again = rig.run('wan', c ?? filler(0), { mark: copyMark })
      expectOutcome(again, { verdict: SHOT, drops: { 'mp-replay': 1 }, counters: {} })
    })

    it('lets no other become anything', () => {
      const sender = new FecSender(outside)
      const group = members(code, 3, at => espPacket(100 * at, at))
      const frame = sender.data(code, group[0] as Member)
      rig.run('wan', frame)
      for (const mark of [copyMark, handle, 7])
        expectOutcome(rig.run('wan', frame, { mark }), { verdict: SHOT, drops: { 'mp-replay': 1 }, counters: {} })
    })
  })
})

describe('bad parity', () => {
  const code = fecCode(4, 2)
  const group = () => members(code, 8, at => espPacket(60, at)).filter((_, at) => at % 2 === 0)

  it.each([
    ['in the middle of a group', (first: number) => ({ sequence: first + 2 })],
    ['without a sequence', () => ({ sequence: 0 })],
    ['without its flag', () => ({ fec: code })],
    ['of no packets', () => ({ fec: 0x80 })],
  ])('%s is dropped', (_name, wrong) => {
    const sender = new FecSender(4)
    const all = group()
    for (const member of all.slice(1)) rig.run('wan', sender.data(code, member))
    const frame = sender.parity(code, all, wrong(sender.sequence(all[0]?.number ?? 0)))
    expectOutcome(rig.run('wan', frame), { verdict: SHOT, drops: { 'fec-parity': 1 }, counters: PARITY })
    // And it took no part.
    expect(rig.run('wan', sender.parity(code, all)).counters.rebuilt).toBe(1)
  })

  it.each([
    ['longer than any', (length: number) => length + 1],
    ['of 64 KiB', () => 0xffff],
    ['shorter than an IP header', () => 19],
    ['0', () => 0],
  ])('whose length adds up to one %s is dropped', (_name, claim) => {
    const sender = new FecSender(4)
    const all = group()
    for (const member of all.slice(1)) rig.run('wan', sender.data(code, member))
    const length = all[0]?.payload.length ?? 0
    const right = all.reduce((sum, { payload, qos }) => sum ^ ((payload.length << 8) | qos), 0)
    const frame = sender.parity(code, all, { policyVersion: right ^ (length << 8) ^ (claim(length) << 8) })
    expectOutcome(rig.run('wan', frame), { verdict: SHOT, drops: { 'fec-length': 1 }, counters: PARITY })
  })

  it('that is forged is nothing', () => {
    const sender = new FecSender(4)
    const all = group()
    for (const member of all.slice(1)) rig.run('wan', sender.data(code, member))
    const forged = sender.parity(code, all, { key: NODE_KEY })
    expectOutcome(rig.run('wan', forged), { verdict: SHOT, drops: { 'mp-tag': 1 }, counters: {} })
    expect(rig.run('wan', sender.parity(code, all)).counters.rebuilt).toBe(1)
  })

  it('that comes twice counts once', () => {
    const sender = new FecSender(4)
    const all = group()
    for (const member of all.slice(2)) rig.run('wan', sender.data(code, member))
    for (let times = 0; times < 2; times++)
      expectOutcome(rig.run('wan', sender.parity(code, all)), { verdict: SHOT, counters: PARITY })
    rig.run('wan', sender.data(code, all[0] as Member))
  })

  it('leaves the path’s delay and the policy alone', () => {
    const all = group()
    rig.run('wan', new FecSender(4).parity(code, all, { policyVersion: 0xffff_ffff, number: 16n }))
    expect(rig.maps.pathState.get(SID)).toMatchObject({ transitEpoch: 0, rxPackets: 1n })
  })
})

it('keeps lanes and sessions apart', () => {
  const code = fecCode(2, 1)
  const group = members(code, 2, at => espPacket(60, at))
  const [here, there] = [new FecSender(4, 1), new FecSender(6, 2)]
  rig.run('wan', here.data(code, group[0] as Member))
  expectOutcome(rig.run('wan', there.parity(code, group)), { verdict: SHOT, counters: PARITY })
  expect(rig.run('wan', there.data(code, group[1] as Member)).verdict).toBe(NEXT)
})

it('lets what is late pass by a group that took its place', () => {
  const code = fecCode(2, 1)
  const sender = new FecSender(4)
  const old = members(code, 2, at => espPacket(60, at))
  const size = 2 * 1024
  const later = old.map(member => ({ ...member, number: member.number + size }))
  used += 2 * size
  rig.run('wan', sender.data(code, later[0] as Member))
  expect(rig.run('wan', sender.data(code, old[0] as Member)).verdict).toBe(NEXT)
  expect(rig.run('wan', sender.parity(code, later)).counters.rebuilt).toBe(1)
})

it('begins a group in the place of another with nothing of it, whatever their lengths', () => {
  const code = fecCode(3, 1)
  const sender = new FecSender(4)
  const old = members(code, 3, () => espPacket(1300, 0))
  const size = 3 * 1024
  used += 2 * size
  for (const [turn, lengths] of [
    [1, [40, 1250, 700]],
    [2, [1, 64, 1300]],
    [3, [1300, 10, 10]],
  ] as const) {
    const later = old.map(({ number, ...member }, at) => ({
      ...member,
      number: number + turn * size,
      payload: espPacket(lengths[at] ?? 0, 20 * turn + at),
    }))
    for (const at of turn === 2 ? [1, 2] : [0, 1]) rig.run('wan', sender.data(code, later[at] as Member))
    const lost = later[turn === 2 ? 0 : 2]
    const out = rig.run('wan', sender.parity(code, later))
    expectOutcome(out, {
      verdict: NEXT,
      packet: ethernet(lost?.payload ?? filler(0)),
      counters: { ...PARITY, rebuilt: 1 },
    })
  }
})

describe('where lanes are numbered', () => {
  const code = fecCode(2, 1)

  beforeEach(() => {
    rig.maps.bundles.delete(SID)
    rig.maps.bundles.set(SID, zeroBundle())
  })
  afterAll(() => rig.maps.bundles.delete(SID))

  it('what parity brings back so late that the lane has forgotten its number is taken all the same, and once', () => {
    const sender = new FecSender(4)
    const group = members(code, 2, at => espPacket(60, at))
    const [first, lost] = group.map(member => sender.data(code, member))
    const ahead = { ...(group[0] as Member), number: (group[0]?.number ?? 0) + 700 }
    used += 700
    for (const frame of [first, sender.data(code, ahead)]) expect(rig.run('wan', frame ?? filler(0)).verdict).toBe(NEXT)
    const out = rig.run('wan', sender.parity(code, group))
    expectOutcome(out, {
      verdict: NEXT,
      packet: ethernet(group[1]?.payload ?? filler(0)),
      counters: { ...PARITY, rebuilt: 1 },
    })
    const late = rig.run('wan', lost ?? filler(0))
    expectOutcome(late, { verdict: SHOT, counters: { 'mp-in': 1, 'rebuilt-late': 1 } })
  })

  it('what comes so late itself is not: nobody knows', () => {
    const sender = new FecSender(4)
    const old = members(code, 2, at => espPacket(60, at))[0] as Member
    used += 10_000
    rig.run('wan', sender.data(code, { ...old, number: old.number + 10_000 }))
    const out = rig.run('wan', sender.data(code, old))
    expectOutcome(out, { verdict: SHOT, drops: { 'mp-too-old': 1 }, counters: { 'mp-in': 1 } })
  })
})

it('brings every packet once, whatever is lost, late or doubled, as long as no group loses two', () => {
  const seed = (Math.random() * 2 ** 32) >>> 0
  const { below } = random(seed)
  for (let round = 0; round < 20; round++) {
    rig.reset()
    const where = `seed ${seed}, round ${round}`
    const depth = ([1, 2, 4, 8] as const)[below(4)] ?? 1
    const k = 1 + below(20)
    const code = fecCode(k, depth)
    const sender = new FecSender(4, below(8))
    const block = members(code, k * depth, at => espPacket(below(1400), at))
    const arrivals: Bytes[] = []
    for (let at = 0; at < depth; at++) {
      const group = column(block, depth, at)
      const lost = below(k + 1)
      const frames = [...group.map(member => sender.data(code, member)), sender.parity(code, group)]
      arrivals.push(...frames.filter((_, index) => index !== lost))
    }
    for (let at = arrivals.length - 1; at > 0; at--) {
      const other = below(at + 1)
      ;[arrivals[at], arrivals[other]] = [arrivals[other] as Bytes, arrivals[at] as Bytes]
    }
    const came: Bytes[] = []
    for (const frame of arrivals) {
      const outs = [rig.run('wan', frame), rig.run('wan', frame, { mark: ~SID >>> 0 }), rig.run('wan', frame)]
      came.push(...outs.filter(({ verdict }) => verdict === NEXT).map(({ packet }) => packet))
    }
    const sorted = (packets: Bytes[]) => packets.map(packet => Buffer.from(packet).toString('hex')).toSorted()
    expect(sorted(came), where).toEqual(sorted(block.map(({ payload }) => ethernet(payload))))
  }
})
