/** From the signed document to what a gateway uses: zones and lists of prefixes become rules of one prefix on each side. Pure. */
import { parsePrefix } from '../../schema/address.ts'
import {
  isPrefix,
  MAX_EXPANDED_RULES,
  type PolicyBody,
  type PolicyIntent,
  type PolicyRule,
} from '../../schema/policy.ts'
import type { ServicePolicy, ServiceRule } from './policy.ts'

/** Every address of both families: programs look IPv4 addresses up as ::ffff:a.b.c.d. */
export const ANYWHERE = '::/0'

export function servicePolicyOf(body: PolicyBody): ServicePolicy {
  return {
    version: body.serial,
    oldest: body.oldest,
    internet: body.internet,
    secure: body.security === 'esp',
    chains: body.chains,
    rules: expandRules(body),
  }
}

/** In the order of the document. @throws RangeError in one line when a VRF has no room for so many, or a rule can match nothing */
export function expandRules({ zones, rules }: Pick<PolicyIntent, 'zones' | 'rules'>): ServiceRule[] {
  const prefixes = new Map(zones.map(zone => [zone.name, zone.prefixes]))
  const expand = (matches: readonly string[]) =>
    matches.length === 0
      ? [ANYWHERE]
      : [...new Set(matches.flatMap(match => (isPrefix(match) ? [match] : (prefixes.get(match) ?? []))))]
  const expanded: ServiceRule[] = []
  for (const rule of rules) {
    const before = expanded.length
    for (const each of expandRule(rule, expand(rule.source), expand(rule.destination))) {
      expanded.push(each)
      if (expanded.length > MAX_EXPANDED_RULES)
        throw new RangeError(
          `with rule ${rule.name} there are more than ${MAX_EXPANDED_RULES} pairs of prefixes; join some`,
        )
    }
    if (expanded.length === before)
      throw new RangeError(`rule ${rule.name} can match nothing: its source and destination are of different families`)
  }
  return expanded
}

function* expandRule(rule: PolicyRule, sources: readonly string[], destinations: readonly string[]) {
  for (const [source, destination] of pairsOf(sources, destinations)) yield serviceRule(rule, source, destination)
  if (rule.direction !== 'both') return
  const { sourcePorts: destinationPorts, destinationPorts: sourcePorts } = rule
  const back = { ...rule, direction: 'in' as const, sourcePorts, destinationPorts }
  for (const [source, destination] of pairsOf(sources, destinations)) yield serviceRule(back, destination, source)
}

/** No packet is of two families. */
function* pairsOf(sources: readonly string[], destinations: readonly string[]): Iterable<[string, string]> {
  const byFamily = Map.groupBy(destinations, familyOf)
  for (const source of sources) {
    const family = familyOf(source)
    const others = family === 'any' ? destinations : [...(byFamily.get('any') ?? []), ...(byFamily.get(family) ?? [])]
    for (const destination of others) yield [source, destination]
  }
}

function familyOf(prefix: string): 4 | 6 | 'any' {
  return prefix === ANYWHERE ? 'any' : (parsePrefix(prefix)?.family ?? 'any')
}

function serviceRule(rule: PolicyRule, source: string, destination: string): ServiceRule {
  const { name, id, proto, sourcePorts, destinationPorts, application, direction, chain, shadow, existing } = rule
  return {
    name,
    id,
    source,
    destination,
    proto,
    sourcePorts,
    destinationPorts,
    application,
    reverse: direction === 'in',
    chain,
    shadow,
    move: existing === 'move',
  }
}
