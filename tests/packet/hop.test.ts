/** The next hop of a path: learnt from what the kernel addressed, used for a moment, asked for again. World: rig.ts. */
import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import * as build from './build.ts'
import { type Bytes, concat, ethernet, ip, udp } from './build.ts'
import { behind, FAMILIES, host } from './hosts.ts'
import { carried, ipOf, mp, NODE_KEY, outer } from './mp.ts'
import { expectOutcome, NODE, PEER, REDIRECT, REMOTE_SID, Rig, SID, WAN } from './rig.ts'

const rig = new Rig(['wan-egress', 'mp-egress', 'mp-ingress'])
beforeEach(() => rig.reset())
afterAll(() => rig[Symbol.dispose]())

const ADDRESSES = Uint8Array.of(2, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11)
const ESP = ip({ src: NODE, dst: PEER }, build.esp())

describe.each(FAMILIES)('IPv%i outside', outside => {
  const mark = outside === 4 ? SID : SID | 1
  const { local, remote } = WAN[outside]
  const frame = concat(ADDRESSES, Uint8Array.of(...(outside === 4 ? [0x08, 0x00] : [0x86, 0xdd])))

  /** The kernel addresses one packet of the path. */
  function learn(): void {
    const message = mp({ session: REMOTE_SID, path: mark & 1, key: NODE_KEY }, ESP)
    rig.run('wan-egress', concat(ADDRESSES, outer({ src: local, dst: remote }, message).subarray(12)), { mark })
  }

  function expectSent(
    out: ReturnType<Rig['run']>,
    payload: Bytes,
    way: 'straight' | 'by the kernel',
    number = 1n,
  ): void {
    // The mark is for wan_egress, where the kernel's answer is learnt.
    expectOutcome(out, { verdict: REDIRECT, mark: way === 'straight' ? 0 : mark, drops: {}, counters: { 'mp-out': 1 } })
    expect(ipOf(out.packet)).toEqual(carried(out.packet, mark, payload, { number }))
    if (way === 'straight') expect(out.packet.subarray(0, 14)).toEqual(frame)
  }

  it('ESP goes straight to a next hop that the kernel has just named', () => {
    expectSent(rig.run('mp-egress', ethernet(ESP), { mark }), ESP, 'by the kernel')
    learn()
    expectSent(rig.run('mp-egress', ethernet(ESP), { mark }), ESP, 'straight', 2n)
  })

  it.each(FAMILIES)('so does a clear IPv%i packet', inside => {
    const packet = ip({ src: host(inside), dst: behind(inside, 2) }, udp(7, 8))
    learn()
    expectSent(rig.run('mp-ingress', ethernet(packet), { mark }), packet, 'straight')
  })

  it('asks the kernel again once the answer is old', () => {
    learn()
    const { hop = [] } = rig.maps.pathState.get(mark) ?? {}
    rig.setState(mark, { hop: hop.map(value => BigInt.asUintN(64, value - (2n << 48n))) })
    expectSent(rig.run('mp-egress', ethernet(ESP), { mark }), ESP, 'by the kernel')
  })

  it('asks the kernel again when the peer has moved', () => {
    learn()
    const { hopRemote = [] } = rig.maps.pathState.get(mark) ?? {}
    rig.setState(mark, { hopRemote: [(hopRemote[0] ?? 0n) ^ 1n, hopRemote[1] ?? 0n] })
    expectSent(rig.run('mp-egress', ethernet(ESP), { mark }), ESP, 'by the kernel')
  })
})
