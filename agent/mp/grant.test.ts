import { generateKeyPairSync, sign } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import type { GrantBody, Signed } from '../../schema/grant.ts'
import { CLOCK_TOLERANCE, GRANT_CONTEXT } from '../../schema/grant.ts'
import { encodeCbor } from './cbor.ts'
import { isRevoked, prefixAllowed, signGrant, signRevocations, verifyGrant, verifyRevocations } from './grant.ts'
import { decodeSigned, encodeSigned, keyId, signingKey } from './signed.ts'
import { START, World } from './testing.ts'

const NOW = START / 1000
const world = new World()
const edge = world.node('edge-a', { serial: 4 })
const revocations = (serial: number, revoked: { node: string; upTo: number }[], key = world.signer): Signed =>
  signRevocations({ version: 1, serial, issued: NOW, revoked }, key)
const other = signingKey(generateKeyPairSync('ed25519').privateKey)

function verdict(change: Partial<GrantBody>, now = NOW): string {
  const result = verifyGrant(world.node('edge-a', change).grant, world.trust, { now })
  return result.ok ? 'ok' : result.code
}

describe('verifyGrant', () => {
  it('gives back what was signed, also over the wire', () => {
    const sent = decodeSigned(encodeSigned(edge.grant))
    if (!sent.ok) throw new Error(sent.problem)
    expect(verifyGrant(sent.value, world.trust, { now: NOW })).toEqual({ ok: true, grant: edge.body })
  })

  it('lets clocks differ by the tolerance and no more', () => {
    expect(verdict({ expires: NOW - CLOCK_TOLERANCE + 1 })).toBe('ok')
    expect(verdict({ expires: NOW - CLOCK_TOLERANCE })).toBe('grant-expired')
    expect(verdict({ notBefore: NOW + CLOCK_TOLERANCE })).toBe('ok')
    expect(verdict({ notBefore: NOW + CLOCK_TOLERANCE + 1 })).toBe('grant-not-yet-valid')
  })

  it.each([
    [{ expires: NOW - 7200 }, 'grant of edge-a expired 2 h ago; is this clock right? Else renew the grant'],
    [{ notBefore: NOW + 86_400 * 3 }, 'grant of edge-a becomes valid in 3 d; is this clock right?'],
  ])('says what to do: %o', (change, message) => {
    expect(verifyGrant(world.node('edge-a', change).grant, world.trust, { now: NOW })).toMatchObject({
      ok: false,
      message,
    })
  })

  it('refuses any flipped bit of body, key id and signature, and quotes nothing of it', () => {
    for (const part of ['body', 'keyId', 'signature'] as const) {
      for (let at = 0; at < edge.grant[part].length; at++) {
        const bytes = Uint8Array.from(edge.grant[part])
        bytes[at] = (bytes[at] ?? 0) ^ (1 << (at & 7))
        const result = verifyGrant({ ...edge.grant, [part]: bytes }, world.trust, { now: NOW })
        expect(result).toMatchObject({ ok: false, code: 'grant-invalid' })
        expect(result.ok || result.message).not.toContain('edge-a')
      }
    }
  })

  it('refuses the signature of one context in another', () => {
    const list = revocations(1, [])
    expect(verifyGrant(list, world.trust, { now: NOW })).toMatchObject({
      code: 'grant-invalid',
      message: expect.stringContaining('does not match its signature'),
    })
    expect(verifyRevocations(edge.grant, world.trust.anchors)).toMatchObject({
      ok: false,
      message: expect.stringContaining('does not match its signature'),
    })
  })

  it('takes either anchor while the orchestrator changes its key, and neither afterwards', () => {
    const grant = signGrant(edge.body, other)
    const both = { anchors: [world.signer.publicKey, other.publicKey], revocations: undefined }
    expect(verifyGrant(grant, both, { now: NOW }).ok).toBe(true)
    expect(verifyGrant(edge.grant, both, { now: NOW }).ok).toBe(true)
    expect(verifyGrant(grant, world.trust, { now: NOW })).toMatchObject({
      code: 'grant-invalid',
      message: expect.stringContaining(`signed by ${Buffer.from(keyId(other.publicKey)).toString('hex')}`),
    })
    expect(verifyGrant(grant, { anchors: [], revocations: undefined }, { now: NOW }).ok).toBe(false)
  })

  it('tells a signed grant that it does not understand from a forged one', () => {
    const body = encodeCbor({ ...edge.body, version: 2 })
    const signature = sign(null, Buffer.concat([Buffer.from(GRANT_CONTEXT), body]), world.signer.privateKey)
    const newer = { body, keyId: keyId(world.signer.publicKey), signature }
    expect(verifyGrant(newer, world.trust, { now: NOW })).toMatchObject({
      code: 'grant-invalid',
      message: expect.stringContaining('signed but not understood (version:'),
    })
  })

  it('signs nothing that nobody would accept', () => {
    expect(() => signGrant({ ...edge.body, prefixes: ['10.0.0.1/8'] }, world.signer)).toThrow('zero host bits')
  })

  it('refuses revoked serials, all grants while the list is forged, and forgets neither per bundle', () => {
    const check = (list: Signed) => {
      const result = verifyGrant(edge.grant, { ...world.trust, revocations: list }, { now: NOW })
      return result.ok ? 'ok' : result.code
    }
    const { node } = edge.body
    expect(check(revocations(1, [{ node, upTo: 3 }]))).toBe('ok')
    expect(check(revocations(1, [{ node, upTo: 4 }]))).toBe('grant-revoked')
    expect(check(revocations(1, [{ node: world.gateway.body.node, upTo: 9 }]))).toBe('ok')
    expect(check(revocations(1, [], other))).toBe('grant-invalid')
    const trust = { ...world.trust, revocations: revocations(1, [{ node, upTo: 4 }]) }
    expect([1, 2].map(() => verifyGrant(edge.grant, trust, { now: NOW }).ok)).toEqual([false, false])
  })
})

