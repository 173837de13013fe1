/** Identities without an orchestrator: one anchor signs grants for any number of nodes. For simulations and namespace tests. */
import { generateKeyPairSync, randomUUID } from 'node:crypto'
import { generateKeyPair, type KeyPair } from '../agent/mp/dh.ts'
import { signGrant, signRevocations } from '../agent/mp/grant.ts'
import { signPolicy } from '../agent/mp/policy.ts'
import { encodeSigned, signingKey } from '../agent/mp/signed.ts'
import type { Security, Subnet } from '../schema/common.ts'
import type { GrantBody } from '../schema/grant.ts'
import type { GatewayEntry, NodeState } from '../schema/node-state.ts'
import { NO_POLICY, type PolicyBody } from '../schema/policy.ts'

export interface TestNode {
  staticKey: KeyPair
  state: NodeState
}

export interface TestEnterprise {
  id: string
  name: string
  security: Security
}

const DAY = 86_400

export class Anchor {
  readonly #key = signingKey(generateKeyPairSync('ed25519').privateKey)
  #serial = 0

  enterprise(name: string, security: Security): TestEnterprise {
    return { id: randomUUID(), name, security }
  }

  gateway(name: string, pool: string): TestNode {
    const staticKey = generateKeyPair()
    const node = randomUUID()
    const grant = this.#grant({ node, name, role: 'gateway', enterprise: undefined, staticKey, prefixes: [pool] })
    return {
      staticKey,
      state: { ...this.#common(node, name, grant), role: 'gateway', gateways: [], policy: null, vpn: null },
    }
  }

  edge(
    name: string,
    enterprise: TestEnterprise,
    subnets: Subnet[],
    gateways: GatewayEntry[],
    change: Partial<GrantBody> = {},
  ): TestNode {
    const staticKey = generateKeyPair()
    const node = change.node ?? randomUUID()
    const prefixes = subnets.map(({ prefix }) => prefix)
    const grant = this.#grant({ node, name, role: 'edge', enterprise, staticKey, prefixes }, change)
    const vpn = {
      enterprise: enterprise.id,
      enterpriseName: enterprise.name,
      enabled: subnets.some(({ reachable }) => reachable),
      security: enterprise.security,
      subnets,
    }
    return { staticKey, state: { ...this.#common(node, name, grant), role: 'edge', gateways, policy: null, vpn } }
  }

  /** The enterprise's policy number `serial`, as node state carries it. @param change what is another than in a policy that wants nothing */
  policy(enterprise: TestEnterprise, serial: number, change: Partial<PolicyBody> = {}): string {
    const issued = Math.floor(Date.now() / 1000)
    const what = { internet: false, zones: [], chains: [], rules: [] }
    const { id, security } = enterprise
    const body: PolicyBody = {
      version: 1,
      enterprise: id,
      serial,
      oldest: NO_POLICY,
      issued,
      security,
      ...what,
      ...change,
    }
    return base64(encodeSigned(signPolicy(body, this.#key)))
  }

  revocations(nodes: readonly string[]): string {
    this.#serial += 1
    const now = Math.floor(Date.now() / 1000)
    const revoked = nodes.map(node => ({ node, upTo: 1_000_000 }))
    return base64(encodeSigned(signRevocations({ version: 1, serial: this.#serial, issued: now, revoked }, this.#key)))
  }

  #common(node: string, name: string, grant: string) {
    return { revision: 1, node, name, grant, trust: { anchors: [base64(this.#key.publicKey)], revocations: null } }
  }

  #grant(
    who: {
      node: string
      name: string
      role: GrantBody['role']
      enterprise: TestEnterprise | undefined
      staticKey: KeyPair
      prefixes: string[]
    },
    change: Partial<GrantBody> = {},
  ): string {
    const now = Math.floor(Date.now() / 1000)
    const body: GrantBody = {
      version: 1,
      enterprise: who.enterprise?.id ?? null,
      enterpriseName: who.enterprise?.name ?? null,
      node: who.node,
      nodeName: who.name,
      role: who.role,
      staticKey: Uint8Array.from(who.staticKey.publicKey.raw),
      prefixes: who.prefixes,
      security: who.enterprise?.security ?? 'esp',
      serial: 1,
      notBefore: now - 60,
      expires: now + DAY,
      ...change,
    }
    return base64(encodeSigned(signGrant(body, this.#key)))
  }
}

export function gatewayEntry(gateway: TestNode, address: string, metric = 1): GatewayEntry {
  return {
    node: gateway.state.node,
    name: gateway.state.name,
    staticKey: base64(gateway.staticKey.publicKey.raw),
    endpoints: [{ address, port: 2426 }],
    metric,
    distanceKm: null,
    drained: false,
  }
}

/** The same node after the toggle. */
export function toggled(state: NodeState, enabled: boolean): NodeState {
  if (!state.vpn) return state
  const subnets = state.vpn.subnets.map(({ prefix }) => ({ prefix, reachable: enabled }))
  return { ...state, revision: state.revision + 1, vpn: { ...state.vpn, enabled, subnets } }
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64')
}
