/**
 * A service chain in the rig's VRF 7, and its instances:
 *
 *   chain 3:  hop 0 (stage 1), pool 1: adapters 11, 12   hop 1 (stage 2), pool 2: adapter 21
 *   next hops of adapter n: 10n inside, 10n + 1 outside; its instance: n; its MACs: 02:00:00:00:00:n inside, :01:n outside
 *
 * The rule in front: TCP and UDP to port 443 goes through chain 3. prog test run knows one device, so adapter_ports says before each run whose it is.
 */
import { mapUpdate, possibleCpus } from '../../agent/kernel/libbpf.ts'
import {
  ABI_ADAPTER_F_SECURE,
  ABI_ADAPTER_OUTSIDE,
  ABI_CHAIN_F_SECURE,
  ABI_CHAIN_HOPS,
  ABI_NH_F_OUTSIDE,
  ABI_POOL_LINE_SLOTS,
  ABI_STAGE_SHIFT,
  type Adapter,
  adapterCodec,
  adapterKind,
  type Chain,
  instanceStateCodec,
  nexthopKind,
  type Policy,
  type PolicyRule,
  policyRuleCodec,
} from '../../schema/abi.gen.ts'
import { zero } from '../../schema/codec.ts'
import { address, type Bytes, ethernet } from './build.ts'
import { type Outcome, Rig, VRF } from './rig.ts'

export const CHAIN = 3
const ADAPTERS = [11, 12, 21]
export const stage = (hop: number, vrf = VRF) => vrf | ((hop + 1) << ABI_STAGE_SHIFT)
export const inside = (adapter: number) => 10 * adapter
export const outside = (adapter: number) => 10 * adapter + 1
const mac = (adapter: number, arm: number) => [2, 0, 0, 0, arm, adapter]

export type Arm = 'inside' | 'outside'

export class ChainRig extends Rig {
  constructor() {
    super(['lan', 'wan', 'service'], 256, {
      policies: 16,
      policy_rules: 1025,
      rule_hits: 1025,
      chains: 16,
      pools: 16,
      pool_turns: 16,
      pool_lines: 16,
      adapters: 64,
      instance_state: 64,
      adapter_traffic: 64,
    })
  }

  override reset(): void {
    super.reset()
    const { chain } = this.maps
    for (const map of [chain.adapterPorts, chain.adapterOuters] as const)
      map.deleteMany(map.entries().map(([key]) => key) as never)
    for (const adapter of ADAPTERS) this.setAdapter(adapter, {})
    this.setChain({})
    this.setPool(1, [11, 12])
    this.setPool(2, [21])
    this.setPolicy([{ dportFrom: 443, dportTo: 443 }])
    const zeros = new Uint8Array(possibleCpus() * 48)
    for (let index = 0; index < 64; index++)
      mapUpdate(this.fd('adapter_traffic'), new Uint8Array(Uint32Array.of(index).buffer), zeros, 0n)
    for (let index = 0; index < 8; index++)
      mapUpdate(
        this.fd('rule_hits'),
        new Uint8Array(Uint32Array.of(index).buffer),
        new Uint8Array(possibleCpus() * 8),
        0n,
      )
    for (let index = 0; index < 16; index++)
      mapUpdate(this.fd('pool_turns'), new Uint8Array(Uint32Array.of(index).buffer), new Uint8Array(8), 0n)
  }

  /** Its instance begins without connections. */
  setAdapter(index: number, change: Partial<Adapter>): void {
    const hop = Math.floor(index / 10) - 1
    const { chain } = this.maps
    chain.adapters.set(index, {
      ...zero(adapterCodec),
      kind: adapterKind.ADAPTER_ETHERNET,
      mtu: 1500,
      chain: CHAIN,
      hop,
      vrfStage: stage(hop),
      instance: index,
      nexthopInside: inside(index),
      nexthopOutside: outside(index),
      insideIfindex: 1,
      outsideIfindex: 2,
      insideMac: Uint8Array.from(mac(index, 0)),
      outsideMac: Uint8Array.from(mac(index, 1)),
      ...change,
    })
    chain.instanceState.set(index, zero(instanceStateCodec))
    this.setNexthop(inside(index), nexthopKind.NH_ADAPTER, 0, index)
    this.setNexthop(outside(index), nexthopKind.NH_ADAPTER, ABI_NH_F_OUTSIDE, index)
  }

  setSecure(): void {
    this.setChain({ flags: ABI_CHAIN_F_SECURE })
    for (const adapter of ADAPTERS) this.setAdapter(adapter, { flags: ABI_ADAPTER_F_SECURE })
  }

  setChain(change: Partial<Chain>): void {
    const pools = Array.from({ length: ABI_CHAIN_HOPS }, (_, hop) => (hop < 2 ? hop + 1 : 0))
    const hopFlags = new Uint8Array(ABI_CHAIN_HOPS)
    this.maps.chain.chains.set(CHAIN, { vrf: VRF, hops: 2, flags: 0, reserved: 0, pools, hopFlags, ...change })
  }

  setPool(index: number, members: readonly number[], balance = 0): void {
    const adapters = Array.from({ length: ABI_POOL_LINE_SLOTS }, (_, slot) => members[slot] ?? 0)
    this.maps.chain.poolLines.set(index, { adapters })
    this.maps.chain.pools.set(index, { slots: members.length, balance, firstLine: index })
  }

  setPolicy(rules: readonly Partial<PolicyRule>[], change: Partial<Policy> = {}, first = 0): void {
    const any = { ...zero(policyRuleCodec), sportTo: 0xffff, dportTo: 0xffff, chain: CHAIN }
    for (const [index, rule] of rules.entries()) this.maps.chain.policyRules.set(first + index, { ...any, ...rule })
    this.maps.chain.policies.set(VRF, { first, rules: rules.length, reserved: 0, version: 5, oldest: 0, ...change })
  }

  /** The packet comes out of an adapter's arm. */
  out(adapter: number, arm: Arm, packet: Bytes, type = {}): Outcome {
    this.maps.chain.adapterPorts.set(1, adapter | (arm === 'outside' ? ABI_ADAPTER_OUTSIDE : 0))
    return this.run('service', ethernet(packet, type))
  }

  connections(instance: number): [number, number] {
    const { connections = 0n, opened = 0n } = this.maps.chain.instanceState.get(instance) ?? {}
    return [Number(connections), Number(opened)]
  }
}

/** The frame that enters an adapter with this packet. */
export function into(adapter: number, arm: Arm, packet: Bytes): Bytes {
  const out = arm === 'outside' ? 1 : 0
  return ethernet(packet, { dst: mac(adapter, out), src: [2, 0x62, 0x6c, out, adapter >> 8, adapter & 0xff] })
}

/** Addresses of IPv4 as ::ffff:a.b.c.d. */
export function mapped(text: string): Bytes {
  const bytes = address(text)
  return bytes.length === 16 ? bytes : Uint8Array.from([...new Uint8Array(10), 0xff, 0xff, ...bytes])
}