describe('isRevoked', () => {
  const trust = (list: Signed | undefined) => ({ ...world.trust, revocations: list })

  it('names who is on the list, and everybody when the list is not the orchestrator’s', () => {
    const list = revocations(1, [{ node: edge.body.node, upTo: 4 }])
    const someone = '99999999-0000-4000-8000-000000000000'
    expect([edge.body.node, someone].map(node => isRevoked(trust(list), node))).toEqual([true, false])
    expect(isRevoked(trust(undefined), edge.body.node)).toBe(false)
    expect(isRevoked(trust(revocations(1, [], other)), someone)).toBe(true)
  })
})

describe('verifyRevocations', () => {
  it('never goes back', () => {
    const known = { version: 1 as const, serial: 5, issued: NOW, revoked: [] }
    const serials = [4, 5, 6].map(serial => verifyRevocations(revocations(serial, []), world.trust.anchors, known).ok)
    expect(serials).toEqual([false, true, true])
    expect(verifyRevocations(revocations(4, []), world.trust.anchors, known)).toMatchObject({
      message: 'revocations 4 are older than the 5 that this node has',
    })
  })
})

it.each([
  ['10.1.0.0/16', true],
  ['10.1.255.0/24', true],
  ['10.1.2.3/32', true],
  ['10.0.0.0/15', false],
  ['10.2.0.0/16', false],
  ['0.0.0.0/0', false],
  ['2001:db8:1::/48', true],
  ['2001:db8:1:ffff::/64', true],
  ['2001:db8::/32', false],
  ['::/0', false],
  ['::ffff:10.1.0.0/112', false],
  ['nonsense', false],
])('prefixAllowed %s: %s', (prefix, allowed) => {
  expect(prefixAllowed(edge.body, prefix)).toBe(allowed)
})

it('signingKey takes Ed25519 only', () => {
  expect(() => signingKey(generateKeyPairSync('x25519').privateKey)).toThrow('Ed25519')
})
