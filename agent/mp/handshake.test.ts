/**
 *   edge-a ---- INIT ---> gw1      both machines in one process, packets handed over as bytes
 *          <-- RESPONSE --
 */
import { describe, expect, it } from 'vitest'
import { MIN_INIT } from '../../schema/mpinit.ts'
import { generateKeyPair } from './dh.ts'
import { responderView } from './keys.ts'
import { back, ENTERPRISE, offer, SOURCE, START, to, World } from './testing.ts'

const DAY = 86_400_000

describe('MP_INIT', () => {
  it('gives both sides the same session in one round trip', () => {
    const world = new World()
    const edge = world.node('edge-a')
    const initiator = world.initiator(edge)
    const init = initiator.start(0x1000, offer(edge))[0]
    expect(init).toHaveLength(MIN_INIT)

    const there = to('established', world.responder().receive(init, SOURCE))
    expect(there).toMatchObject({ remoteSid: 0x1000, localSid: 0x2000, grant: edge.body })
    expect(there.init).toEqual({ ...offer(edge), timestamp: START * 1000 })
    expect(there.packets[0].length).toBeLessThanOrEqual(init.length)

    const here = back('established', initiator.receive(there.packets[0]))
    expect(here).toMatchObject({ remoteSid: 0x2000, grant: world.gateway.body })
    expect(here.payload).toMatchObject({
      virtualAddress: '100.64.0.2',
      seen: SOURCE,
      paths: [{ path: 0, spi: 0x8000 }],
    })

    for (const path of [0, 15]) {
      for (const direction of ['tx', 'rx'] as const) {
        expect(here.secrets.esp(path, direction)).toEqual(there.secrets.esp(path, direction))
      }
    }
    const { tagTx, tagRx, recordTx, recordRx, hash } = here.secrets
    expect(there.secrets).toMatchObject({ tagTx, tagRx, recordTx, recordRx, hash })
    const mirrored = responderView(there.secrets)
    expect(mirrored).toMatchObject({ tagTx: tagRx, tagRx: tagTx, recordTx: recordRx, recordRx: recordTx })
    expect(mirrored.esp(3, 'tx')).toEqual(here.secrets.esp(3, 'rx'))

    const keys = [
      tagTx,
      tagRx,
      recordTx,
      recordRx,
      here.secrets.esp(0, 'tx'),
      here.secrets.esp(0, 'rx'),
      here.secrets.esp(1, 'tx'),
    ]
    expect(new Set(keys.map(key => Buffer.from(key).toString('hex').slice(0, 32))).size).toBe(keys.length)
    expect(keys.map(key => key.length)).toEqual([16, 16, 32, 32, 36, 36, 36])

    there.secrets.dispose()
    expect(there.secrets.tagTx).toEqual(new Uint8Array(16))
    expect(() => there.secrets.esp(0, 'tx')).toThrow('disposed')
  })

  it('hides the grant and the names of the edge on the wire', () => {
    const world = new World()
    const edge = world.node('edge-a')
    const initiator = world.initiator(edge)
    const init = initiator.start(1, offer(edge))[0]
    const {
      packets: [packet],
    } = to('established', world.responder().receive(init, SOURCE))
    for (const secret of [
      Buffer.from('edge-a'),
      Buffer.from(ENTERPRISE),
      Buffer.from('10.1.1.0'),
      Buffer.from('gw1'),
    ]) {
      expect(init.includes(secret)).toBe(false)
      expect(packet.includes(secret)).toBe(false)
    }
  })

  it('takes a doubled initiation once, refuses an older one and tells what to exceed', () => {
    const world = new World()
    const edge = world.node('edge-a')
    const responder = world.responder()
    const first = world.initiator(edge).start(1, offer(edge))[0]
    world.now += 5
    const second = world.initiator(edge).start(2, offer(edge))[0]
    to('established', responder.receive(second, SOURCE))
    expect(responder.receive(second, SOURCE)).toEqual({ kind: 'ignored', reason: 'duplicate' })
    expect(responder.receive(first, SOURCE)).toMatchObject({ kind: 'reply', refused: { code: 'timestamp-replayed' } })
    expect(responder.timestamps.size).toBe(1)
  })

  it('recovers an edge whose clock was set back', () => {
    const world = new World()
    const edge = world.node('edge-a')
    const responder = world.responder()
    world.now += DAY
    to('established', responder.receive(world.initiator(edge).start(1, offer(edge))[0], SOURCE))
    world.now -= DAY
    const initiator = world.initiator(edge)
    const refusal = to('reply', responder.receive(initiator.start(2, offer(edge))[0], SOURCE))
    expect(initiator.receive(refusal.packet)).toMatchObject({ kind: 'refused', by: 'peer', code: 'timestamp-replayed' })
    to('established', responder.receive(initiator.start(3, offer(edge))[0], SOURCE))
  })

  it('ignores late, foreign and repeated answers', () => {
    const world = new World()
    const edge = world.node('edge-a')
    const responder = world.responder()
    const initiator = world.initiator(edge)
    const late = to('established', responder.receive(initiator.start(1, offer(edge))[0], SOURCE))
    const init = initiator.start(1, offer(edge))[0]
    expect(initiator.receive(late.packets[0])).toEqual({ kind: 'ignored', reason: 'decrypt-failed' })
    const {
      packets: [packet],
    } = to('established', responder.receive(init, SOURCE))
    expect(world.initiator(edge).receive(packet)).toEqual({ kind: 'ignored', reason: 'no-handshake' })
    back('established', initiator.receive(packet))
    expect(initiator.receive(packet)).toEqual({ kind: 'ignored', reason: 'no-handshake' })
    expect(initiator.receive(init)).toEqual({ kind: 'ignored', reason: 'wrong-type' })
  })

  it('does not hear an edge that has another key for the gateway', () => {
    const world = new World()
    const edge = world.node('edge-a')
    const initiator = world.initiator(edge, { responderStatic: generateKeyPair().publicKey.raw })
    expect(world.responder().receive(initiator.start(1, offer(edge))[0], SOURCE)).toEqual({
      kind: 'ignored',
      reason: 'bad-mac1',
    })
  })
})

