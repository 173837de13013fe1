/** Sampled events: what they say, and that a flood of drops makes few of them. World: rig.ts. */
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import { monotonicNs } from '../../agent/kernel/native.ts'
import { openRing } from '../../agent/kernel/ring.ts'
import { dropReason, type Event, eventType } from '../../schema/abi.gen.ts'
import * as build from './build.ts'
import { ethernet, filler, ip, tcp } from './build.ts'
import { behind, host } from './hosts.ts'
import { mp, outer } from './mp.ts'
import { bytes16, NODE, PEER, Rig, SID, WAN } from './rig.ts'

const rig = new Rig()
const events: Event[] = []
const closeRing = openRing(rig.fd('events'), event => events.push(event))
beforeEach(async () => {
  await sleep(5)
  rig.reset()
  events.length = 0
})
afterAll(() => {
  closeRing()
  rig[Symbol.dispose]()
})

const PAYLOAD = ip({ src: PEER, dst: NODE }, build.esp())
const arrives = (outside: 4 | 6, number: bigint, change = {}, addresses = {}) =>
  outer(
    { src: WAN[outside].remote, dst: WAN[outside].local, ...addresses },
    mp({ session: SID, path: outside === 4 ? 0 : 1, number, ...change }, PAYLOAD),
  )

/** The one event that came. */
async function one(): Promise<Event> {
  await expect.poll(() => events.length).toBeGreaterThan(0)
  await sleep(20)
  expect(events).toHaveLength(1)
  const [event] = events
  if (!event) throw new Error('no event')
  return event
}

describe('a drop', () => {
  it('is told with its reason, device and first bytes', async () => {
    const packet = ip({ src: host(4), dst: behind(4, 12) }, tcp({ data: filler(200) }))
    rig.run('lan', ethernet(packet))
    const event = await one()
    expect(event).toMatchObject({
      type: eventType.EVENT_DROP,
      reason: dropReason.DROP_NO_PEER,
      ifindex: 1,
      handle: 0,
      headLength: 64,
    })
    expect(event.length).toBe(packet.length + 14)
    expect(event.head).toEqual(packet.subarray(0, 64))
    expect(Number(monotonicNs() - event.timeNs)).toBeLessThan(5e9)
  })

  it('is told with all there is of a short packet', async () => {
    const packet = ip({ src: host(4), dst: behind(4, 12) }, build.raw(253, filler(11)))
    rig.run('lan', ethernet(packet))
    const event = await one()
    expect(event.headLength).toBe(31)
    expect(event.head.subarray(0, 31)).toEqual(packet)
    expect(event.head.subarray(31)).toEqual(new Uint8Array(33))
  })

  it('names the path', async () => {
    rig.run('wan', arrives(6, 1n, { key: new Uint8Array(16) }))
    expect(await one()).toMatchObject({ type: eventType.EVENT_DROP, reason: dropReason.DROP_MP_TAG, handle: SID | 1 })
  })

  it.each([4, 6] as const)(
    'of an unknown session is told twice: the drop, and who asked over IPv%i for which session',
    async outside => {
      rig.run('wan', arrives(outside, 1n, { session: 0x1230 }))
      await expect.poll(() => events.length).toBe(2)
      const drop = events.find(event => event.type === eventType.EVENT_DROP)
      expect(drop).toMatchObject({ reason: dropReason.DROP_MP_NO_SESSION, handle: 0x1230 })
      const unknown = events.find(event => event.type === eventType.EVENT_NO_SESSION)
      expect(unknown).toMatchObject({ reason: 0, handle: 0x1230, family: outside, srcPort: 2426, dstPort: 2426 })
      expect(unknown?.src).toEqual(bytes16(WAN[outside].remote))
      expect(unknown?.dst).toEqual(bytes16(WAN[outside].local))
    },
  )
})

describe.each([4, 6] as const)('a path that moved, IPv%i', outside => {
  const elsewhere = outside === 4 ? '192.0.2.77' : '2001:db8:77::77'
  const known = WAN[outside].remote

  it.each([
    ['its address', elsewhere, 2426],
    ['its port', known, 50123],
  ])('is told when %s is another', async (_name, src, sport) => {
    rig.run('wan', arrives(outside, 9n, {}, { src, sport }))
    const event = await one()
    expect(event).toMatchObject({
      type: eventType.EVENT_PATH_MOVED,
      reason: 0,
      handle: outside === 4 ? SID : SID | 1,
      family: outside,
      srcPort: sport,
      dstPort: 2426,
    })
    expect(event.src).toEqual(bytes16(src))
    expect(event.dst).toEqual(bytes16(WAN[outside].local))
  })

  it('is told when it was never learned', async () => {
    rig.maps.pathConf.delete(outside === 4 ? SID : SID | 1)
    rig.run('wan', arrives(outside, 9n))
    expect(await one()).toMatchObject({ type: eventType.EVENT_PATH_MOVED, family: outside })
  })

  it('is not told by a packet that was forged, nor by one that is played again', async () => {
    rig.run('wan', arrives(outside, 9n))
    rig.run('wan', arrives(outside, 10n, { key: new Uint8Array(16) }, { src: elsewhere }))
    rig.run('wan', arrives(outside, 9n, {}, { src: elsewhere }))
    await expect.poll(() => events.length).toBe(1)
    expect(events).toMatchObject([{ type: eventType.EVENT_DROP, reason: dropReason.DROP_MP_TAG }])
  })

  it('is not told by an older packet, nor by one from where it is', async () => {
    rig.run('wan', arrives(outside, 9n))
    rig.run('wan', arrives(outside, 8n, {}, { src: elsewhere }))
    await sleep(30)
    expect(events).toEqual([])
  })
})

it('tells of a policy version ahead, and only of one ahead', async () => {
  rig.run('wan', arrives(4, 1n, { policyVersion: 5 }))
  rig.run('wan', arrives(4, 2n, { policyVersion: 6 }))
  expect(await one()).toMatchObject({ type: eventType.EVENT_POLICY_AHEAD, value: 6, handle: SID })
})

describe('the interval', () => {
  const drop = () => rig.run('lan', ethernet(ip({ src: host(4), dst: behind(4, 12) }, tcp())))

  it('lets one event of a type through', async () => {
    for (let index = 0; index < 50; index++) drop()
    // One per CPU at most, and the test may be moved to another.
    await expect.poll(() => events.length).toBeGreaterThan(0)
    await sleep(20)
    expect(events.length).toBeLessThanOrEqual(4)
  })

  it('does not let drops hide another type', async () => {
    for (let index = 0; index < 20; index++) drop()
    rig.run('wan', arrives(4, 3n, { policyVersion: 9 }))
    await expect.poll(() => events.map(({ type }) => type)).toContain(eventType.EVENT_POLICY_AHEAD)
  })

  it('of 0 lets every event through', async () => {
    rig.setNode({ eventIntervalNs: 0 })
    for (let index = 0; index < 10; index++) drop()
    await expect.poll(() => events.length).toBe(10)
  })
})
