/**
 *   enterprise acme (VRF 1), enterprise other (VRF 2)  -- policies -->  services  -->  maps of a fake kernel
 *                                                                          `-->  instances that are names
 */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { ABI_ADAPTER_F_DEAD, ABI_ADAPTER_OUTSIDE, ABI_STAGE_SHIFT } from '../../schema/abi.gen.ts'
import type { ChainMaps } from '../kernel/port.ts'
import { NOWHERE } from './chains.ts'
import { anyRule, policyThrough, ServiceBench } from './testing.ts'

const driver = { kind: 'namespace', run: '/functions/nat/run' }
const config = {
  functions: [
    { name: 'nat', driver, settleMs: 100, max: 6 },
    { name: 'dpi', driver, min: 2, stateless: true },
  ],
}
const vrfs = { acme: 1, other: 2 }
const adaptersOf = (maps: ChainMaps, pool: number): number[] => {
  const { slots, firstLine } = maps.pools.get(pool) ?? { slots: 0, firstLine: 0 }
  return maps.poolLines.get(firstLine)?.adapters.slice(0, slots) ?? []
}
const slotsOf = (maps: ChainMaps, id: number, hop: number) => adaptersOf(maps, maps.chains.get(id)?.pools[hop] ?? 0)

let bench: ServiceBench
beforeEach(() => {
  bench = new ServiceBench()
})
afterEach(() => bench.remove())

describe('a policy', () => {
  it('has instances started, and its chain lead to their adapters', async () => {
    const { services, maps } = await bench.start(config, vrfs)
    services.setPolicy(1, 'acme', policyThrough(['dpi', 'nat']))
    await vi.waitFor(() => expect([slotsOf(maps, 1, 0).length, slotsOf(maps, 1, 1).length]).toEqual([2, 1]))
    expect([...bench.instances.running].map(name => name.replace(/\d+$/, '')).sort()).toEqual(['dpi-', 'dpi-', 'nat-'])
    const [first = 0] = slotsOf(maps, 1, 0)
    const adapter = maps.adapters.get(first)
    expect(adapter).toMatchObject({ chain: 1, hop: 0, mtu: 1500, vrfStage: 1 | (1 << ABI_STAGE_SHIFT) })
    expect(maps.adapterPorts.get(adapter?.insideIfindex ?? 0)).toBe(first)
    expect(maps.adapterPorts.get(adapter?.outsideIfindex ?? 0)).toBe(first | ABI_ADAPTER_OUTSIDE)
    expect(maps.policies.get(1)).toMatchObject({ rules: 1, version: 2, oldest: 0 })
    expect(maps.policyRules.get(maps.policies.get(1)?.first ?? 0)?.chain).toBe(1)
  })

  it('of one enterprise never reaches instances of another', async () => {
    const { services, maps } = await bench.start(config, vrfs)
    services.setPolicy(1, 'acme', policyThrough(['nat']))
    services.setPolicy(2, 'other', policyThrough(['nat']))
    await vi.waitFor(() => expect([1, 2].map(id => slotsOf(maps, id, 0).length)).toEqual([1, 1]))
    const [mine, theirs] = [1, 2].map(id => maps.adapters.get(slotsOf(maps, id, 0)[0] ?? 0))
    expect(mine?.instance).not.toBe(theirs?.instance)
    expect([mine?.vrfStage, theirs?.vrfStage].map(stage => (stage ?? 0) & 0x3fff)).toEqual([1, 2])
  })

  it('whose function is not here has a chain that nobody serves, not none', async () => {
    const { services, maps } = await bench.start(config, vrfs)
    services.setPolicy(1, 'acme', policyThrough(['antivirus']))
    await vi.waitFor(() => expect(maps.policies.get(1)?.rules).toBe(1))
    expect(slotsOf(maps, 1, 0)).toEqual([])
    expect(maps.policyRules.get(maps.policies.get(1)?.first ?? 0)?.chain).toBe(1)
  })

  it('with a chain that cannot be had drops, rather than let through', async () => {
    const { services, maps } = await bench.start(config, vrfs)
    services.setPolicy(1, 'acme', policyThrough(Array.from({ length: 9 }, (_, index) => `f${index}`)))
    await vi.waitFor(() => expect(maps.policies.get(1)?.rules).toBe(1))
    expect(maps.policyRules.get(maps.policies.get(1)?.first ?? 0)?.chain).toBe(NOWHERE)
    expect(maps.chains.get(NOWHERE)?.vrf).toBe(0)
  })

  it('that changes writes its rules elsewhere before the word that names them', async () => {
    const { services, maps } = await bench.start(config, vrfs)
    services.setPolicy(1, 'acme', policyThrough(['nat']))
    await vi.waitFor(() => expect(maps.policies.get(1)?.rules).toBe(1))
    const before = maps.policies.get(1)
    const rules = [anyRule, { ...anyRule, chain: 'web', source: '10.0.0.0/8' }]
    services.setPolicy(1, 'acme', policyThrough(['nat'], { version: 3, rules }))
    await vi.waitFor(() => expect(maps.policies.get(1)).toMatchObject({ rules: 2, version: 3 }))
    const after = maps.policies.get(1)
    expect(after?.first).toBeGreaterThan(before?.first ?? 0)
    const second = maps.policyRules.get((after?.first ?? 0) + 1)
    expect(second).toMatchObject({ srcLength: 104, dstLength: 0 })
    expect(Buffer.from(second?.src ?? []).toString('hex')).toBe('00000000000000000000ffff0a000000')
  })

  it('that goes with its VRF takes everything along', async () => {
    const { services, maps } = await bench.start(config, vrfs)
    services.setPolicy(1, 'acme', policyThrough(['nat']))
    await vi.waitFor(() => expect(slotsOf(maps, 1, 0)).toHaveLength(1))
    services.setPolicy(1, 'acme', undefined)
    await vi.waitFor(() => expect(maps.policies.get(1)).toMatchObject({ rules: 0, version: 0 }))
    bench.aheadMs += 400_000
    await vi.waitFor(() => expect(bench.instances.running.size).toBe(0))
    await vi.waitFor(() => expect(maps.adapters.entries()).toEqual([]))
    for (const map of [maps.chains, maps.pools, maps.poolLines, maps.policyRules]) expect(map.entries()).toEqual([])
    expect(maps.adapterPorts.entries()).toEqual([])
  })
})

