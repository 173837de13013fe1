/**
 *   edge-a ---- INIT, INIT_KEM --------> gw1      X25519 and ML-KEM-768, both machines in one process
 *          <-- RESPONSE, RESPONSE_KEM --
 */
import { describe, expect, it } from 'vitest'
import type { Hybrid } from '../../schema/mpinit.ts'
import { generateKem, KEM } from './kem.ts'
import { Load } from './load.ts'
import { type Datagrams, formatInitKem, formatResponseKem, INIT_KEM_LENGTH, RESPONSE_KEM_LENGTH } from './packets.ts'
import { back, offer, SOURCE, type TestNode, to, World } from './testing.ts'

const ELSEWHERE = { ...SOURCE, port: 9 }

function pairOf(datagrams: Datagrams): [Buffer, Buffer] {
  const [first, second, ...more] = datagrams
  if (second === undefined || more.length > 0) throw new Error(`${datagrams.length} datagrams`)
  return [first, second]
}

function begin(world = new World()) {
  const edge = world.node('edge-a')
  const initiator = world.initiator(edge, { hybrid: 'preferred' })
  const responder = world.responder()
  return { world, edge, initiator, responder }
}

const flipped = (packet: Uint8Array, at: number) => {
  const bad = Buffer.from(packet)
  bad[at] = (bad[at] ?? 0) ^ 1
  return bad
}

describe('a hybrid handshake', () => {
  it('establishes one session with the same keys at both ends, no answer longer than its question', () => {
    const { edge, initiator, responder } = begin()
    const [init, initKem] = pairOf(initiator.start(0x1000, offer(edge)))
    expect([init.length, initKem.length]).toEqual([1200, INIT_KEM_LENGTH])
    expect(INIT_KEM_LENGTH).toBeLessThanOrEqual(1280 - 40 - 8)
    expect(responder.receive(init, SOURCE)).toEqual({ kind: 'waiting' })
    const there = to('established', responder.receive(initKem, SOURCE))
    expect(there).toMatchObject({ remoteSid: 0x1000, localSid: 0x2000, grant: edge.body })
    const [response, responseKem] = pairOf(there.packets)
    expect(response.length).toBeLessThanOrEqual(init.length)
    expect(responseKem).toHaveLength(RESPONSE_KEM_LENGTH)
    expect(RESPONSE_KEM_LENGTH).toBeLessThanOrEqual(INIT_KEM_LENGTH)
    expect(initiator.receive(response)).toEqual({ kind: 'waiting' })
    const here = back('established', initiator.receive(responseKem))
    expect(here).toMatchObject({ remoteSid: 0x2000, payload: { capabilities: { esp: true, kem: KEM } } })
    for (const key of ['tagTx', 'tagRx', 'recordTx', 'recordRx', 'hash'] as const)
      expect(here.secrets[key]).toEqual(there.secrets[key])
    expect(here.secrets.esp(0, 'tx')).toEqual(there.secrets.esp(0, 'tx'))
    expect(responder.size).toBe(0)
  })

  it('takes the parts of the answer in either order, and only once', () => {
    const { edge, initiator, responder } = begin()
    const [init, initKem] = pairOf(initiator.start(1, offer(edge)))
    responder.receive(init, SOURCE)
    const [response, responseKem] = pairOf(to('established', responder.receive(initKem, SOURCE)).packets)
    expect(initiator.receive(responseKem)).toEqual({ kind: 'waiting' })
    back('established', initiator.receive(response))
    for (const packet of [response, responseKem])
      expect(initiator.receive(packet)).toEqual({ kind: 'ignored', reason: 'no-handshake' })
    expect(responder.receive(initKem, SOURCE)).toEqual({ kind: 'ignored', reason: 'no-handshake' })
    expect(responder.receive(init, SOURCE)).toEqual({ kind: 'waiting' })
    expect(responder.receive(initKem, SOURCE)).toEqual({ kind: 'ignored', reason: 'duplicate' })
    expect(responder.size).toBe(0)
  })

  it('refuses after the second datagram, in one', () => {
    const world = new World()
    const edge = world.node('edge-a')
    const initiator = world.initiator(edge, { hybrid: 'preferred' })
    const responder = world.responder({
      accept: () => ({ localSid: 0, payload: { ok: false, code: 'full', message: 'no room' } }),
    })
    const [init, initKem] = pairOf(initiator.start(1, offer(edge)))
    responder.receive(init, SOURCE)
    const { packet } = to('reply', responder.receive(initKem, SOURCE))
    expect(initiator.receive(packet)).toMatchObject({ kind: 'refused', code: 'full' })
  })

  it('is refused at its first datagram when the grant does not count', () => {
    const world = new World()
    const edge = world.node('edge-a', { expires: world.now / 1000 - 86_400 })
    const [init, initKem] = pairOf(world.initiator(edge, { hybrid: 'preferred' }).start(1, offer(edge)))
    const responder = world.responder()
    expect(responder.receive(init, SOURCE)).toMatchObject({ kind: 'reply', refused: { code: 'grant-expired' } })
    expect(responder.receive(initKem, SOURCE)).toEqual({ kind: 'ignored', reason: 'no-handshake' })
  })
})

