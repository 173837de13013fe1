import { LabError } from '../error.ts'
import type { Scenario } from '../scenario.ts'
import { agentKill } from './agent-kill.ts'
import { aggregate } from './aggregate.ts'
import { balance } from './balance.ts'
import { chain } from './chain.ts'
import { edgeKilled } from './edge-killed.ts'
import { failover } from './failover.ts'
import { fec } from './fec.ts'
import { gatewayReset } from './gateway-reset.ts'
import { gateways } from './gateways.ts'
import { forged, geneve } from './geneve.ts'
import { gray, grayIpv6 } from './gray.ts'
import { instantVpn } from './instant-vpn.ts'
import { ipv6 } from './ipv6.ts'
import { memory } from './memory.ts'
import { mtu } from './mtu.ts'
import { nat } from './nat.ts'
import { orchestratorDown } from './orchestrator-down.ts'
import { refusals } from './refusals.ts'
import { rekey } from './rekey.ts'
import { scale } from './scale.ts'
import { twoTenants } from './two-tenants.ts'
import { voice } from './voice.ts'

/** In the order of `list`. */
export const SCENARIOS: readonly Scenario[] = [
  instantVpn,
  twoTenants,
  agentKill,
  gatewayReset,
  gateways,
  edgeKilled,
  rekey,
  orchestratorDown,
  ipv6,
  mtu,
  nat,
  voice,
  memory,
  failover,
  gray,
  grayIpv6,
  fec,
  aggregate,
  refusals,
  chain,
  balance,
  scale,
  geneve,
  forged,
]

/** @throws LabError with the names that there are */
export function findScenario(name: string): Scenario {
  const found = SCENARIOS.find(scenario => scenario.name === name)
  if (found) return found
  throw new LabError('input', `no story ${name}; there are: ${SCENARIOS.map(each => each.name).join(', ')}`)
}
