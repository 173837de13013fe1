/** wan_ingress against malformed, truncated, forged and replayed packets: a counted drop, and nothing else changed. World: rig.ts. */
import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import { mpType } from '../../schema/abi.gen.ts'
import * as build from './build.ts'
import { bareUdp, ethernet, ip, patched } from './build.ts'
import { type MpFields, mp, NODE_KEY, outer } from './mp.ts'
import { expectOutcome, NEXT, NODE, OTHER_SID, PEER, Rig, SHOT, SID, WAN } from './rig.ts'

const rig = new Rig()
beforeEach(() => {
  rig.reset()
  good(4)
  good(6)
})
afterAll(() => rig[Symbol.dispose]())

const PAYLOAD = ip({ src: PEER, dst: NODE }, build.esp())
const pathOf = (outside: 4 | 6) => (outside === 4 ? 0 : 1)
const message = (outside: 4 | 6, fields: MpFields = {}, payload = PAYLOAD) =>
  mp({ session: SID, path: pathOf(outside), number: 100n, ...fields }, payload)
const ends = (outside: 4 | 6) => ({ src: WAN[outside].remote, dst: WAN[outside].local })
const frameOf = (outside: 4 | 6, bytes: build.Bytes) => outer(ends(outside), bytes)

/** One packet that is accepted, so that every path has a history that a bad packet could spoil. */
function good(outside: 4 | 6): void {
  expectOutcome(rig.run('wan', frameOf(outside, message(outside, { number: 50n }))), {
    verdict: NEXT,
    counters: { 'mp-in': 1 },
  })
}

/** The frame is dropped for the reason; no counter, no path, no flow moves, and the packet stays as it was. */
function expectRefused(frame: build.Bytes, reason: string): void {
  const states = () => rig.maps.pathState.entries()
  const before = states()
  const out = rig.run('wan', frame)
  expect(out).toEqual({ verdict: SHOT, packet: frame, mark: 0, drops: { [reason]: 1 }, counters: {} })
  expect(states()).toEqual(before)
  expect(rig.flows.entries()).toEqual([])
}