describe('old and new, both ways', () => {
  const rows: readonly (readonly [edge: Hybrid, gateway: Hybrid, outcome: string])[] = [
    ['off', 'off', 'classical'],
    ['off', 'preferred', 'classical'],
    ['off', 'required', 'refused by the gateway'],
    ['preferred', 'off', 'classical'],
    ['preferred', 'preferred', 'hybrid'],
    ['preferred', 'required', 'hybrid'],
    ['required', 'off', 'refused by the edge'],
    ['required', 'preferred', 'hybrid'],
    ['required', 'required', 'hybrid'],
  ]

  it.each(rows)('edge %s, gateway %s: %s', (edgeHas, gatewayHas, outcome) => {
    const world = new World()
    const edge = world.node('edge-a')
    const initiator = world.initiator(edge, { hybrid: edgeHas })
    const responder = world.responder({ hybrid: gatewayHas })
    const answers = initiator.start(1, offer(edge)).flatMap(packet => {
      const result = responder.receive(packet, SOURCE)
      if (result.kind === 'established') return [...result.packets]
      return result.kind === 'reply' ? [result.packet] : []
    })
    const results = answers.map(packet => initiator.receive(packet))
    const last = results.at(-1)
    if (outcome === 'classical' || outcome === 'hybrid') {
      if (last?.kind !== 'established') throw new Error(JSON.stringify(results))
      expect(last.payload.capabilities.kem).toBe(outcome === 'hybrid' ? KEM : undefined)
      expect(answers).toHaveLength(outcome === 'hybrid' ? 2 : 1)
    } else {
      const by = outcome === 'refused by the edge' ? 'self' : 'peer'
      expect(last).toMatchObject({ kind: 'refused', by, code: 'hybrid-required' })
    }
    expect(responder.size).toBe(0)
  })

  it('a kind of KEM that this version does not know counts as none', () => {
    const world = new World()
    const edge = world.node('edge-a')
    const initiator = world.initiator(edge)
    const [init] = initiator.start(1, offer(edge, { capabilities: { esp: true, kem: 'ml-kem-2048' } }))
    const { packets } = to('established', world.responder().receive(init, SOURCE))
    expect(back('established', initiator.receive(packets[0])).payload.capabilities).toEqual({ esp: true })
  })

  it('nobody on the way can make the classical one of it: without INIT_KEM there is no answer', () => {
    const { world, edge, initiator, responder } = begin()
    const [init] = initiator.start(1, offer(edge))
    expect(responder.receive(init, SOURCE)).toEqual({ kind: 'waiting' })
    world.now += 2_001
    const other = world.node('edge-b')
    to('established', responder.receive(world.initiator(other).start(2, offer(other))[0], SOURCE))
    expect(responder.later).toEqual([{ kind: 'ignored', reason: 'kem-missing' }])
    expect(responder.size).toBe(0)
    // What was forgotten has not moved the timestamp: the edge's next try, or the very same one, is as good as new.
    expect(responder.timestamps.size).toBe(1)
  })
})

