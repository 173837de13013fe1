/**
 *   edge-a ---- INIT ---> gw1      both machines in one process, packets handed over as bytes
 *          <-- RESPONSE --
 */
import { describe, expect, it } from 'vitest'
import { MIN_INIT } from '../../schema/mpinit.ts'
import { generateKeyPair } from './dh.ts'
import { signRevocations } from './grant.ts'
import type { InitiatorResult } from './initiator.ts'
import { responderView } from './keys.ts'
import { Load } from './load.ts'
import type { ResponderResult } from './responder.ts'
import { accepted, ENTERPRISE, offer, SOURCE, START, World } from './testing.ts'

const DAY = 86_400_000

type Kind<R, K> = Extract<R, { kind: K }>

function to<K extends ResponderResult['kind']>(kind: K, result: ResponderResult): Kind<ResponderResult, K> {
  expect(result).toMatchObject({ kind })
  return result as Kind<ResponderResult, K>
}

function back<K extends InitiatorResult['kind']>(kind: K, result: InitiatorResult): Kind<InitiatorResult, K> {
  expect(result).toMatchObject({ kind })
  return result as Kind<InitiatorResult, K>
}

describe('MP_INIT', () => {
  it('gives both sides the same session in one round trip', () => {
    const world = new World()
    const edge = world.node('edge-a')
    const initiator = world.initiator(edge)
    const init = initiator.start(0x1000, offer(edge))
    expect(init).toHaveLength(MIN_INIT)

    const there = to('established', world.responder().receive(init, SOURCE))
    expect(there).toMatchObject({ remoteSid: 0x1000, localSid: 0x2000, grant: edge.body })
    expect(there.init).toEqual({ ...offer(edge), timestamp: START * 1000 })
    expect(there.packet.length).toBeLessThanOrEqual(init.length)

    const here = back('established', initiator.receive(there.packet))
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
    const init = initiator.start(1, offer(edge))
    const { packet } = to('established', world.responder().receive(init, SOURCE))
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
    const first = world.initiator(edge).start(1, offer(edge))
    world.now += 5
    const second = world.initiator(edge).start(2, offer(edge))
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
    to('established', responder.receive(world.initiator(edge).start(1, offer(edge)), SOURCE))
    world.now -= DAY
    const initiator = world.initiator(edge)
    const refusal = to('reply', responder.receive(initiator.start(2, offer(edge)), SOURCE))
    expect(initiator.receive(refusal.packet)).toMatchObject({ kind: 'refused', by: 'peer', code: 'timestamp-replayed' })
    to('established', responder.receive(initiator.start(3, offer(edge)), SOURCE))
  })

  it('ignores late, foreign and repeated answers', () => {
    const world = new World()
    const edge = world.node('edge-a')
    const responder = world.responder()
    const initiator = world.initiator(edge)
    const late = to('established', responder.receive(initiator.start(1, offer(edge)), SOURCE))
    const init = initiator.start(1, offer(edge))
    expect(initiator.receive(late.packet)).toEqual({ kind: 'ignored', reason: 'decrypt-failed' })
    const { packet } = to('established', responder.receive(init, SOURCE))
    expect(world.initiator(edge).receive(packet)).toEqual({ kind: 'ignored', reason: 'no-handshake' })
    back('established', initiator.receive(packet))
    expect(initiator.receive(packet)).toEqual({ kind: 'ignored', reason: 'no-handshake' })
    expect(initiator.receive(init)).toEqual({ kind: 'ignored', reason: 'wrong-type' })
  })

  it('does not hear an edge that has another key for the gateway', () => {
    const world = new World()
    const edge = world.node('edge-a')
    const initiator = world.initiator(edge, { responderStatic: generateKeyPair().publicKey.raw })
    expect(world.responder().receive(initiator.start(1, offer(edge)), SOURCE)).toEqual({
      kind: 'ignored',
      reason: 'bad-mac1',
    })
  })
})

