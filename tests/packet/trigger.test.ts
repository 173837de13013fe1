/** Probes that ask what size gets through: padded on their way out, the largest reply of a round remembered on its way in. World: rig.ts. */
import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import { mpType } from '../../schema/abi.gen.ts'
import { type Bytes, concat, ethernet, ip, patched, udp } from './build.ts'
import { FAMILIES } from './hosts.ts'
import { carried, dissect, ipOf, mp, outer, trigger } from './mp.ts'
import { expectOutcome, NODE, PEER, REDIRECT, Rig, SHOT, SID, WAN } from './rig.ts'

const rig = new Rig(['wan', 'mp-ingress'])
beforeEach(() => rig.reset())
afterAll(() => rig[Symbol.dispose]())

const IN = { 'mp-in': 1, 'probe-reply-in': 1 }

describe.each(FAMILIES)('IPv%i outside', outside => {
  const path = outside === 4 ? 0 : 1
  const handle = SID | path
  const around = (outside === 4 ? 20 : 40) + 8 + 40

  describe('on its way out', () => {
    const packet = (size: number) => ip({ src: NODE, dst: PEER }, udp(40_000, 2426, trigger(path, 3, size)))

    // Around the steps in which it is padded, beyond the path's MTU of 1500, and far beyond.
    it.each([114, 140, 177, 178, 179, 241, 242, 243, 576, 1280, 1499, 1500, 1501, 9000])('is padded to %i', size => {
      const out = rig.run('mp-ingress', ethernet(packet(size)))
      expectOutcome(out, { verdict: REDIRECT, counters: { 'local-out': 1, 'mp-out': 1 } })
      const inner = concat(packet(size), new Uint8Array(Math.max(0, size - around - packet(size).length)))
      expect(ipOf(out.packet)).toEqual(carried(out.packet, handle, inner, { type: mpType.MP_PROBE }))
      expect(ipOf(out.packet).length).toBe(Math.max(size, around + packet(size).length))
    })

    it.each([0, 1, 40, 87, 88, 89])('asks for less than it has, %i, and goes as it is', size => {
      const out = rig.run('mp-ingress', ethernet(packet(size)))
      expectOutcome(out, { verdict: REDIRECT, counters: { 'local-out': 1, 'mp-out': 1 } })
      expect(ipOf(out.packet)).toEqual(carried(out.packet, handle, packet(size), { type: mpType.MP_PROBE }))
    })

    it('goes nowhere on a path whose far end is not known', () => {
      rig.setPath(handle, { family: 0 })
      const out = rig.run('mp-ingress', ethernet(packet(1400)))
      expectOutcome(out, { verdict: SHOT, drops: { 'no-path': 1 }, counters: { 'local-out': 1 } })
    })
  })

  describe('on its way in', () => {
    let number = 0n
    beforeEach(() => {
      number = 0n
    })

    function reply(round: number, size: number, type: number = mpType.MP_PROBE_REPLY): Bytes {
      const { local, remote } = WAN[outside]
      const head = ip({ src: NODE, dst: PEER }, udp(40_000, 2426, trigger(path, round, size)))
      const payload = concat(head, new Uint8Array(size - around - head.length))
      number += 1n
      return outer({ src: remote, dst: local }, mp({ type, session: SID, path, number }, payload))
    }
    const probed = () => {
      const { probedSize = 0 } = rig.maps.pathState.get(handle) ?? {}
      return [probedSize >>> 16, probedSize & 0xffff]
    }

    it.each<[string, [number, number][], [number, number]]>([
      ['the first', [[7, 1400]], [7, 1400]],
      [
        'a larger one of the round',
        [
          [7, 1280],
          [7, 1400],
        ],
        [7, 1400],
      ],
      [
        'not a smaller one of the round',
        [
          [7, 1400],
          [7, 1280],
        ],
        [7, 1400],
      ],
      [
        'a smaller one of another round',
        [
          [7, 1400],
          [8, 576],
        ],
        [8, 576],
      ],
      [
        'one of an earlier number, which comes round again',
        [
          [255, 1400],
          [1, 1280],
        ],
        [1, 1280],
      ],
      [
        'none without a round',
        [
          [7, 576],
          [0, 1400],
        ],
        [7, 576],
      ],
    ])('%s counts', (_name, replies, kept) => {
      for (const [round, size] of replies)
        expectOutcome(rig.run('wan', reply(round, size)), { verdict: SHOT, counters: IN })
      expect(probed()).toEqual(kept)
    })

    it('none says anything of the round trip: they have waited for each other', () => {
      rig.run('wan', reply(7, 1400))
      rig.run('wan', reply(7, 140))
      expect(rig.maps.pathState.get(handle)).toMatchObject({ rttUs: 0, srttUs: 0, probeReplies: 2 })
    })

    it('one too short for a trigger does not count', () => {
      const { local, remote } = WAN[outside]
      const message = mp({ type: mpType.MP_PROBE_REPLY, session: SID, path }, new Uint8Array(30))
      expectOutcome(rig.run('wan', outer({ src: remote, dst: local }, message)), { verdict: SHOT, counters: IN })
      expect(probed()).toEqual([0, 0])
    })

    it('a forged one, and one that came before, do not count', () => {
      const forged = reply(9, 1400)
      const tagAt = 14 + around - 8
      expectOutcome(rig.run('wan', patched(forged, tagAt, 0xff ^ (forged[tagAt] ?? 0))), {
        verdict: SHOT,
        drops: { 'mp-tag': 1 },
        counters: {},
      })
      expect(probed()).toEqual([0, 0])
      const genuine = reply(9, 1400)
      rig.run('wan', genuine)
      rig.run('wan', reply(10, 576))
      expectOutcome(rig.run('wan', genuine), { verdict: SHOT, drops: { 'mp-replay': 1 }, counters: {} })
      expect(probed()).toEqual([10, 576])
    })

    it('what the peer asks is answered at its size, and says nothing of ours', () => {
      const out = rig.run('wan', reply(9, 1400, mpType.MP_PROBE))
      expectOutcome(out, { verdict: REDIRECT, counters: { 'mp-in': 1, 'probe-answered': 1, 'mp-out': 1 } })
      expect(ipOf(out.packet).length).toBe(1400)
      expect(dissect(out.packet).header.versionType & 15).toBe(mpType.MP_PROBE_REPLY)
      expect(probed()).toEqual([0, 0])
    })
  })
})
