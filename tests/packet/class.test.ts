/** Which queue of a WAN link each packet waits in, by its DSCP: read from skb->priority as the programs leave it. World: rig.ts. */
import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import { ABI_QUEUE_MAJOR, ABI_QUEUE_MINOR, mpType } from '../../schema/abi.gen.ts'
import { ethernet, filler, ip, raw, tcp, udp } from './build.ts'
import { behind, FAMILIES, host } from './hosts.ts'
import { mp, outer } from './mp.ts'
import { NODE, PEER, Rig, SID, WAN } from './rig.ts'

const rig = new Rig()
beforeEach(() => rig.reset())
afterAll(() => rig[Symbol.dispose]())

/** TC_PRIO_* of linux/pkt_sched.h, which qdiscs of other people read. */
const PRIORITY = { default: 0, bulk: 2, transactional: 4, realtime: 6 }
const queue = (name: keyof typeof PRIORITY) => ABI_QUEUE_MAJOR * 65536 + ABI_QUEUE_MINOR + PRIORITY[name]

/** RFC 4594, 5865, 8622; every other code point is default. */
const CLASSES: Partial<Record<keyof typeof PRIORITY, number[]>> = {
  realtime: [40, 44, 46, 48, 56],
  transactional: [16, 18, 20, 22, 24, 26, 28, 30, 32, 34, 36, 38],
  bulk: [1, 8, 10, 12, 14],
}
const classOf = (dscp: number) =>
  (Object.keys(CLASSES) as (keyof typeof PRIORITY)[]).find(name => CLASSES[name]?.includes(dscp)) ?? 'default'

describe.each(FAMILIES)('IPv%i', family => {
  it.each(FAMILIES)('has the queue of its DSCP on an IPv%i path, whatever ECN says', outside => {
    rig.setPeer(9, { pathBest: outside === 4 ? 0 : 1 })
    for (let tos = 0; tos < 256; tos++) {
      const packet = ethernet(ip({ src: host(family), dst: behind(family, 2), tos }, udp(7, 8)))
      const context = { priority: 0x20001 }
      expect(rig.priority('lan', packet, context), `TOS ${tos}`).toBe(queue(classOf(tos >> 2)))
    }
  })

  it('that was GSO, too', () => {
    const packet = ip({ src: host(family), dst: behind(family, 2), tos: 46 << 2 }, tcp({ data: filler(100) }))
    expect(rig.priority('mp-ingress', ethernet(packet), { mark: SID })).toBe(queue('realtime'))
  })
})

it('of ESP is that of the DSCP which XFRM copied', () => {
  const esp = ip({ src: NODE, dst: PEER, tos: 34 << 2 }, raw(50, filler(80)))
  expect(rig.priority('mp-egress', ethernet(esp), { mark: SID })).toBe(queue('transactional'))
})

it('of probes and their answers is real-time', () => {
  const trigger = ip({ src: NODE, dst: PEER }, udp(2426, 2426, filler(20).fill(0, 0, 1)))
  expect(rig.priority('mp-ingress', ethernet(trigger))).toBe(queue('realtime'))
  const { local, remote } = WAN[4]
  const probe = outer({ src: remote, dst: local }, mp({ type: mpType.MP_PROBE, session: SID, number: 9n }, filler(40)))
  expect(rig.priority('wan', probe)).toBe(queue('realtime'))
})