describe('an instance', () => {
  it('that dies is marked at once, and replaced', async () => {
    const { services, maps } = await bench.start(config, vrfs)
    services.setPolicy(1, 'acme', policyThrough(['nat']))
    await vi.waitFor(() => expect(slotsOf(maps, 1, 0)).toHaveLength(1))
    const [old = 0] = slotsOf(maps, 1, 0)
    const [name = ''] = bench.instances.running
    bench.instances.kill(name, 'out of memory')
    await vi.waitFor(() => expect(maps.adapters.get(old)?.flags).toBe(ABI_ADAPTER_F_DEAD))
    await vi.waitFor(() => expect(slotsOf(maps, 1, 0)).toHaveLength(1))
    expect(slotsOf(maps, 1, 0)).not.toContain(old)
    expect(bench.events.map(({ message }) => message)).toContain(`${name}: out of memory`)
    // Its adapter goes when connections have had time to find out.
    bench.aheadMs += 31_000
    await vi.waitFor(() => expect(maps.adapters.get(old)?.kind).toBe(0))
  })

  it('that does not start is tried again, later and later, and people are told why', async () => {
    bench.instances.refuse = 'nft: command not found'
    const { services } = await bench.start(config, vrfs)
    services.setPolicy(1, 'acme', policyThrough(['nat']))
    const tries = () => bench.instances.calls.filter(call => call.startsWith('launch')).length
    await vi.waitFor(() => expect(tries()).toBe(1))
    await vi.waitFor(() => expect(bench.events[0]?.message).toMatch(/nft: command not found; again in 1000 ms/))
    bench.aheadMs += 1000
    await vi.waitFor(() => expect(tries()).toBe(2))
    await vi.waitFor(() => expect(bench.events.at(-1)?.message).toMatch(/again in 2000 ms/))
    bench.instances.refuse = undefined
    bench.aheadMs += 2000
    await vi.waitFor(() => expect(bench.instances.running.size).toBe(1))
    expect(services.backoff.reason('nat acme')).toBeUndefined()
  })
})

describe('the next agent', () => {
  it('finds instances, numbers and adapters as they were', async () => {
    const first = await bench.start(config, vrfs)
    first.services.setPolicy(1, 'acme', policyThrough(['dpi', 'nat']))
    await vi.waitFor(() => expect(slotsOf(first.maps, 1, 0).length + slotsOf(first.maps, 1, 1).length).toBe(3))
    await first.reconciler.flush()
    const before = [first.maps.chains, first.maps.adapters, first.maps.adapterPorts].map(map => map.entries())
    const running = [...bench.instances.running]
    bench.stop()
    bench.instances.calls.length = 0
    const { maps } = await bench.start(config, vrfs, services =>
      services.setPolicy(1, 'acme', policyThrough(['dpi', 'nat'])),
    )
    expect([maps.chains, maps.adapters, maps.adapterPorts].map(map => map.entries())).toEqual(before)
    expect([slotsOf(maps, 1, 0).length, slotsOf(maps, 1, 1).length]).toEqual([2, 1])
    expect([...bench.instances.running]).toEqual(running)
    expect(bench.instances.calls).toEqual([])
  })

  it('ends instances of functions that are not in its configuration', async () => {
    const first = await bench.start(config, vrfs)
    first.services.setPolicy(1, 'acme', policyThrough(['dpi', 'nat']))
    await vi.waitFor(() => expect(bench.instances.running.size).toBe(3))
    bench.stop()
    await bench.start({ functions: [config.functions[1]] }, vrfs)
    await vi.waitFor(() => expect([...bench.instances.running].every(name => name.startsWith('dpi'))).toBe(true))
  })
})
