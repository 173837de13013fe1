/** What an uplink needs of the edge it belongs to. */
import type { Subnet } from '../../schema/common.ts'
import type { Signed, TrustBundle } from '../../schema/grant.ts'
import type { NodeEvent } from '../../schema/node-state.ts'
import type { RouteMessage } from '../../schema/route-messages.ts'
import type { KeyPair } from '../mp/dh.ts'
import type { Prober } from '../mp/prober.ts'
import type { TimestampSource } from '../mp/timestamp.ts'
import type { Node } from '../node/node.ts'
import type { PathControl } from '../paths/control.ts'
import type { Uplink } from './uplink.ts'

export interface UplinkContext {
  node: Node
  prober: Prober
  paths: PathControl
  staticKey: KeyPair
  timestamps: TimestampSource
  grant: () => Signed
  trust: () => TrustBundle
  subnets: () => Subnet[]
  policyVersion: () => number
  /** The enterprise's policy; undefined while it never had one. */
  policy: () => Signed | undefined
  report: (event: Omit<NodeEvent, 'time'>) => void
  /** Route session messages other than the uplink's own. */
  onRoutes: (uplink: Uplink, message: RouteMessage) => void
  /** Usable or not has changed: routes through this gateway must be decided anew. */
  onState: (uplink: Uplink) => void
}