describe('what nobody honest sends', () => {
  const forgeries: readonly (readonly [name: string, forge: (initKem: Buffer) => Buffer])[] = [
    ['a flipped first byte', initKem => flipped(initKem, 8)],
    ['a flipped last byte', initKem => flipped(initKem, INIT_KEM_LENGTH - 1)],
    ['another key, unsealed', () => formatInitKem(1, Buffer.concat([generateKem().raw, Buffer.alloc(16)]))],
  ]

  it.each(forgeries)('%s in an INIT_KEM does not keep the right one out', (_, forge) => {
    const { edge, initiator, responder } = begin()
    const [init, initKem] = pairOf(initiator.start(1, offer(edge)))
    responder.receive(init, SOURCE)
    expect(responder.receive(forge(initKem), SOURCE)).toEqual({ kind: 'waiting' })
    to('established', responder.receive(initKem, SOURCE))
  })

  it('an INIT_KEM of another source, of another session, or of the initiation before', () => {
    const { world, edge, initiator, responder } = begin()
    const [, earlier] = pairOf(initiator.start(1, offer(edge)))
    const [init, initKem] = pairOf(initiator.start(1, offer(edge)))
    responder.receive(init, SOURCE)
    const nothing = { kind: 'ignored', reason: 'no-handshake' }
    expect(responder.receive(initKem, ELSEWHERE)).toEqual(nothing)
    expect(responder.receive(Buffer.from(initKem).fill(9, 4, 8), SOURCE)).toEqual(nothing)
    expect(responder.receive(earlier, SOURCE)).toEqual({ kind: 'waiting' })
    to('established', responder.receive(initKem, SOURCE))
    expect(world.now).toBeGreaterThan(0)
  })

  it('more INIT_KEMs than are looked at', () => {
    const { edge, initiator, responder } = begin()
    const [init, initKem] = pairOf(initiator.start(1, offer(edge)))
    responder.receive(init, SOURCE)
    for (let i = 0; i < 4; i++)
      expect(responder.receive(flipped(initKem, 100 + i), SOURCE)).toEqual({ kind: 'waiting' })
    expect(responder.receive(initKem, SOURCE)).toEqual({ kind: 'ignored', reason: 'no-handshake' })
  })

  it('an authentic INIT_KEM that holds no key', () => {
    const { world, edge, responder } = begin()
    const bad = { ...generateKem(), raw: Buffer.alloc(1184, 0xff) }
    const [init, initKem] = pairOf(
      world.initiator(edge, { hybrid: 'preferred', generateKem: () => bad }).start(1, offer(edge)),
    )
    responder.receive(init, SOURCE)
    expect(responder.receive(initKem, SOURCE)).toEqual({ kind: 'ignored', reason: 'bad-key' })
    expect(responder.size).toBe(0)
  })

  it('forged RESPONSE_KEMs before and behind the RESPONSE', () => {
    const { edge, initiator, responder } = begin()
    const [init, initKem] = pairOf(initiator.start(1, offer(edge)))
    responder.receive(init, SOURCE)
    const [response, responseKem] = pairOf(to('established', responder.receive(initKem, SOURCE)).packets)
    expect(initiator.receive(formatResponseKem(2, responseKem.subarray(8)))).toEqual({
      kind: 'ignored',
      reason: 'no-handshake',
    })
    expect(initiator.receive(flipped(responseKem, 8))).toEqual({ kind: 'waiting' })
    expect(initiator.receive(response)).toEqual({ kind: 'waiting' })
    expect(initiator.receive(response)).toEqual({ kind: 'ignored', reason: 'duplicate' })
    for (const at of [8, 500, 1095, 1111, 1112, RESPONSE_KEM_LENGTH - 1])
      expect(initiator.receive(flipped(responseKem, at)), `byte ${at}`).toEqual({
        kind: 'ignored',
        reason: 'decrypt-failed',
      })
    back('established', initiator.receive(responseKem))
  })

  it('an old INIT played again beside the new one does not take its place', () => {
    const { world, edge, initiator, responder } = begin()
    const [old, oldKem] = pairOf(initiator.start(1, offer(edge)))
    world.now += 5
    const [init, initKem] = pairOf(initiator.start(2, offer(edge)))
    expect(responder.receive(init, SOURCE)).toEqual({ kind: 'waiting' })
    expect(responder.receive(init, SOURCE)).toEqual({ kind: 'ignored', reason: 'duplicate' })
    expect(responder.receive(old, ELSEWHERE)).toEqual({ kind: 'ignored', reason: 'duplicate' })
    to('established', responder.receive(initKem, SOURCE))
    responder.receive(old, ELSEWHERE)
    expect(responder.receive(oldKem, ELSEWHERE)).toMatchObject({ refused: { code: 'timestamp-replayed' } })
  })
})

