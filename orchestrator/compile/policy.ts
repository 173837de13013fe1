/** What people do to a policy: each edit takes the intent as it is and gives the one that follows, with what the audit log says of it. Pure. */
import { isDeepStrictEqual } from 'node:util'
import { expandRules } from '../../agent/services/expand-policy.ts'
import {
  isPrefix,
  type PolicyChain,
  type PolicyIntent,
  type PolicyRule,
  policyIntentSchema,
} from '../../schema/policy.ts'
import { OrchestratorError } from '../error.ts'

export interface PolicyEdit {
  intent: PolicyIntent
  /** Of the audit log, like `rule.add`; and what it was done to, like `rule:web`. */
  action: string
  object: string
  message: string
  /** Connections that are steered already are steered anew: a rule that wants that has something else to say now. */
  moves: boolean
}

/** Undefined: everything is as asked already. @throws OrchestratorError */
export type PolicyChange = (intent: PolicyIntent, newRule: () => number) => PolicyEdit | undefined

export const NO_INTENT: PolicyIntent = { internet: false, zones: [], chains: [], rules: [] }

export type RuleInput = Omit<PolicyRule, 'id'>

export function switchInternet(enabled: boolean): PolicyChange {
  return intent => {
    if (intent.internet === enabled) return undefined
    const word = enabled ? 'on' : 'off'
    const message = `way to the Internet over gateways switched ${word}`
    return {
      intent: { ...intent, internet: enabled },
      action: `internet.${word}`,
      object: 'policy',
      message,
      moves: false,
    }
  }
}

// Zones

export function addToZone(name: string, prefixes: readonly string[]): PolicyChange {
  return intent => {
    const zone = intent.zones.find(candidate => candidate.name === name)
    const added = [...new Set(prefixes)].filter(prefix => !zone?.prefixes.includes(prefix))
    if (added.length === 0) return undefined
    const grown = { name, prefixes: [...(zone?.prefixes ?? []), ...added] }
    return {
      intent: { ...intent, zones: sorted([...intent.zones.filter(each => each !== zone), grown]) },
      action: 'zone.add',
      object: `zone:${name}`,
      message: `zone ${name} has ${added.join(', ')}${zone ? ' too' : ''}`,
      moves: intent.rules.some(rule => rule.existing === 'move' && matches(rule).includes(name)),
    }
  }
}

/** @param prefixes none: the whole zone */
export function removeFromZone(name: string, prefixes: readonly string[]): PolicyChange {
  return intent => {
    const zone = intent.zones.find(candidate => candidate.name === name)
    if (!zone) throw missing('zone', name)
    for (const prefix of prefixes)
      if (!zone.prefixes.includes(prefix)) throw new OrchestratorError('not-found', `zone ${name} has no ${prefix}`)
    const left = prefixes.length > 0 ? zone.prefixes.filter(prefix => !prefixes.includes(prefix)) : []
    const users = intent.rules.filter(rule => matches(rule).includes(name))
    if (left.length === 0 && users.length > 0) throw inUse(`zone ${name}`, users)
    const others = intent.zones.filter(each => each !== zone)
    return {
      intent: { ...intent, zones: left.length > 0 ? sorted([...others, { name, prefixes: left }]) : others },
      action: 'zone.remove',
      object: `zone:${name}`,
      message: left.length > 0 ? `zone ${name} no longer has ${prefixes.join(', ')}` : `zone ${name} removed`,
      moves: users.some(rule => rule.existing === 'move'),
    }
  }
}

// Chains

export function createChain(chain: PolicyChain, replace: boolean): PolicyChange {
  return intent => {
    const known = intent.chains.find(({ name }) => name === chain.name)
    if (known && !replace)
      throw new OrchestratorError('exists', `there is a chain ${chain.name} already; --replace changes what it does`)
    if (known && isDeepStrictEqual(known, chain)) return undefined
    const what = chain.hops.map(hop => hop.function).join(', then ')
    return {
      intent: { ...intent, chains: sorted([...intent.chains.filter(each => each !== known), chain]) },
      action: known ? 'chain.replace' : 'chain.create',
      object: `chain:${chain.name}`,
      message: `chain ${chain.name} is ${what}`,
      moves: intent.rules.some(rule => rule.existing === 'move' && rule.chain === chain.name),
    }
  }
}

