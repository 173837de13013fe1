/**
 *   edge-a ---- INIT ------------> gw1, under load
 *          <--- COOKIE -----------
 *          ---- INIT with mac2 -->
 *          <--- RESPONSE ---------
 */
import { describe, expect, it } from 'vitest'
import { Load } from './load.ts'
import { back, offer, SOURCE, to, World } from './testing.ts'

describe('under load', () => {
  const busy = (world: World) => new Load({ now: () => world.now, rate: 1, burst: 1, sourceRate: 1, sourceBurst: 2 })

  it('demands a cookie first and then serves', () => {
    const world = new World()
    const responder = world.responder({ load: busy(world) })
    const edge = world.node('edge-a')
    to('established', responder.receive(world.initiator(edge).start(1, offer(edge))[0], SOURCE))

    world.now += 10
    const initiator = world.initiator(edge)
    const init = initiator.start(2, offer(edge))[0]
    const cookie = to('reply', responder.receive(init, SOURCE))
    expect(cookie.refused).toBeUndefined()
    expect(cookie.packet.length).toBeLessThan(init.length)
    const again = back('cookie', initiator.receive(cookie.packet))
    expect(initiator.receive(cookie.packet)).toEqual({ kind: 'ignored', reason: 'bad-cookie' })
    const elsewhere = responder.receive(again.packets[0], { ...SOURCE, port: 9 })
    expect(to('reply', elsewhere).packet).toHaveLength(cookie.packet.length)
    const there = to('established', responder.receive(again.packets[0], SOURCE))
    back('established', initiator.receive(there.packets[0]))
  })

  it('keeps the cookie for the next initiation, limits one address, and lets the cookie grow old', () => {
    const world = new World()
    const responder = world.responder({ load: busy(world) })
    const edge = world.node('edge-a')
    const initiator = world.initiator(edge)
    const send = (sid: number) => responder.receive(initiator.start(sid, offer(edge))[0], SOURCE)
    to('established', send(1))
    back('cookie', initiator.receive(to('reply', send(2)).packet))
    to('established', send(3))
    to('established', send(4))
    expect(send(5)).toEqual({ kind: 'ignored', reason: 'rate-limited' })
    world.now += 1_000
    to('established', send(6)) // the bucket of all has one token again
    to('established', send(7))
    world.now += 240_000
    to('established', send(8))
    expect(to('reply', send(9)).refused).toBeUndefined()
  })

  it('accepts a cookie of the secret before, not of the one before that', () => {
    const world = new World()
    const load = { admit: (_: string, proven: () => boolean) => (proven() ? 'ok' : 'cookie') } as const
    const responder = world.responder({ load: Object.assign(new Load({ now: () => 0 }), load) })
    const edge = world.node('edge-a')
    const withCookie = (wait: number) => {
      const initiator = world.initiator(edge)
      const cookie = to('reply', responder.receive(initiator.start(1, offer(edge))[0], SOURCE))
      const [packet] = back('cookie', initiator.receive(cookie.packet)).packets
      world.now += wait
      return responder.receive(packet, SOURCE).kind
    }
    expect(withCookie(119_000)).toBe('established')
    expect(withCookie(120_000)).toBe('established')
    expect(withCookie(241_000)).toBe('reply')
  })
})
