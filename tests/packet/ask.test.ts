/**
 * DATA that asks whether it has come (MP_F_ASK): it goes on as data, and a copy that enters once more, marked, is turned round as a probe is
 * (bpf/path/probe.h). World: rig.ts.
 */
import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import { monotonicNs } from '../../agent/kernel/native.ts'
import { ABI_MP_F_ASK, mpType } from '../../schema/abi.gen.ts'
import { concat, esp, filler, ip, patched, tcp, udp } from './build.ts'
import { behind, FAMILIES, type Family } from './hosts.ts'
import { carried, dissect, ipOf, type MpFields, mp, NODE_KEY, outer } from './mp.ts'
import { expectOutcome, NEXT, NODE, OTHER_SID, PEER, REDIRECT, Rig, SHOT, SID, WAN } from './rig.ts'

const rig = new Rig(['wan', 'wan-xdp', 'wan-egress'])
beforeEach(() => rig.reset())
afterAll(() => rig[Symbol.dispose]())

const handleOf = (outside: Family) => (outside === 4 ? SID : SID | 1)
const DATA = ip({ src: PEER, dst: NODE }, esp(filler(900)))

function arrives(outside: Family, fields: MpFields = {}, payload = DATA) {
  const { local, remote } = WAN[outside]
  const header = {
    session: SID,
    path: handleOf(outside) & 1,
    qos: ABI_MP_F_ASK,
    number: 5n,
    timestampUs: 77,
    ...fields,
  }
  return outer({ src: remote, dst: local }, mp(header, payload))
}

const be64 = (value: bigint) => {
  const bytes = new Uint8Array(8)
  new DataView(bytes.buffer).setBigUint64(0, value)
  return bytes
}

describe.each(FAMILIES)('IPv%i outside', outside => {
  const mark = handleOf(outside)
  const { local, remote } = WAN[outside]

  it('goes on, copied for the answer, once', () => {
    expectOutcome(rig.run('wan', arrives(outside)), {
      verdict: NEXT,
      mark: 0,
      packet: concat(arrives(outside).subarray(0, 12), Uint8Array.of(8, 0), DATA),
      counters: { 'mp-in': 1, 'ask-in': 1 },
    })
    expectOutcome(rig.run('wan', arrives(outside)), { verdict: SHOT, drops: { 'mp-replay': 1 }, counters: {} })
  })

  it('is answered by the copy, in the fewest bytes, wherever the path was thought to be', () => {
    rig.setState(mark, { rxHighest: 5n, rxPackets: 3n, txNumber: 8n, lastRxNs: 1n })
    rig.setPath(mark, { family: 0 })
    const out = rig.run('wan', arrives(outside), { mark })
    expectOutcome(out, { verdict: REDIRECT, mark: 0, counters: { 'probe-answered': 1, 'mp-out': 1 } })
    const { timestampUs } = dissect(out.packet).header
    const header = {
      type: mpType.MP_PROBE_REPLY,
      session: 0x900,
      path: mark & 1,
      number: 9n,
      sequence: 77,
      timestampUs,
    }
    const reply = mp({ ...header, key: NODE_KEY }, concat(be64(5n), be64(3n)))
    expect(ipOf(out.packet)).toEqual(ipOf(outer({ src: local, dst: remote }, reply)))
    // It was counted when it came.
    expect(rig.maps.pathState.get(mark)).toMatchObject({ rxPackets: 3n, lastRxNs: 1n })
  })

  it.each<[string, MpFields, number, string]>([
    ['a forged one', { key: NODE_KEY }, 0, 'mp-tag'],
    ['a forged copy', { key: NODE_KEY }, mark, 'mp-tag'],
    ['one with another path’s mark, seen before', {}, OTHER_SID, 'mp-replay'],
    ['a marked one that asks nothing, seen before', { qos: 0 }, mark, 'mp-replay'],
  ])('has no answer: %s', (_name, fields, context, reason) => {
    rig.run('wan', arrives(outside, { qos: 0 }))
    const out = rig.run('wan', arrives(outside, fields), { mark: context })
    expectOutcome(out, { verdict: SHOT, drops: { [reason]: 1 }, counters: {} })
  })

  it('is for tc, not for XDP', () => {
    rig.maps.frameDevices.set(1, 1)
    const frame = arrives(outside, {}, ip({ src: behind(4, 2), dst: behind(4, 4) }, udp(7, 8)))
    expectOutcome(rig.runXdp(frame), { verdict: 2, packet: frame, counters: {} })
  })

  it('of a host goes to a host', () => {
    const payload = ip({ src: behind(4, 2), dst: behind(4, 1) }, tcp())
    expectOutcome(rig.run('wan', arrives(outside, {}, payload)), {
      verdict: REDIRECT,
      counters: { 'mp-in': 1, 'ask-in': 1, 'from-peer-clear': 1, 'flow-new': 1, 'lan-out': 1 },
    })
  })

  it('of another type is not asked: a probe is answered anyway', () => {
    const out = rig.run('wan', arrives(outside, { type: mpType.MP_PROBE }))
    expectOutcome(out, { verdict: REDIRECT, counters: { 'mp-in': 1, 'probe-answered': 1, 'mp-out': 1 } })
  })

  it('teaches the asker its patience: round trip, four deviations, 10 ms', () => {
    const asked = Number((monotonicNs() / 1000n) & 0xffffffffn) - 40_000
    const reply = { type: mpType.MP_PROBE_REPLY, qos: 0, sequence: asked >>> 0 }
    rig.run('wan', arrives(outside, reply, concat(be64(1n), be64(1n))))
    const { srttUs = 0, rttvarUs = 0, patience } = rig.maps.pathState.get(mark) ?? {}
    expect(srttUs).toBeGreaterThanOrEqual(40_000)
    expect(patience).toBe(Math.floor((srttUs + 4 * rttvarUs) / 1000) + 10)
  })

  it('of the longest round trip teaches a patience that fits', () => {
    rig.setState(mark, { srttUs: 60_000_000, rttvarUs: 30_000_000 })
    const reply = {
      type: mpType.MP_PROBE_REPLY,
      qos: 0,
      sequence: Number((monotonicNs() / 1000n - 59_000_000n) & 0xffffffffn),
    }
    rig.run('wan', arrives(outside, reply, concat(be64(1n), be64(1n))))
    expect(rig.maps.pathState.get(mark)?.patience).toBe(0xffff)
  })
})

describe.each(FAMILIES)('a piece of a burst, IPv%i outside', outside => {
  it('asks when its path is due, and the next one does not', () => {
    const mark = handleOf(outside)
    rig.setState(mark, { asks: 0x82 })
    const { local, remote } = WAN[outside]
    const header = { session: 0x900, path: mark & 1, key: NODE_KEY }
    const piece = () => {
      const frame = outer({ src: local, dst: remote }, mp({ ...header, type: 0 }, DATA))
      const at = 14 + (outside === 4 ? 20 : 40) + 8
      return patched(frame, at + 32, 0, 0, 0, 0, 0, 0, 0, 0)
    }
    for (const [number, qos] of [
      [1n, ABI_MP_F_ASK],
      [2n, 0],
    ] as const) {
      const out = rig.run('wan-egress', piece(), { mark })
      expectOutcome(out, { verdict: NEXT, mark: 0, counters: { 'mp-out': 1, ...(qos && { 'ask-out': 1 }) } })
      expect(ipOf(out.packet)).toEqual(carried(out.packet, mark, DATA, { number, qos, policyVersion: 0 }))
    }
    expect(rig.maps.pathState.get(mark)?.asks).toBe(3)
  })
})
