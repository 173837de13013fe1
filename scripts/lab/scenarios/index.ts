import { LabError } from '../error.ts'
import type { Scenario } from '../scenario.ts'
import { instantVpn } from './instant-vpn.ts'

/** In the order of `list`. */
export const SCENARIOS: readonly Scenario[] = [instantVpn]

/** @throws LabError with the names that there are */
export function findScenario(name: string): Scenario {
  const found = SCENARIOS.find(scenario => scenario.name === name)
  if (found) return found
  throw new LabError('input', `no story ${name}; there are: ${SCENARIOS.map(each => each.name).join(', ')}`)
}
