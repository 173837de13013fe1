/** What the tests of this folder share: an orchestrator's key, nodes with grants, and a clock that stands still. Not part of the product. */
import { generateKeyPairSync, randomUUID } from 'node:crypto'
import { expect } from 'vitest'
import type { GrantBody, Signed, TrustBundle } from '../../schema/grant.ts'
import type { InitPayload } from '../../schema/mpinit.ts'
import { generateKeyPair, type KeyPair } from './dh.ts'
import { signGrant } from './grant.ts'
import { createInitiator, type Initiator, type InitiatorOptions, type InitiatorResult } from './initiator.ts'
import type { ResponderResult } from './responder.ts'
import { type SigningKey, signingKey } from './signed.ts'
import { accepted, offerOf } from './testing-payloads.ts'
import { type TestOptions, TestResponder } from './testing-responder.ts'

/** 2026-01-01 00:00 UTC. */
export const START = 1_767_225_600_000
export const ENTERPRISE = '7c5b6a6e-3d7e-4f0b-9d7c-0d9d5a3f1e11'
export const SOURCE = { address: '192.0.2.7', port: 2426 }

export interface TestNode {
  key: KeyPair
  body: GrantBody
  grant: Signed
}

export class World {
  now = START
  readonly signer: SigningKey = signingKey(generateKeyPairSync('ed25519').privateKey)
  trust: TrustBundle = { anchors: [this.signer.publicKey], revocations: undefined }
  readonly gateway = this.node('gw1', { role: 'gateway', enterprise: null, enterpriseName: null, prefixes: [] })

  node(nodeName: string, change: Partial<GrantBody> = {}, signer = this.signer): TestNode {
    const key = generateKeyPair()
    const body: GrantBody = {
      version: 1,
      enterprise: ENTERPRISE,
      enterpriseName: 'acme',
      node: randomUUID(),
      nodeName,
      role: 'edge',
      staticKey: key.publicKey.raw,
      prefixes: ['10.1.0.0/16', '2001:db8:1::/48'],
      security: 'esp',
      serial: 1,
      notBefore: START / 1000 - 86_400,
      expires: START / 1000 + 30 * 86_400,
      ...change,
    }
    return { key, body, grant: signGrant(body, signer) }
  }

  /** Without ML-KEM unless asked for it: one datagram each way. */
  initiator(node: TestNode, change: Partial<InitiatorOptions> = {}): Initiator {
    return createInitiator({
      staticKey: node.key,
      responderStatic: this.gateway.key.publicKey.raw,
      trust: () => this.trust,
      now: () => this.now,
      hybrid: 'off',
      ...change,
    })
  }

  responder(change: Partial<TestOptions> = {}, gateway = this.gateway): TestResponder {
    return new TestResponder({
      staticKey: gateway.key,
      ownGrant: () => gateway.grant,
      trust: () => this.trust,
      now: () => this.now,
      accept: init => ({ localSid: 0x2000, payload: accepted(init) }),
      ...change,
    })
  }
}

export function offer(node: TestNode, change: Partial<InitPayload> = {}): Omit<InitPayload, 'timestamp'> {
  return offerOf(node.grant, change)
}

type Kind<R, K> = Extract<R, { kind: K }>

/** The result, which has to be of this kind. */
export function to<K extends ResponderResult['kind']>(
  kind: K,
  result: ResponderResult | { kind: 'waiting' },
): Kind<ResponderResult, K> {
  expect(result).toMatchObject({ kind })
  return result as Kind<ResponderResult, K>
}

/** The same for the initiator. */
export function back<K extends InitiatorResult['kind']>(kind: K, result: InitiatorResult): Kind<InitiatorResult, K> {
  expect(result).toMatchObject({ kind })
  return result as Kind<InitiatorResult, K>
}