describe('refusals by the responder', () => {
  const world = new World()
  const other = new World()
  const copied = world.node('edge-b')
  it.each([
    [
      'grant-expired',
      world.node('edge-a', { expires: START / 1000 - 7_201 }),
      'grant of edge-a expired 2 h ago; is this clock right?',
    ],
    ['grant-not-yet-valid', world.node('edge-a', { notBefore: START / 1000 + 86_400 }), 'becomes valid in 1 d'],
    ['grant-invalid', other.node('edge-a'), 'is it from another orchestrator?'],
    [
      'grant-key-mismatch',
      { ...world.node('edge-a'), grant: copied.grant },
      'grant of edge-b is for another static key',
    ],
    ['role-not-allowed', world.node('gw2', { role: 'gateway' }), 'gw2 is gateway'],
    ['role-not-allowed', world.node('edge-a', { enterprise: null }), 'only edges of an enterprise'],
  ] as const)('%s', (code, edge, text) => {
    const responder = world.responder({
      accept: () => {
        throw new Error('accept was asked about a bad grant')
      },
    })
    const initiator = world.initiator(edge)
    const reply = to('reply', responder.receive(initiator.start(1, offer(edge)), SOURCE))
    const refused = back('refused', initiator.receive(reply.packet))
    expect(refused).toMatchObject({ by: 'peer', code })
    expect(refused.message).toContain(text)
    expect(responder.timestamps.size).toBe(0)
  })

  it('grant-revoked', () => {
    const world = new World()
    const edge = world.node('edge-a', { serial: 3 })
    const revoke = (upTo: number, serial: number) =>
      signRevocations(
        { version: 1, serial, issued: START / 1000, revoked: [{ node: edge.body.node, upTo }] },
        world.signer,
      )
    const responder = world.responder()
    const initiator = world.initiator(edge)
    world.trust = { ...world.trust, revocations: revoke(2, 1) }
    to('established', responder.receive(initiator.start(1, offer(edge)), SOURCE))
    world.trust = { ...world.trust, revocations: revoke(3, 2) }
    const reply = to('reply', responder.receive(initiator.start(1, offer(edge)), SOURCE))
    expect(initiator.receive(reply.packet)).toMatchObject({
      code: 'grant-revoked',
      message: expect.stringContaining('grant 3 of edge-a'),
    })
  })

  it('what the caller says, with the difference of the clocks', () => {
    const world = new World()
    const edge = world.node('edge-a')
    const initiator = world.initiator(edge, { now: () => START - DAY })
    const responder = world.responder({
      accept: () => ({ localSid: 0, payload: { ok: false, code: 'duplicate-node', message: 'edge-a is here twice' } }),
    })
    const reply = to('reply', responder.receive(initiator.start(1, offer(edge)), SOURCE))
    expect(reply.refused).toMatchObject({ code: 'duplicate-node', grant: edge.body })
    expect(initiator.receive(reply.packet)).toEqual({
      kind: 'refused',
      by: 'peer',
      code: 'duplicate-node',
      message: "edge-a is here twice (this node's clock is 1 d behind the gateway's)",
    })
  })

  it('full, when the answer would be longer than the question, and undoes the acceptance', () => {
    const world = new World()
    const prefixes = Array.from({ length: 100 }, (_, i) => `10.${i}.0.0/16`)
    const gateway = { ...world.gateway, grant: world.node('gw1', { ...world.gateway.body, prefixes }).grant }
    const undone: number[] = []
    const responder = world.responder({ undo: acceptance => undone.push(acceptance.localSid) }, gateway)
    const edge = world.node('edge-a')
    const initiator = world.initiator(edge)
    const reply = to('reply', responder.receive(initiator.start(1, offer(edge)), SOURCE))
    expect(initiator.receive(reply.packet)).toMatchObject({ kind: 'refused', code: 'full' })
    expect(undone).toEqual([0x2000])
  })
})

