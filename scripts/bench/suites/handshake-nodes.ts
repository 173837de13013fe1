/** An orchestrator's key, a gateway, and edges with grants of their own, for the suite `handshake`. */
import { generateKeyPairSync, randomUUID } from 'node:crypto'
import { generateKeyPair, type KeyPair } from '../../../agent/mp/dh.ts'
import { signGrant } from '../../../agent/mp/grant.ts'
import { createInitiator, type Initiator } from '../../../agent/mp/initiator.ts'
import { Load } from '../../../agent/mp/load.ts'
import type { Datagrams } from '../../../agent/mp/packets.ts'
import { createResponder, type OpenCrypto, type Responder, type ResponderResult } from '../../../agent/mp/responder.ts'
import { type SigningKey, signingKey } from '../../../agent/mp/signed.ts'
import { accepted, offerOf } from '../../../agent/mp/testing-payloads.ts'
import type { GrantBody, Signed, TrustBundle } from '../../../schema/grant.ts'
import type { Hybrid, InitPayload } from '../../../schema/mpinit.ts'

const DAY = 86_400
/** No cookies and no limits: what is measured is work, not refusal. */
const UNLIMITED = { rate: 1e9, burst: 1e9, sourceRate: 1e9, sourceBurst: 1e9 }

export interface Edge {
  readonly key: KeyPair
  readonly body: GrantBody
}

/** An edge's initiation: as bytes, and whom to give the answer. */
export interface Initiation {
  readonly initiator: Initiator
  readonly packets: Datagrams
  readonly source: { address: string; port: number }
}

export class Nodes {
  readonly #signer: SigningKey = signingKey(generateKeyPairSync('ed25519').privateKey)
  readonly #trust: TrustBundle = { anchors: [this.#signer.publicKey], revocations: undefined }
  readonly #gateway: Edge
  readonly #gatewayGrant: Signed
  readonly #edges: readonly Edge[]
  #serial = 0
  #grants: readonly Signed[] = []

  constructor(edges: number) {
    this.#gateway = node('gateway', 'gw1')
    this.#gatewayGrant = signGrant(this.#gateway.body, this.#signer)
    this.#edges = Array.from({ length: edges }, (_, i) => node('edge', `edge-${i}`))
  }

  responder(done: (result: ResponderResult, from: Initiation['source']) => void, crypto?: OpenCrypto): Responder {
    return createResponder({
      staticKey: this.#gateway.key,
      ownGrant: () => this.#gatewayGrant,
      trust: () => this.#trust,
      now: Date.now,
      load: new Load({ now: Date.now, ...UNLIMITED }),
      accept: init => ({ localSid: 0x2000, payload: accepted(init) }),
      done,
      ...(crypto && { crypto }),
    })
  }

  /** One of each edge. @param grants `new`: each signature has to be checked, as of an edge that was never seen; `known`: as in a renewal */
  initiations(hybrid: Hybrid, grants: 'new' | 'known'): Initiation[] {
    if (grants === 'new' || this.#grants.length === 0) this.#signGrants()
    return this.#edges.flatMap(({ key }, i) => {
      const [initiator, grant] = [this.#initiator(key, hybrid), this.#grants[i]]
      if (!grant) return []
      return { initiator, packets: initiator.start(i + 1, offer(grant)), source: { address: '192.0.2.7', port: i + 1 } }
    })
  }

  #signGrants(): void {
    const serial = ++this.#serial
    this.#grants = this.#edges.map(({ body }) => signGrant({ ...body, serial }, this.#signer))
  }

  #initiator(staticKey: KeyPair, hybrid: Hybrid): Initiator {
    const responderStatic = this.#gateway.key.publicKey.raw
    return createInitiator({ staticKey, responderStatic, trust: () => this.#trust, now: Date.now, hybrid })
  }
}

function node(role: 'edge' | 'gateway', nodeName: string): Edge {
  const key = generateKeyPair()
  const now = Math.floor(Date.now() / 1000)
  const body: GrantBody = {
    version: 1,
    enterprise: role === 'edge' ? '7c5b6a6e-3d7e-4f0b-9d7c-0d9d5a3f1e11' : null,
    enterpriseName: role === 'edge' ? 'acme' : null,
    node: randomUUID(),
    nodeName,
    role,
    staticKey: key.publicKey.raw,
    prefixes: role === 'edge' ? ['10.1.0.0/16', '2001:db8:1::/48'] : ['100.64.0.0/18'],
    security: 'esp',
    serial: 1,
    notBefore: now - DAY,
    expires: now + DAY,
  }
  return { key, body }
}

/** An edge with two links and two subnets. */
function offer(grant: Signed): Omit<InitPayload, 'timestamp'> {
  return offerOf(grant, {
    subnets: [
      { prefix: '10.1.1.0/24', reachable: true },
      { prefix: '2001:db8:1:1::/64', reachable: true },
    ],
    links: [
      { path: 0, name: 'inet', family: 4, mtu: 1500, spi: 0x1000 },
      { path: 1, name: 'lte', family: 6, mtu: 1500, spi: 0x1001 },
    ],
  })
}