export function deleteChain(name: string): PolicyChange {
  return intent => {
    if (!intent.chains.some(chain => chain.name === name)) throw missing('chain', name)
    const users = intent.rules.filter(rule => rule.chain === name)
    if (users.length > 0) throw inUse(`chain ${name}`, users)
    return {
      intent: { ...intent, chains: intent.chains.filter(chain => chain.name !== name) },
      action: 'chain.delete',
      object: `chain:${name}`,
      message: `chain ${name} deleted`,
      moves: false,
    }
  }
}

// Rules

/** @param before the rule that it is to stand in front of; undefined: behind all */
export function addRule(rule: RuleInput, before: string | undefined): PolicyChange {
  return (intent, newRule) => {
    if (intent.rules.some(({ name }) => name === rule.name))
      throw new OrchestratorError('exists', `there is a rule ${rule.name} already; remove it first`)
    if (rule.chain !== null && !intent.chains.some(({ name }) => name === rule.chain))
      throw missing('chain', rule.chain)
    for (const match of matches(rule))
      if (!intent.zones.some(({ name }) => name === match)) throw missing('zone', match)
    const rules = intent.rules.toSpliced(placeOf(intent.rules, before), 0, { ...rule, id: newRule() })
    const what = rule.chain === null ? 'is not steered' : `goes through ${rule.chain}`
    return {
      intent: { ...intent, rules },
      action: 'rule.add',
      object: `rule:${rule.name}`,
      message: `rule ${rule.name}: what it matches ${what}${rule.shadow ? ', counted only' : ''}`,
      moves: rule.existing === 'move',
    }
  }
}

export function removeRule(name: string): PolicyChange {
  return intent => {
    const rule = findRule(intent, name)
    return {
      intent: { ...intent, rules: intent.rules.filter(each => each !== rule) },
      action: 'rule.remove',
      object: `rule:${name}`,
      message: `rule ${name} removed`,
      moves: rule.existing === 'move',
    }
  }
}

/** @param before the rule that it is to stand in front of; undefined: behind all */
export function moveRule(name: string, before: string | undefined): PolicyChange {
  return intent => {
    const rule = findRule(intent, name)
    if (before === name) return undefined
    const others = intent.rules.filter(each => each !== rule)
    const rules = others.toSpliced(placeOf(others, before), 0, rule)
    if (rules.every((each, index) => each === intent.rules[index])) return undefined
    return {
      intent: { ...intent, rules },
      action: 'rule.move',
      object: `rule:${name}`,
      message: before === undefined ? `rule ${name} stands last` : `rule ${name} stands before ${before}`,
      moves: rule.existing === 'move',
    }
  }
}

/** Limits of the whole, which no single edit knows. @throws OrchestratorError */
export function checkPolicy(intent: PolicyIntent): PolicyIntent {
  const parsed = policyIntentSchema.safeParse(intent)
  if (!parsed.success)
    throw new OrchestratorError('refused', parsed.error.issues.map(issue => issue.message).join('; '))
  try {
    expandRules(parsed.data)
  } catch (cause) {
    throw cause instanceof RangeError ? new OrchestratorError('refused', cause.message, { cause }) : cause
  }
  return parsed.data
}

/** Zones that a rule names. */
function matches({ source, destination }: Pick<PolicyRule, 'source' | 'destination'>): string[] {
  return [...source, ...destination].filter(match => !isPrefix(match))
}

function findRule({ rules }: PolicyIntent, name: string): PolicyRule {
  const rule = rules.find(candidate => candidate.name === name)
  if (!rule) throw missing('rule', name)
  return rule
}

function placeOf(rules: readonly PolicyRule[], before: string | undefined): number {
  if (before === undefined) return rules.length
  const place = rules.findIndex(({ name }) => name === before)
  if (place < 0) throw missing('rule', before)
  return place
}

function missing(what: 'zone' | 'chain' | 'rule', name: string): OrchestratorError {
  return new OrchestratorError('not-found', `there is no ${what} ${name}; 'branchline ${what} list' shows them`)
}

function inUse(what: string, users: readonly PolicyRule[]): OrchestratorError {
  const names = users.map(({ name }) => name).join(', ')
  return new OrchestratorError('refused', `${what} is used by rule ${names}; remove that first`)
}

function sorted<T extends { name: string }>(rows: readonly T[]): T[] {
  return rows.toSorted((a, b) => (a.name < b.name ? -1 : 1))
}