describe('state at the gateway', () => {
  it('is one initiation for each edge: a newer one takes the place of the one that waits', () => {
    const { edge, initiator, responder } = begin()
    const [first, firstKem] = pairOf(initiator.start(1, offer(edge)))
    const [second, secondKem] = pairOf(initiator.start(2, offer(edge)))
    responder.receive(first, SOURCE)
    expect(responder.receive(second, SOURCE)).toEqual({ kind: 'ignored', reason: 'kem-missing' })
    expect(responder.size).toBe(1)
    expect(responder.receive(firstKem, SOURCE)).toEqual({ kind: 'ignored', reason: 'no-handshake' })
    to('established', responder.receive(secondKem, SOURCE))
  })

  it('is none before the cookie, and both datagrams are sent again with it', () => {
    const world = new World()
    const responder = world.responder({ load: new Load({ now: () => world.now, rate: 0, burst: 0 }) })
    const edge = world.node('edge-a')
    const initiator = world.initiator(edge, { hybrid: 'preferred' })
    const [init, initKem] = pairOf(initiator.start(1, offer(edge)))
    const cookie = to('reply', responder.receive(init, SOURCE))
    expect(responder.receive(initKem, SOURCE)).toEqual({ kind: 'ignored', reason: 'no-handshake' })
    expect(responder.size).toBe(0)
    const [again, againKem] = pairOf(back('cookie', initiator.receive(cookie.packet)).packets)
    expect(responder.receive(again, SOURCE)).toEqual({ kind: 'waiting' })
    const { packets } = to('established', responder.receive(againKem, SOURCE))
    initiator.receive(packets[0])
    back('established', initiator.receive(pairOf(packets)[1]))
  })

  it('ends with the trust that it was begun under', () => {
    const { world, edge, initiator, responder } = begin()
    const [init, initKem] = pairOf(initiator.start(1, offer(edge)))
    responder.receive(init, SOURCE)
    world.trust = { ...world.trust }
    expect(responder.receive(initKem, SOURCE)).toEqual({ kind: 'ignored', reason: 'trust-changed' })
    expect([responder.size, responder.timestamps.size]).toEqual([0, 0])
  })

  it('does not grow with strangers: their INITs are over at once', () => {
    const world = new World()
    const other = new World()
    const responder = world.responder()
    const stranger: TestNode = other.node('edge-x')
    for (let sid = 1; sid <= 50; sid++)
      responder.receive(world.initiator(stranger, { hybrid: 'preferred' }).start(sid, offer(stranger))[0], SOURCE)
    expect(responder.size).toBe(0)
  })
})
