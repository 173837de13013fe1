/**
 *   edge-a ---- INIT ---> gw1      both machines in one process, packets handed over as bytes
 *          <-- RESPONSE --
 */
import { describe, expect, it } from 'vitest'
import { generateKeyPair } from './dh.ts'
import { signRevocations } from './grant.ts'
import { back, offer, SOURCE, START, to, World } from './testing.ts'

const DAY = 86_400_000

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
    const reply = to('reply', responder.receive(initiator.start(1, offer(edge))[0], SOURCE))
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
    to('established', responder.receive(initiator.start(1, offer(edge))[0], SOURCE))
    world.trust = { ...world.trust, revocations: revoke(3, 2) }
    const reply = to('reply', responder.receive(initiator.start(1, offer(edge))[0], SOURCE))
    expect(initiator.receive(reply.packet)).toMatchObject({
      code: 'grant-revoked',
      message: expect.stringContaining('grant 3 of edge-a'),
    })
  })

  it('clock-ahead, and takes the same edge once its clock is right', () => {
    const world = new World()
    const edge = world.node('edge-a')
    let clock = START + 31 * DAY
    const initiator = world.initiator(edge, { now: () => clock })
    const responder = world.responder()
    const reply = to('reply', responder.receive(initiator.start(1, offer(edge))[0], SOURCE))
    expect(initiator.receive(reply.packet)).toMatchObject({
      code: 'clock-ahead',
      message: "the clock of edge-a is far ahead: set it right (this node's clock is 31 d ahead of the gateway's)",
    })
    expect(responder.timestamps.size).toBe(0)
    clock = START
    to('established', responder.receive(initiator.start(2, offer(edge))[0], SOURCE))
    clock = START + 29 * DAY
    to('established', responder.receive(initiator.start(3, offer(edge))[0], SOURCE))
  })

  it('what the caller says, with the difference of the clocks', () => {
    const world = new World()
    const edge = world.node('edge-a')
    const initiator = world.initiator(edge, { now: () => START - DAY })
    const responder = world.responder({
      accept: () => ({ localSid: 0, payload: { ok: false, code: 'duplicate-node', message: 'edge-a is here twice' } }),
    })
    const reply = to('reply', responder.receive(initiator.start(1, offer(edge))[0], SOURCE))
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
    const reply = to('reply', responder.receive(initiator.start(1, offer(edge))[0], SOURCE))
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
    const {
      packets: [packet],
    } = to('established', world.responder({}, gateway).receive(initiator.start(1, offer(edge))[0], SOURCE))
    expect(initiator.receive(packet)).toMatchObject({ kind: 'refused', by: 'self', code })
  })
})
