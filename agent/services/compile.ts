/** What the service maps should hold: policies, chains and who serves them -> resources. Pure but for the index ranges that it takes and gives. */
import {
  ABI_ADAPTER_F_DEAD,
  ABI_ADAPTER_F_SECURE,
  ABI_ADAPTER_OUTSIDE,
  ABI_ADAPTER_UNDERLAY,
  ABI_CHAIN_F_SECURE,
  ABI_CHAIN_HOPS,
  ABI_FAMILY_IPV4,
  ABI_FAMILY_IPV6,
  ABI_FAMILY_NONE,
  ABI_HOP_F_FAIL_OPEN,
  ABI_HOP_F_STATELESS,
  ABI_MAX_POOL_LINES,
  ABI_MAX_RULES,
  ABI_POLICY_RULES,
  ABI_POOL_LINE_SLOTS,
  ABI_RULE_F_MOVE,
  ABI_RULE_F_REVERSE,
  ABI_RULE_F_SHADOW,
  ABI_STAGE_SHIFT,
  type Adapter,
  type AdapterKey,
  adapterKind,
  type PolicyRule,
} from '../../schema/abi.gen.ts'
import { parseAddress, parsePrefix } from '../../schema/address.ts'
import { parseMac } from '../kernel/netlink/link.ts'
import type { Resource } from '../plan/resource.ts'
import { type BalanceName, fillSlots, type Member } from './balance.ts'
import { type Chain, type Chains, NOWHERE, type Tenant } from './chains.ts'
import type { AdapterSide } from './driver.ts'
import { Ranges } from './numbers.ts'
import type { ServiceRule } from './policy.ts'

/** An adapter of an instance at one position of one chain. */
export interface PlacedAdapter {
  index: number
  side: AdapterSide
  instance: number
  nexthopInside: number
  nexthopOutside: number
  dead: boolean
}

export interface HopMembers {
  balance: BalanceName
  stateless: boolean
  adapters: readonly PlacedAdapter[]
  /** Of them, those that take new connections. */
  takers: readonly Member[]
}

/** Lines or rules that were written, by what is in them: they stay where they are while nothing changes. */
interface Written {
  content: string
  first: number
  length: number
}

export class Compiler {
  readonly #lines: Ranges
  readonly #rules: Ranges
  readonly #pools = new Map<number, Written>()
  readonly #policies = new Map<number, Written>()

  /** @param exists is there an object with that key in the kernel? */
  constructor(exists: (key: string) => boolean) {
    this.#lines = new Ranges('pool lines', ABI_MAX_POOL_LINES, index => exists(`pool-line ${index}`))
    this.#rules = new Ranges('rules', ABI_MAX_RULES, index => exists(`policy-rule ${index}`))
  }

