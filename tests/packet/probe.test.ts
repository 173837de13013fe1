/** Probes at wan_ingress: turned round with a report of what has come, replies measured (bpf/path/probe.h). World: rig.ts. */
import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import { monotonicNs } from '../../agent/kernel/native.ts'
import { mpReportCodec, mpType, type PathState } from '../../schema/abi.gen.ts'
import { type Bytes, concat, ip, patched, udp } from './build.ts'
import { FAMILIES, type Family } from './hosts.ts'
import { dissect, type MpFields, mp, NODE_KEY, outer, trigger as triggerData } from './mp.ts'
import { expectOutcome, NODE, PEER, REDIRECT, REMOTE_SID, Rig, SHOT, SID, WAN } from './rig.ts'

const rig = new Rig(['wan'])
beforeEach(() => rig.reset())
afterAll(() => rig[Symbol.dispose]())

const SECOND = 1_000_000
const IN = { 'mp-in': 1 }
const trigger = ip({ src: PEER, dst: NODE }, udp(2426, 2426, triggerData(0)))

function arrives(outside: Family, payload: Bytes, fields: MpFields, tos = 0): Bytes {
  const { local, remote } = WAN[outside]
  const path = outside === 4 ? 0 : 1
  return outer({ src: remote, dst: local, tos }, mp({ session: SID, path, ...fields }, payload))
}