describe.each([4, 6] as const)('IPv%i outside', outside => {
  const ipLength = outside === 4 ? 20 : 40
  const mpAt = 14 + ipLength + 8

  describe('truncated', () => {
    it.each([0, 1, 2, 4, 8, 16, 31, 32, 39, 40, 41, 55])('to %i bytes of MP', length => {
      // A first byte of a handshake type would be the agent's; there is none of 0 bytes.
      expectRefused(frameOf(outside, message(outside).subarray(0, length)), 'mp-truncated')
    })

    it.each([
      ['UDP that claims more than IP', bareUdp(2426, 2426, message(outside), 600)],
      ['UDP that claims less than IP', bareUdp(2426, 2426, message(outside), 60)],
      ['UDP that claims less than its header', bareUdp(2426, 2426, message(outside), 7)],
      ['UDP that claims nothing', bareUdp(2426, 2426, message(outside), 0)],
    ])('%s', (_name, layer4) => {
      expectRefused(ethernet(ip(ends(outside), layer4)), 'outer-malformed')
    })

    it.each([
      ['IP longer than the frame', 1400],
      ['IP shorter than UDP', ipLength + 40],
      ['IP that ends in the UDP header', ipLength + 7],
    ])('%s', (_name, length) => {
      const lengths = { totalLength: length, payloadLength: length - ipLength }
      expectRefused(
        ethernet(ip({ ...ends(outside), ...lengths }, bareUdp(2426, 2426, message(outside)))),
        'outer-malformed',
      )
    })
  })

  it('is never in fragments', () => {
    const fragment = { offset: 0, more: true }
    expectRefused(
      ethernet(ip({ ...ends(outside), df: false, fragment }, bareUdp(2426, 2426, message(outside)))),
      'outer-fragment',
    )
  })

  it('cannot tell a later fragment, which the stack will hold', () => {
    const fragment = { offset: 64, more: false }
    const frame = ethernet(ip({ ...ends(outside), df: false, fragment }, build.raw(17, message(outside))))
    expect(rig.run('wan', frame)).toEqual({ verdict: NEXT, packet: frame, mark: 0, drops: {}, counters: {} })
  })

  it.each([0, 2, 3, 7, 15])('refuses version %i', version => {
    expectRefused(frameOf(outside, message(outside, { version })), 'mp-version')
  })

  it.each([0, 5, 6, 7])('refuses type %i', type => {
    expectRefused(frameOf(outside, message(outside, { type })), 'mp-type')
  })

  it.each([
    ['nobody’s', 0x777770],
    ['none', 0],
    ['with a path in its low bits', SID | 1],
    ['the peer’s, not ours', 0x900],
    ['of an earlier session at the same place', SID + 0x100_000],
    ['beyond the places of this node', 0xfff0],
    ['all ones', 0xffffffff],
  ])('refuses a session that is %s', (_name, session) => {
    expectRefused(frameOf(outside, message(outside, { session })), 'mp-no-session')
  })

  it.each([2, 3, 15, 16, 32, 64, 255])('refuses path %i', path => {
    expectRefused(frameOf(outside, message(outside, { path })), 'mp-path')
  })

  it('refuses a path that exists in the session but not in the map', () => {
    rig.maps.pathState.delete(SID | pathOf(outside))
    expectRefused(frameOf(outside, message(outside)), 'mp-path')
  })

  it('takes no other session’s path for one of its own', () => {
    rig.setSession(SID, { pathMask: 7 })
    rig.setState(SID + 0x20, {})
    expectRefused(frameOf(outside, message(outside, { path: 2 })), 'mp-path')
    rig.maps.pathState.delete(SID + 0x20)
  })

  describe('forged', () => {
    it.each([
      ['made with our sending key', message(outside, { key: NODE_KEY })],
      ['made with no key', message(outside, { key: new Uint8Array(16) })],
      ['of no tag', message(outside).fill(0, 32, 40)],
      ['of all ones', message(outside).fill(0xff, 32, 40)],
      [
        'of another packet',
        build.concat(message(outside).subarray(0, 40), ip({ src: PEER, dst: NODE, id: 1, ttl: 63 }, build.esp())),
      ],
      ['of another path', message(outside).fill(1 - pathOf(outside), 1, 2)],
      ['of a probe', message(outside, { type: mpType.MP_PROBE }).fill(0x11, 0, 1)],
    ])('by a tag %s', (_name, bytes) => {
      expectRefused(frameOf(outside, bytes), 'mp-tag')
    })

    it('by a session that has another key', () => {
      rig.setSession(OTHER_SID, { rxKey: [1n, 2n] })
      rig.setState(OTHER_SID, {})
      expectRefused(frameOf(outside, message(outside, { session: OTHER_SID, path: 0 })), 'mp-tag')
    })

    // Every bit under the tag and of the tag itself: none may be changed.
    it.each(Array.from({ length: 56 }, (_, index) => index))('by any flipped bit of byte %i', index => {
      const frame = frameOf(outside, message(outside))
      for (let bit = 0; bit < 8; bit++) {
        const at = mpAt + index
        const out = rig.run('wan', patched(frame, at, (frame[at] ?? 0) ^ (1 << bit)))
        // Bits of the first byte may make a handshake of it, which is the agent's to refuse.
        if (out.counters['handshake-in']) {
          expect(index).toBe(0)
          continue
        }
        expect(out).toMatchObject({ verdict: SHOT })
        expect(out.counters).toEqual({})
        expect(Object.keys(out.drops)).toEqual([expect.stringMatching(/^mp-(tag|version|type|no-session|path)$/)])
      }
      expect(rig.maps.pathState.get(SID | pathOf(outside))).toMatchObject({ rxPackets: 1n, rxHighest: 50n })
    })
  })

  describe('replayed', () => {
    it.each([mpType.MP_DATA, mpType.MP_PROBE, mpType.MP_PROBE_REPLY])('type %i', type => {
      const frame = frameOf(outside, message(outside, { type }))
      expect(rig.run('wan', frame).drops).toEqual({})
      expectRefused(frame, 'mp-replay')
    })

    it('as another type of the same number', () => {
      expectRefused(frameOf(outside, message(outside, { type: mpType.MP_PROBE, number: 50n })), 'mp-replay')
    })

    it('from behind the window', () => {
      rig.run('wan', frameOf(outside, message(outside, { number: 1_000_000n })))
      for (const number of [0n, 1n, 49n, 1_000_000n - 2048n])
        expectRefused(frameOf(outside, message(outside, { number })), 'mp-too-old')
    })

    it('by a number that no epoch holds', () => {
      for (const number of [1n << 43n, 1n << 63n, (1n << 64n) - 1n])
        expectRefused(frameOf(outside, message(outside, { number })), 'mp-replay')
    })
  })
})

it('refuses IPv4 options outside', () => {
  expectRefused(
    ethernet(ip({ ...ends(4), options: new Uint8Array(4).fill(1) }, bareUdp(2426, 2426, message(4)))),
    'outer-malformed',
  )
})

it('refuses GSO: every MP packet has its own number', () => {
  const out = rig.run('wan', frameOf(4, message(4)), { gsoSize: 100 })
  expectOutcome(out, { verdict: SHOT, drops: { 'outer-malformed': 1 }, counters: {} })
})
