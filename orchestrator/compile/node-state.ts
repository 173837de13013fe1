/** Stored intent -> what one node is told. Pure: the same intent gives the same state, byte for byte. */
import type { Location, Role, Security } from '../../schema/common.ts'
import type { NodeState } from '../../schema/node-state.ts'
import { type GatewayIntent, rankGateways } from './gateway-metric.ts'

/** All that one node's state depends on, read at one moment. */
export interface NodeIntent {
  node: { id: string; name: string; role: Role; revision: number; location: Location | null }
  /** Newest grant, a signed envelope in base64. */
  grant: string
  enterprise: { id: string; name: string; security: Security; vpnEnabled: boolean } | null
  /** `gateways`: ids of those that may hear of the subnet; null: all. */
  subnets: readonly { prefix: string; enabled: boolean; gateways: readonly string[] | null }[]
  gateways: readonly GatewayIntent[]
  /** Newest policy of the enterprise, a signed envelope in base64. */
  policy: string | null
  /** Base64, as in node state. */
  trust: { anchors: readonly string[]; revocations: string | null }
}

export function compileNodeState(intent: NodeIntent): NodeState {
  const { node, enterprise, trust } = intent
  const common = {
    revision: node.revision,
    node: node.id,
    name: node.name,
    role: node.role,
    grant: intent.grant,
    trust: { anchors: [...trust.anchors], revocations: trust.revocations },
  }
  // Gateways are configured by edges (DESIGN §2 rule 1): of tenants they are told nothing here.
  if (node.role === 'gateway' || enterprise === null) return { ...common, gateways: [], policy: null, vpn: null }
  return {
    ...common,
    gateways: rankGateways(intent.gateways, node.location),
    policy: intent.policy,
    vpn: {
      enterprise: enterprise.id,
      enterpriseName: enterprise.name,
      enabled: enterprise.vpnEnabled,
      security: enterprise.security,
      subnets: intent.subnets.map(subnet => ({
        prefix: subnet.prefix,
        reachable: enterprise.vpnEnabled && subnet.enabled,
        ...(subnet.gateways && { gateways: [...subnet.gateways] }),
      })),
    },
  }
}