describe('refusals by the initiator', () => {
  it.each([
    ['grant-expired', { expires: START / 1000 - 86_400 }],
    ['role-not-allowed', { role: 'edge' as const }],
    ['grant-key-mismatch', { staticKey: generateKeyPair().publicKey.raw }],
  ])('%s', (code, change) => {
    const world = new World()
    const gateway = { ...world.gateway, grant: world.node('gw1', { ...world.gateway.body, ...change }).grant }
    const edge = world.node('edge-a')
    const initiator = world.initiator(edge)
    const { packet } = to('established', world.responder({}, gateway).receive(initiator.start(1, offer(edge)), SOURCE))
    expect(initiator.receive(packet)).toMatchObject({ kind: 'refused', by: 'self', code })
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
    const init = world.initiator(edge).start(1, offer(edge, { subnets }))
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
    const init = world.initiator(edge).start(1, offer(edge, { links }))
    const { packet } = to('established', world.responder().receive(init, source))
    expect(packet.length).toBeLessThanOrEqual(init.length)
  })

  it('grows for a grant of a thousand prefixes and throws only beyond the limit', () => {
    const world = new World()
    const prefixes = (tail: string) =>
      Array.from({ length: 1024 }, (_, i) => `2001:db8:${(i + 4096).toString(16)}:${tail}`)
    const edge = world.node('edge-a', { prefixes: prefixes('ffff::/64') })
    const init = world.initiator(edge).start(1, offer(edge))
    expect(init.length).toBeGreaterThan(20_000)
    to('established', world.responder().receive(init, SOURCE))
    const huge = world.node('edge-a', {
      prefixes: prefixes('ffff:ffff:ffff:ffff:ffff/128'),
    })
    expect(() => world.initiator(huge).start(1, offer(huge))).toThrow('more prefixes than one packet carries')
  })
})

describe('under load', () => {
  const busy = (world: World) => new Load({ now: () => world.now, rate: 1, burst: 1, sourceRate: 1, sourceBurst: 2 })

  it('demands a cookie first and then serves', () => {
    const world = new World()
    const responder = world.responder({ load: busy(world) })
    const edge = world.node('edge-a')
    to('established', responder.receive(world.initiator(edge).start(1, offer(edge)), SOURCE))

    world.now += 10
    const initiator = world.initiator(edge)
    const init = initiator.start(2, offer(edge))
    const cookie = to('reply', responder.receive(init, SOURCE))
    expect(cookie.refused).toBeUndefined()
    expect(cookie.packet.length).toBeLessThan(init.length)
    const again = back('cookie', initiator.receive(cookie.packet))
    expect(initiator.receive(cookie.packet)).toEqual({ kind: 'ignored', reason: 'bad-cookie' })
    const elsewhere = responder.receive(again.packet, { ...SOURCE, port: 9 })
    expect(to('reply', elsewhere).packet).toHaveLength(cookie.packet.length)
    const there = to('established', responder.receive(again.packet, SOURCE))
    back('established', initiator.receive(there.packet))
  })

  it('keeps the cookie for the next initiation, limits one address, and lets the cookie grow old', () => {
    const world = new World()
    const responder = world.responder({ load: busy(world) })
    const edge = world.node('edge-a')
    const initiator = world.initiator(edge)
    const send = (sid: number) => responder.receive(initiator.start(sid, offer(edge)), SOURCE)
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
      const cookie = to('reply', responder.receive(initiator.start(1, offer(edge)), SOURCE))
      const { packet } = back('cookie', initiator.receive(cookie.packet))
      world.now += wait
      return responder.receive(packet, SOURCE).kind
    }
    expect(withCookie(119_000)).toBe('established')
    expect(withCookie(120_000)).toBe('established')
    expect(withCookie(241_000)).toBe('reply')
  })
})

it('accepts what `accepted` makes for every link', () => {
  const world = new World()
  const edge = world.node('edge-a')
  const responder = world.responder({ accept: init => ({ localSid: 7, payload: accepted(init) }) })
  expect(to('established', responder.receive(world.initiator(edge).start(1, offer(edge)), SOURCE)).localSid).toBe(7)
})
