/** Stored intent -> what one node is told. Pure: the same intent gives the same state, byte for byte. */
import type { Role, Security } from '../../schema/common.ts'
import type { GatewayEntry, NodeState } from '../../schema/node-state.ts'

/** All that one node's state depends on, read at one moment. */
export interface NodeIntent {
  node: { id: string; name: string; role: Role; revision: number }
  /** Newest grant, as a signed envelope. */
  grant: Uint8Array
  enterprise: { id: string; name: string; security: Security; vpnEnabled: boolean } | null
  subnets: readonly { prefix: string; enabled: boolean }[]
  gateways: readonly GatewayEntry[]
  trust: { anchors: readonly Uint8Array[]; revocations: Uint8Array | null }
}

export function compileNodeState(intent: NodeIntent): NodeState {
  const { node, enterprise, trust } = intent
  const common = {
    revision: node.revision,
    node: node.id,
    name: node.name,
    role: node.role,
    grant: base64(intent.grant),
    trust: { anchors: trust.anchors.map(base64), revocations: trust.revocations ? base64(trust.revocations) : null },
  }
  // Gateways are configured by edges (DESIGN §2 rule 1): of tenants they are told nothing here.
  if (node.role === 'gateway' || enterprise === null) return { ...common, gateways: [], vpn: null }
  return {
    ...common,
    gateways: [...intent.gateways],
    vpn: {
      enterprise: enterprise.id,
      enterpriseName: enterprise.name,
      enabled: enterprise.vpnEnabled,
      security: enterprise.security,
      subnets: intent.subnets.map(subnet => ({
        prefix: subnet.prefix,
        reachable: enterprise.vpnEnabled && subnet.enabled,
      })),
    },
  }
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('base64')
}
