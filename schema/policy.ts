/**
 * An enterprise's policy: which of its connections go through which service functions. The orchestrator numbers it, signs it and publishes it to the
 * enterprise's edges; each tells it to its gateways, and a gateway believes the signature, not the edge (DESIGN §2 rule 1).
 *
 * Wire form: the envelope of grants (schema/grant.ts) with another context; body is the CBOR of `PolicyBody`.
 */
import { z } from 'zod'
import { ABI_CHAIN_HOPS, ABI_POLICY_RULES } from './abi.gen.ts'
import { parsePrefix, prefixesOverlap } from './address.ts'
import { nameSchema, prefixSchema, securitySchema, timeSchema, uuidSchema } from './common.ts'

export const POLICY_CONTEXT = 'branchline policy v1\0'

/** What MP headers say of an enterprise that never had a policy; the first one has the next number. */
export const NO_POLICY = 1

export const MAX_ZONES = 64
export const MAX_ZONE_PREFIXES = 256
export const MAX_CHAINS = 64
export const MAX_RULES = 256
/** Of one side of one rule. */
export const MAX_MATCHES = 16
/** Rules of a VRF after zones and lists have been expanded. */
export const MAX_EXPANDED_RULES = ABI_POLICY_RULES
/** Bytes of the body: every edge's state carries it, and a message of the route session has room for it. */
export const MAX_POLICY_BYTES = 1 << 15

const portSchema = z.int().min(0).max(65_535)
export const portsSchema = z
  .tuple([portSchema, portSchema])
  .refine(([from, to]) => from <= to, 'the first port must not be above the last')
export const ANY_PORT: [number, number] = [0, 65_535]

/** TCP, UDP, DCCP, SCTP, UDP-Lite: the ones whose ports programs read (bpf/path/parse.h). */
export const PROTOCOLS_WITH_PORTS: readonly number[] = [6, 17, 33, 132, 136]

/** Where IPv4 addresses are among those of IPv6. */
const MAPPED = parsePrefix('::ffff:0:0/96')

/** Programs look addresses of both families up as IPv6: a prefix around the IPv4 ones would take them too. */
export const matchedPrefixSchema = prefixSchema.refine(text => {
  const prefix = parsePrefix(text)
  return !prefix || !MAPPED || !prefixesOverlap(prefix, MAPPED)
}, 'must not reach into ::/8, where IPv4 is: leave it out for every address, or name 2000::/3 and fc00::/7')

/** A prefix, or the name of a zone: no prefix is without a slash, no name has one. */
export const matchSchema = z.string().transform((text, context) => {
  const parsed = (isPrefix(text) ? matchedPrefixSchema : nameSchema).safeParse(text)
  if (parsed.success) return parsed.data
  context.addIssue(parsed.error.issues[0]?.message ?? 'must be a prefix or the name of a zone')
  return z.NEVER
})

export const hopSchema = z.object({
  function: nameSchema,
  /** Without an instance that works the hop is left out; else its connections are refused. */
  failOpen: z.boolean(),
})
export type PolicyHop = z.infer<typeof hopSchema>

export const zoneSchema = z.object({
  name: nameSchema,
  prefixes: z.array(matchedPrefixSchema).min(1).max(MAX_ZONE_PREFIXES),
})

export const chainSchema = z.object({
  name: nameSchema,
  hops: z
    .array(hopSchema)
    .min(1, 'a chain needs at least one function')
    .max(ABI_CHAIN_HOPS, `a chain has at most ${ABI_CHAIN_HOPS} functions`)
    .refine(
      hops => new Set(hops.map(hop => hop.function)).size === hops.length,
      'a function may be in a chain only once',
    ),
})
export type PolicyChain = z.infer<typeof chainSchema>

/** `out`: what begins the connection matches as written and goes through the chain from its beginning; `in`: from its end; `both`: also the other way round. */
export const directionSchema = z.enum(['out', 'in', 'both'], 'must be out, in or both')

export const ruleSchema = z
  .object({
    name: nameSchema,
    /** Never given twice within the enterprise: counters outlive a rewrite. */
    id: z.int().min(1).max(0xffffffff),
    /** Empty: every address. */
    source: z.array(matchSchema).max(MAX_MATCHES),
    destination: z.array(matchSchema).max(MAX_MATCHES),
    /** IP protocol; 0: any. */
    proto: z.int().min(0).max(255),
    sourcePorts: portsSchema,
    destinationPorts: portsSchema,
    /** 0: any. */
    application: z.int().min(0).max(65_535),
    direction: directionSchema,
    /** null: not steered, whatever later rules say. */
    chain: nameSchema.nullable(),
    /** Only counted. */
    shadow: z.boolean(),
    /** What becomes of connections that an older version steered. */
    existing: z.enum(['keep', 'move'], 'must be keep or move'),
  })
  .refine(
    rule => PROTOCOLS_WITH_PORTS.includes(rule.proto) || (isAny(rule.sourcePorts) && isAny(rule.destinationPorts)),
    'ports need a protocol that has them: tcp, udp, sctp, dccp or udplite',
  )
export type PolicyRule = z.infer<typeof ruleSchema>

/** What people make: the rest of the document is the orchestrator's. */
export const policyIntentSchema = z.object({
  internet: z.boolean(),
  zones: z.array(zoneSchema).max(MAX_ZONES, `at most ${MAX_ZONES} zones`),
  chains: z.array(chainSchema).max(MAX_CHAINS, `at most ${MAX_CHAINS} chains`),
  /** In order: the first that matches decides. */
  rules: z.array(ruleSchema).max(MAX_RULES, `at most ${MAX_RULES} rules`),
})
export type PolicyIntent = z.infer<typeof policyIntentSchema>

const serialSchema = z.int().min(NO_POLICY).max(0xffffffff)

export const policyBodySchema = policyIntentSchema
  .extend({
    version: z.literal(1),
    enterprise: uuidSchema,
    /** Grows with each change; the policy version of MP headers. */
    serial: serialSchema,
    /** Connections that were steered under an older serial are steered anew. */
    oldest: serialSchema,
    issued: timeSchema,
    /** How the enterprise's packets are carried: chains do not mix what is encrypted with what is not. */
    security: securitySchema,
  })
  .superRefine(checkReferences)
export type PolicyBody = z.infer<typeof policyBodySchema>

export function isAny([from, to]: readonly [number, number]): boolean {
  return from === ANY_PORT[0] && to === ANY_PORT[1]
}

export function isPrefix(match: string): boolean {
  return match.includes('/')
}

/** Names are unique, and what a rule names is there. */
function checkReferences({ zones, chains, rules }: PolicyIntent, context: z.core.$RefinementCtx): void {
  const issue = (path: (string | number)[], message: string) => context.addIssue({ code: 'custom', path, message })
  for (const [list, rows] of Object.entries({ zones, chains, rules })) {
    const names = new Set<string>()
    rows.forEach(({ name }, index) => {
      if (names.has(name)) issue([list, index, 'name'], `${name} is used twice`)
      names.add(name)
    })
  }
  const zoneNames = new Set(zones.map(({ name }) => name))
  const chainNames = new Set(chains.map(({ name }) => name))
  rules.forEach(({ source, destination, chain }, index) => {
    for (const match of [...source, ...destination])
      if (!isPrefix(match) && !zoneNames.has(match)) issue(['rules', index], `there is no zone ${match}`)
    if (chain !== null && !chainNames.has(chain)) issue(['rules', index, 'chain'], `there is no chain ${chain}`)
  })
}