  /**
   * @param members who serves a hop
   * @param problem is told in one line what has no room
   */
  *compile(
    tenants: Iterable<Tenant>,
    chains: Chains,
    members: (chain: Chain, hop: number) => HopMembers,
    problem: (text: string) => void,
  ): Iterable<Resource> {
    const pools = new Set<number>()
    for (const chain of chains.all()) {
      const flags: number[] = []
      for (const [place, hop] of chain.hops.entries()) {
        pools.add(hop.pool)
        const served = members(chain, place)
        flags.push((hop.failOpen ? ABI_HOP_F_FAIL_OPEN : 0) | (served.stateless ? ABI_HOP_F_STATELESS : 0))
        for (const adapter of served.adapters) yield* adapterResources(adapter, chain, place)
        yield* this.#pool(hop.pool, served, problem)
      }
      yield chainResource(chain, flags)
    }
    const vrfs = new Set<number>()
    for (const tenant of tenants) {
      vrfs.add(tenant.vrf)
      yield* this.#policy(tenant, chains, problem)
    }
    forget(this.#pools, pools, this.#lines)
    forget(this.#policies, vrfs, this.#rules)
  }

  *#pool(index: number, { balance, takers }: HopMembers, problem: (text: string) => void): Iterable<Resource> {
    const { balance: kind, slots } = fillSlots(balance, takers)
    const lines = Array.from({ length: Math.ceil(slots.length / ABI_POOL_LINE_SLOTS) }, (_, line) =>
      slots.slice(line * ABI_POOL_LINE_SLOTS, (line + 1) * ABI_POOL_LINE_SLOTS),
    )
    let first = 0
    try {
      first = place(this.#pools, this.#lines, index, slots.join(' '), lines.length)
    } catch (error) {
      problem(error instanceof Error ? error.message : String(error))
      yield { kind: 'pool', index, value: { slots: 0, balance: kind, firstLine: 0 } }
      return
    }
    for (const [line, adapters] of lines.entries()) yield { kind: 'pool-line', index: first + line, adapters }
    yield { kind: 'pool', index, value: { slots: slots.length, balance: kind, firstLine: first } }
  }

  *#policy({ vrf, enterprise, policy }: Tenant, chains: Chains, problem: (text: string) => void): Iterable<Resource> {
    const ids = new Map(policy.chains.map(chain => [chain.name, chains.of(enterprise, chain)?.id ?? NOWHERE]))
    if (policy.rules.length > ABI_POLICY_RULES)
      problem(`${policy.rules.length} rules: only the first ${ABI_POLICY_RULES} count`)
    const rules = policy.rules.slice(0, ABI_POLICY_RULES).map(rule => ruleValue(rule, ids))
    const content = JSON.stringify(rules, (_, value) => (value instanceof Uint8Array ? [...value] : value))
    const first = place(this.#policies, this.#rules, vrf, content, rules.length)
    for (const [index, value] of rules.entries()) yield { kind: 'policy-rule', index: first + index, value }
    const { version, oldest } = policy
    yield { kind: 'service-policy', vrf, value: { first, rules: rules.length, reserved: 0, version, oldest } }
  }
}

/** Where the content is to stand: elsewhere when it is another, since a packet may be reading the old one. */
function place(written: Map<number, Written>, ranges: Ranges, key: number, content: string, length: number): number {
  const old = written.get(key)
  if (old?.content === content) return old.first
  const first = length === 0 ? 0 : ranges.take(length)
  if (old && old.length > 0) ranges.give(old.first, old.length)
  written.set(key, { content, first, length })
  return first
}

function forget(written: Map<number, Written>, kept: ReadonlySet<number>, ranges: Ranges): void {
  for (const [key, { first, length }] of written) {
    if (kept.has(key)) continue
    written.delete(key)
    ranges.give(first, length)
  }
}

function chainResource({ id, vrf, secure, hops }: Chain, flags: readonly number[]): Resource {
  const eight = (numbers: readonly number[]) =>
    Array.from({ length: ABI_CHAIN_HOPS }, (_, place) => numbers[place] ?? 0)
  return {
    kind: 'chain',
    id,
    value: {
      vrf,
      hops: hops.length,
      flags: secure ? ABI_CHAIN_F_SECURE : 0,
      reserved: 0,
      pools: eight(hops.map(hop => hop.pool)),
      hopFlags: Uint8Array.from(eight(flags)),
    },
  }
}

function* adapterResources(adapter: PlacedAdapter, chain: Chain, place: number): Iterable<Resource> {
  const { index, side } = adapter
  const stage = chain.hops[place]?.stage ?? 0
  const common = {
    flags: (adapter.dead ? ABI_ADAPTER_F_DEAD : 0) | (chain.secure ? ABI_ADAPTER_F_SECURE : 0),
    mtu: side.mtu,
    chain: chain.id,
    hop: place,
    vrfStage: chain.vrf | (stage << ABI_STAGE_SHIFT),
    instance: adapter.instance,
    nexthopInside: adapter.nexthopInside,
    nexthopOutside: adapter.nexthopOutside,
    reserved: new Uint8Array(24),
    reserved2: [0n, 0n],
  }
  if (side.kind === 'ethernet') {
    const value: Adapter = {
      ...common,
      kind: adapterKind.ADAPTER_ETHERNET,
      family: ABI_FAMILY_NONE,
      insideIfindex: side.insideIfindex,
      outsideIfindex: side.outsideIfindex,
      insideMac: parseMac(side.insideMac),
      outsideMac: parseMac(side.outsideMac),
      local: new Uint8Array(16),
      remote: new Uint8Array(16),
      endpoint: 0n,
      attachment: 0n,
    }
    yield { kind: 'adapter', index, value }
    // Its devices may be gone, and the numbers of them another's.
    if (adapter.dead) return
    const oneArm = side.insideIfindex === side.outsideIfindex
    yield { kind: 'adapter-port', ifindex: side.insideIfindex, value: index }
    if (!oneArm) yield { kind: 'adapter-port', ifindex: side.outsideIfindex, value: index | ABI_ADAPTER_OUTSIDE }
    for (const ifindex of new Set([side.insideIfindex, side.outsideIfindex]))
      yield { kind: 'attachment', hook: 'service', ifindex }
    return
  }
  const { key, family } = outerOf(side, chain, index)
  yield {
    kind: 'adapter',
    index,
    value: {
      ...common,
      kind: side.kind === 'ipip' ? adapterKind.ADAPTER_IPIP : adapterKind.ADAPTER_GENEVE,
      family,
      insideIfindex: side.ifindex,
      outsideIfindex: side.ifindex,
      insideMac: new Uint8Array(6),
      outsideMac: new Uint8Array(6),
      local: key.local,
      remote: key.remote,
      endpoint: key.endpoint,
      attachment: key.endpoint === 0n ? 0n : BigInt(adapter.instance),
    },
  }
  const outer = side.kind === 'ipip' ? key : { ...key, local: new Uint8Array(16), remote: new Uint8Array(16) }
  yield { kind: 'adapter-outer', outer, adapter: index }
  yield { kind: 'adapter-port', ifindex: side.ifindex, value: ABI_ADAPTER_UNDERLAY }
  yield { kind: 'attachment', hook: 'service', ifindex: side.ifindex }
}

/** The endpoint names VRF, chain and adapter, so that an appliance's logs do too, and no two adapters have the same. */
function outerOf(
  side: Extract<AdapterSide, { kind: 'ipip' | 'geneve' }>,
  chain: Chain,
  adapter: number,
): { key: AdapterKey; family: number } {
  const remote = parseAddress(side.remote)
  const local = parseAddress(side.local)
  if (!remote || !local) throw new TypeError(`no addresses: ${side.local}, ${side.remote}`)
  const endpoint = side.kind === 'ipip' ? 0n : (BigInt(chain.vrf) << 32n) | (BigInt(chain.id) << 16n) | BigInt(adapter)
  return {
    key: { remote: padded(remote.bytes), local: padded(local.bytes), endpoint },
    family: remote.family === 4 ? ABI_FAMILY_IPV4 : ABI_FAMILY_IPV6,
  }
}

/** IPv4 in the first four bytes, as in path_conf. */
function padded(bytes: Uint8Array): Uint8Array {
  const whole = new Uint8Array(16)
  whole.set(bytes)
  return whole
}

function ruleValue(rule: ServiceRule, ids: ReadonlyMap<string, number>): PolicyRule {
  const [src, dst] = [prefixBytes(rule.source), prefixBytes(rule.destination)]
  return {
    src: src.bytes,
    dst: dst.bytes,
    srcLength: src.length,
    dstLength: dst.length,
    proto: rule.proto,
    flags:
      (rule.shadow ? ABI_RULE_F_SHADOW : 0) |
      (rule.reverse ? ABI_RULE_F_REVERSE : 0) |
      (rule.move ? ABI_RULE_F_MOVE : 0),
    sportFrom: rule.sourcePorts[0],
    sportTo: rule.sourcePorts[1],
    dportFrom: rule.destinationPorts[0],
    dportTo: rule.destinationPorts[1],
    chain: rule.chain === null ? 0 : (ids.get(rule.chain) ?? NOWHERE),
    application: rule.application,
    name: rule.id,
    reserved: [0, 0, 0],
  }
}

/** IPv4 as ::ffff:a.b.c.d, with 96 more bits. `::/0` holds both families. */
function prefixBytes(prefix: string): { bytes: Uint8Array; length: number } {
  const parsed = parsePrefix(prefix)
  if (!parsed) throw new TypeError(`not a prefix: ${prefix}`)
  const bytes = new Uint8Array(16)
  if (parsed.family === 6) bytes.set(parsed.bytes)
  else {
    bytes.set([0xff, 0xff], 10)
    bytes.set(parsed.bytes, 12)
  }
  return { bytes, length: parsed.family === 6 ? parsed.length : parsed.length + 96 }
}