describe.each(FAMILIES)('over IPv%i', outside => {
  const handle = outside === 4 ? SID : SID | 1
  const state = () => rig.maps.pathState.get(handle)

  describe('a probe', () => {
    const probe = (number = 9n) =>
      arrives(outside, trigger, { type: mpType.MP_PROBE, timestampUs: 0x12345678, number }, 0x28)

    it.each([
      ['of a known path', () => {}],
      ['of a path not learned yet', () => rig.maps.pathConf.delete(handle)],
    ])('%s is turned round, with a report in front', (_name, prepare) => {
      prepare()
      rig.setState(handle, { txNumber: 41n, rxHighest: 7n, rxPackets: 3n })
      const out = rig.run('wan', probe())
      expectOutcome(out, { verdict: REDIRECT, drops: {}, counters: { ...IN, 'probe-answered': 1, 'mp-out': 1 } })
      const { header, payload } = dissect(out.packet)
      const fields = {
        type: mpType.MP_PROBE_REPLY,
        session: REMOTE_SID,
        path: outside === 4 ? 0 : 1,
        number: 42n,
        timestampUs: header.timestampUs,
        sequence: 0x12345678,
        key: NODE_KEY,
      }
      const { local, remote } = WAN[outside]
      const report = mpReportCodec.encode({ highest: 9n, packets: 4n })
      expect(payload).toEqual(concat(report, trigger.subarray(16)))
      expect(out.packet).toEqual(outer({ src: local, dst: remote, tos: 0x28 }, mp(fields, payload)))
      expect(Math.abs((Number(monotonicNs() / 1000n) % 2 ** 32) - header.timestampUs)).toBeLessThan(5 * SECOND)
      expect(state()).toMatchObject({ txNumber: 42n, rxPackets: 4n })
    })

    it('behind a later packet does not set the report back', () => {
      rig.setState(handle, { rxHighest: 70n, rxPackets: 50n })
      const { payload } = dissect(rig.run('wan', probe()).packet)
      expect(mpReportCodec.decode(payload.subarray(0, 16))).toEqual({ highest: 70n, packets: 51n })
    })

    it('keeps the ports of a NAT', () => {
      const { local, remote } = WAN[outside]
      const message = mp({ type: mpType.MP_PROBE, session: SID, path: outside === 4 ? 0 : 1 }, trigger)
      const out = rig.run('wan', outer({ src: remote, dst: local, sport: 50123 }, message))
      const { udp: head } = dissect(out.packet)
      expect([...head.subarray(0, 4)]).toEqual([2426 >> 8, 2426 & 0xff, 50123 >> 8, 50123 & 0xff])
    })
  })

  describe('a reply', () => {
    const reply = (fields: MpFields, report = { highest: 0n, packets: 0n }) =>
      arrives(outside, concat(mpReportCodec.encode(report), trigger.subarray(16)), {
        type: mpType.MP_PROBE_REPLY,
        ...fields,
      })
    const sent = (agoUs: number) => Number((monotonicNs() / 1000n - BigInt(agoUs)) & 0xffffffffn)
    const TAKEN = { verdict: SHOT, drops: {}, counters: { ...IN, 'probe-reply-in': 1 } }

    it('gives the round trip and ends here', () => {
      expectOutcome(rig.run('wan', reply({ sequence: sent(30_000) })), TAKEN)
      expect(state()?.probeReplies).toBe(1)
      expect(state()?.rttUs).toBeGreaterThanOrEqual(30_000)
      expect(state()?.rttUs).toBeLessThan(5 * SECOND)
      // RFC 6298, 2.2
      const rtt = state()?.rttUs ?? 0
      expect(state()).toMatchObject({ srttUs: rtt, rttvarUs: Math.floor(rtt / 2) })
    })

    it.each([
      ['longer', 90_000],
      ['shorter', 2_000],
    ])('smooths a round trip that is %s', (_name, agoUs) => {
      rig.setState(handle, { srttUs: 40_000, rttvarUs: 8_000 })
      rig.run('wan', reply({ sequence: sent(agoUs) }))
      // RFC 6298, 2.3
      const rtt = state()?.rttUs ?? 0
      expect(state()).toMatchObject({
        srttUs: Math.floor((7 * 40_000 + rtt) / 8),
        rttvarUs: Math.floor((3 * 8_000 + Math.abs(40_000 - rtt)) / 4),
      })
    })

    it.each([
      ['of the future', -5 * SECOND],
      ['of more than a minute ago', 66 * SECOND],
      ['of half the clock’s range ago', 2 ** 31],
    ])('with a timestamp %s gives no round trip, but its report', (_name, agoUs) => {
      rig.setState(handle, { rttUs: 5, srttUs: 6, rttvarUs: 7 })
      expectOutcome(rig.run('wan', reply({ sequence: sent(agoUs) }, { highest: 9n, packets: 8n })), TAKEN)
      expect(state()).toMatchObject({ rttUs: 5, srttUs: 6, rttvarUs: 7, probeReplies: 1, toldHighest: 9n })
    })

    it('brings what the peer has received', () => {
      rig.run('wan', reply({ number: 1n }, { highest: 100n, packets: 90n }))
      expect(state()).toMatchObject({ toldHighest: 100n, toldPackets: 90n })
      rig.run('wan', reply({ number: 3n }, { highest: 120n, packets: 108n }))
      rig.run('wan', reply({ number: 2n }, { highest: 110n, packets: 99n }))
      expect(state()).toMatchObject({ toldHighest: 120n, toldPackets: 108n })
    })

    const learned = (of?: PathState) => of && [of.rttUs, of.srttUs, of.toldHighest, of.toldPackets, of.probeReplies]

    it('that is forged, changed or repeated teaches nothing', () => {
      const good = reply({ sequence: sent(30_000) }, { highest: 9n, packets: 8n })
      const report = good.length - trigger.length
      const forged = reply({ key: NODE_KEY }, { highest: 9n, packets: 8n })
      for (const bad of [forged, patched(good, report + 7, 200), patched(good, report + 15, 200)]) {
        expectOutcome(rig.run('wan', bad), { verdict: SHOT, drops: { 'mp-tag': 1 }, counters: {} })
        expect(learned(state())).toEqual([0, 0, 0n, 0n, 0])
      }
      rig.run('wan', good)
      const once = state()
      expectOutcome(rig.run('wan', good), { verdict: SHOT, drops: { 'mp-replay': 1 }, counters: {} })
      expect(state()).toEqual(once)
    })
  })
})
