/** WAN egress: pieces of bursts get number, tag and type; complete packets show the next hop; everything else is left alone. */
import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import { type Bytes, concat, ethernet, filler, ip, tcp, udp } from './build.ts'
import { type MpFields, mp, NODE_KEY, outer } from './mp.ts'
import { expectOutcome, NEXT, OTHER_SID, REMOTE_SID, Rig, SHOT, SID, WAN } from './rig.ts'

const rig = new Rig(['wan-egress', 'gather'])
beforeEach(() => rig.reset())
afterAll(() => rig[Symbol.dispose]())

const ROUTER = [2, 1, 2, 3, 4, 5]
const OWN = [6, 7, 8, 9, 10, 11]
const INSIDE = { 4: { src: '10.1.0.2', dst: '10.2.0.2' }, 6: { src: 'fd01::2', dst: 'fd02::2' } }

type PieceFields = MpFields & { sport?: number }

/** A frame as macvlan or neighbour output hands it on. */
function leaving(outside: 4 | 6, fields: MpFields, payload: Bytes, sport?: number): Bytes {
  const { local, remote } = WAN[outside]
  const message = mp({ session: REMOTE_SID, path: outside === 4 ? 0 : 1, key: NODE_KEY, ...fields }, payload)
  return addressed(outer({ src: local, dst: remote, ...(sport && { sport }) }, message))
}

function addressed(frame: Bytes): Bytes {
  return concat(Uint8Array.of(...ROUTER, ...OWN), frame.subarray(12))
}

/** A piece comes without number, type and tag. */
function piece(outside: 4 | 6, fields: MpFields, payload: Bytes, sport?: number): Bytes {
  const frame = leaving(outside, { ...fields, type: 0, number: 0n }, payload, sport)
  const tagAt = 14 + (outside === 4 ? 20 : 40) + 8 + 32
  frame.fill(0, tagAt, tagAt + 8)
  return frame
}

describe.each([4, 6] as const)('IPv%i outside', outside => {
  const mark = outside === 4 ? SID : SID | 1

  describe.each([4, 6] as const)('IPv%i inside', inside => {
    const payload = ip(INSIDE[inside], tcp({ data: filler(700) }))

    it('completes a piece', () => {
      rig.setState(mark, { txNumber: 6n, txBytes: 1000n })
      const fields = { timestampUs: 99, policyVersion: 4 }
      const frame = piece(outside, fields, payload)
      expectOutcome(rig.run('wan-egress', frame, { mark }), {
        verdict: NEXT,
        mark: 0,
        packet: leaving(outside, { ...fields, number: 7n }, payload),
        counters: { 'mp-out': 1 },
      })
      expect(rig.maps.pathState.get(mark)).toMatchObject({
        txNumber: 7n,
        txBytes: 1000n + BigInt(frame.length - 14),
        hop: [0n, 0n],
      })
    })

    it('remembers where the kernel sent a complete one, and leaves it as it is', () => {
      const packet = leaving(outside, { number: 7n }, payload)
      expectOutcome(rig.run('wan-egress', packet, { mark }), { verdict: NEXT, mark: 0, packet, counters: {} })
      const [to = 0n, from = 0n] = rig.maps.pathState.get(mark)?.hop ?? []
      expect([to, from].map(macOf)).toEqual([ROUTER, OWN])
      expect(to >> 48n).toBe(from >> 48n)
    })
  })

  const payload = ip(INSIDE[4], udp(7, 8))

  it('drops a piece that is still several', () => {
    expectOutcome(rig.run('wan-egress', piece(outside, {}, payload), { mark, gsoSize: 100, gsoSegs: 2 }), {
      verdict: SHOT,
      drops: { rewrite: 1 },
      counters: {},
    })
  })

  it.each([
    ['of a path that has ended', {}, 0x7f0],
    ['of a session other than the mark’s', { session: 0x800 }, undefined],
  ])('drops a piece %s', (_name, fields, otherMark) => {
    expectOutcome(rig.run('wan-egress', piece(outside, fields, payload), { mark: otherMark ?? mark }), {
      verdict: SHOT,
      drops: { 'no-path': 1 },
      counters: {},
    })
  })

  it.each([
    ['without a mark', {}, 0],
    ['of another version', { version: 2 }, undefined],
    ['of another port, which is nobody’s of ours, with a mark of nobody', { sport: 5000 }, 0x7f0],
  ])(
    'never completes, nor drops, what looks like a piece %s',
    (_name, { sport, ...fields }: PieceFields, otherMark) => {
      const packet = piece(outside, fields, payload, sport)
      const given = otherMark ?? mark
      expectOutcome(rig.run('wan-egress', packet, { mark: given }), {
        verdict: NEXT,
        packet,
        mark: given,
        counters: {},
      })
    },
  )

  it('lets a complete packet of a path that has ended go, as any with a mark that says nothing', () => {
    const packet = leaving(outside, { number: 7n }, payload)
    expectOutcome(rig.run('wan-egress', packet, { mark: 0x7f0 }), { verdict: NEXT, packet, mark: 0x7f0, counters: {} })
  })
})

describe('leaves alone, mark and all', () => {
  const { local, remote } = WAN[4]
  it.each([
    ['a TCP packet', addressed(ethernet(ip({ src: local, dst: remote }, tcp({ data: filler(100) }))))],
    ['a short UDP packet', addressed(ethernet(ip({ src: local, dst: remote }, udp(2426, 2426, filler(20)))))],
    ['ARP', ethernet(filler(46), { type: 0x806 })],
  ])('%s', (_name, packet) => {
    expectOutcome(rig.run('wan-egress', packet, { mark: OTHER_SID }), {
      verdict: NEXT,
      packet,
      mark: OTHER_SID,
      counters: {},
    })
  })
})

describe('gather', () => {
  const packet = ip(INSIDE[4], tcp())

  it('reads the port out of the frame', () => {
    const frame = ethernet(packet, { src: [2, 0, 1, 0, 0, 0] })
    expectOutcome(rig.run('gather', frame), { verdict: 7, packet: frame, counters: {} })
  })

  it('drops what it did not send itself', () => {
    expectOutcome(rig.run('gather', ethernet(packet, { src: OWN })), {
      verdict: SHOT,
      drops: { 'not-ours': 1 },
      counters: {},
    })
  })
})

function macOf(hop: bigint): number[] {
  return Array.from({ length: 6 }, (_, index) => Number((hop >> BigInt(8 * index)) & 0xffn))
}