describe('room in the packets', () => {
  it('sends the first subnets that fit and keeps the INIT unfragmented', () => {
    const world = new World()
    const edge = world.node('edge-a')
    const subnets = Array.from({ length: 600 }, (_, i) => ({
      prefix: `10.1.${i >> 2}.${(i & 3) << 6}/26`,
      reachable: true,
    }))
    const init = world.initiator(edge).start(1, offer(edge, { subnets }))[0]
    expect(init).toHaveLength(MIN_INIT)
    const { init: got } = to('established', world.responder().receive(init, SOURCE))
    expect(got.subnets.length).toBeGreaterThan(5)
    expect(got.subnets).toEqual(subnets.slice(0, got.subnets.length))
  })

  it('answers sixteen links within the shortest INIT', () => {
    const world = new World()
    const edge = world.node('e'.repeat(63), { enterpriseName: 'n'.repeat(63) })
    const links = Array.from({ length: 16 }, (_, path) => ({
      path,
      name: `wan${path}`,
      family: 6 as const,
      mtu: 1500,
      spi: 0xffffff00 + path,
    }))
    const source = { address: '2001:db8:ffff:ffff:ffff:ffff:ffff:ffff', port: 65_535 }
    const init = world.initiator(edge).start(1, offer(edge, { links }))[0]
    const {
      packets: [packet],
    } = to('established', world.responder().receive(init, source))
    expect(packet.length).toBeLessThanOrEqual(init.length)
  })

  it('grows for a grant of a thousand prefixes and throws only beyond the limit', () => {
    const world = new World()
    const prefixes = (tail: string) =>
      Array.from({ length: 1024 }, (_, i) => `2001:db8:${(i + 4096).toString(16)}:${tail}`)
    const edge = world.node('edge-a', { prefixes: prefixes('ffff::/64') })
    const init = world.initiator(edge).start(1, offer(edge))[0]
    expect(init.length).toBeGreaterThan(20_000)
    to('established', world.responder().receive(init, SOURCE))
    const huge = world.node('edge-a', {
      prefixes: prefixes('ffff:ffff:ffff:ffff:ffff/128'),
    })
    expect(() => world.initiator(huge).start(1, offer(huge))[0]).toThrow('more prefixes than one packet carries')
  })
})
