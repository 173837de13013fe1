/**
 * What a service chain costs a packet: each pass of the programs beside the same packet's pass from port to port, which no chain is part of. Both find
 * their flow in the table; ours then goes into an instance by Ethernet.
 */
import { LocalFib } from '../../../agent/kernel/fib/local.ts'
import { initialiseFlowTable } from '../../../agent/kernel/flow-table.ts'
import { mapUpdate } from '../../../agent/kernel/libbpf.ts'
import { openMaps, readCounters, readDrops } from '../../../agent/kernel/maps.ts'
import type { Maps } from '../../../agent/kernel/port.ts'
import { runProgram } from '../../../agent/kernel/prog-run.ts'
import {
  ABI_CHAIN_HOPS,
  ABI_NH_F_OUTSIDE,
  ABI_POOL_LINE_SLOTS,
  ABI_STAGE_SHIFT,
  adapterCodec,
  adapterKind,
  nexthopKind,
  policyRuleCodec,
} from '../../../schema/abi.gen.ts'
import { be32 } from '../../../schema/address.ts'
import { zero } from '../../../schema/codec.ts'
import { valueAtMost } from '../figure.ts'
import { testPacket } from '../packet.ts'
import { BenchPrograms } from '../programs.ts'
import { difference, type Sample } from '../sample.ts'
import type { Bench, Suite, Verify } from '../suite.ts'

const LO = 1
const PLAIN = 7
const CHAINED = 8
const CHAIN = 1
const PACKET = 182
const BAR_NS = 40

export const suite: Suite = {
  name: 'chain',
  about: 'a packet on its way through a service chain, beside one from port to port',
  minutes: 5,
  verify({ random, check }) {
    using world = open(random)
    const flows = 1000
    world.flows(flows)
    world.begin(CHAINED, 'begin', flows)
    const counters = readCounters(world.programs.maps)
    check('connections that were steered', counters.steered ?? 0, flows)
    check('packets into instances', counters['to-service'] ?? 0, flows)
    check('connections of the first instance', Number(world.maps.chain.instanceState.get(1)?.connections ?? 0n), flows)
    const drops = Object.values(readDrops(world.programs.maps)).reduce((sum, count) => sum + count, 0)
    check('drops', drops, 0)
  },
  async measure(bench) {
    for (const flows of bench.quick ? [1] : [1, 1 << 17]) await known(bench, flows)
    for (const rules of [1, 1000]) await first(bench, rules)
  },
}

interface World extends Disposable {
  programs: BenchPrograms
  maps: Maps
  /** Known ones are of so many flows; the next to begin is number `next`. */
  flows(flows: number, next?: number): void
  /** The port's VRF. */
  arrive(vrf: number): void
  /** Packets come out of adapter n. */
  leave(adapter: number): void
  /** Sends the first packets of so many flows. @returns mean ns */
  begin(vrf: number, program: 'begin' | 'begin_onward', flows: number): number
}

async function known(bench: Bench, flows: number): Promise<void> {
  using world = open(bench.random)
  const packet = testPacket(PACKET)
  const { programs } = world
  // So many packets of a flow, and whether it is established has been asked for (bpf/path/flow.h). A few flows of each kind in turn: those that come
  // last find fewer of their places free.
  const few = Math.min(flows, 1024)
  for (let packets = 0; packets < 17; packets++)
    for (let next = 0; next < flows; next += few)
      for (const [vrf, program, adapter] of [
        [PLAIN, 'begin', 1],
        [CHAINED, 'begin', 1],
        [CHAINED, 'begin_onward', 1],
        [CHAINED, 'begin_onward', 2],
      ] as const) {
        world.flows(flows, next)
        world.leave(adapter)
        world.begin(vrf, program, few)
      }
  world.flows(flows)
  const timed = (program: 'enter' | 'onward', set: () => void) => () => {
    set()
    return programs.time({ program, packet })
  }
  const times = await bench.compare({
    plain: timed('enter', () => world.arrive(PLAIN)),
    into: timed('enter', () => world.arrive(CHAINED)),
    between: timed('onward', () => world.leave(1)),
    out: timed('onward', () => world.leave(2)),
  })
  const of = `${flows.toLocaleString('en')} flow${flows === 1 ? '' : 's'}`
  bench.figure({ name: `from port to port, ${of}`, value: times.plain, unit: 'ns' })
  const step = (name: string, time: Sample) =>
    bench.figure({
      name: `${name}, more than from port to port, ${of}`,
      value: difference(time, times.plain),
      unit: 'ns',
      bar: valueAtMost(BAR_NS),
    })
  step('from a port into an instance', times.into)
  step('from one instance into the next', times.between)
  step('from an instance to a port', times.out)
}

async function first(bench: Bench, rules: number): Promise<void> {
  using world = open(bench.random, rules)
  const perRound = bench.quick ? 1000 : 10_000
  world.flows(1)
  const round = (vrf: number) => () => world.begin(vrf, 'begin', perRound)
  const times = await bench.compare({ chained: round(CHAINED), plain: round(PLAIN) })
  bench.figure({
    name: `a connection’s first packet into a chain, by the last of ${rules} rule${rules === 1 ? '' : 's'}`,
    value: times.chained,
    unit: 'ns',
    peer: { name: 'a first packet from port to port', value: times.plain },
  })
}

function open(random: Verify['random'], rules = 1): World {
  const programs = new BenchPrograms('chain', random)
  initialiseFlowTable(programs.maps)
  const maps = openMaps(programs.maps)
  configure(maps, rules)
  using fib = new LocalFib(programs.maps)
  for (const vrf of [PLAIN, CHAINED]) fib.set({ vrf, address: '10.2.0.0', prefixLength: 16 }, 1)
  const arrive = (vrf: number) =>
    maps.ports.set(LO, { ifindex: LO, vrf, addr4: 0, flags: 0, addr6: new Uint8Array(16) })
  return {
    programs,
    maps,
    arrive,
    leave: adapter => maps.chain.adapterPorts.set(LO, adapter),
    flows: (flows, next = 0) =>
      mapUpdate(programs.map('plan'), new Uint8Array(4), new Uint8Array(Uint32Array.of(flows - 1, next).buffer), 0n),
    begin(vrf, program, flows) {
      arrive(vrf)
      return runProgram(programs.program(program), { packet: testPacket(PACKET), repeat: flows }).durationNs
    },
    [Symbol.dispose]: () => programs[Symbol.dispose](),
  }
}

/** Adapters 1 and 2 are hops 0 and 1 of the chain, in stages 1 and 2 of the VRF; both of one arm. */
function configure(maps: Maps, rules: number): void {
  const { chain } = maps
  maps.node.set(0, {
    abiHash: 0n,
    mp0Ifindex: LO,
    mp1Ifindex: LO,
    gatherIfindex: 0,
    holdIfindex: 0,
    ipsecIfindex: 0,
    routeEpoch: 1,
    vaddr: be32('100.64.0.2'),
    eventIntervalNs: 1_000_000_000,
    icmpSrc6: new Uint8Array(16),
  })
  maps.nexthops.set(1, { kind: nexthopKind.NH_LAN, flags: 0, reserved: 0, target: LO })
  for (const [hop, adapter] of [1, 2].entries()) {
    chain.adapters.set(adapter, {
      ...zero(adapterCodec),
      kind: adapterKind.ADAPTER_ETHERNET,
      mtu: 1500,
      chain: CHAIN,
      hop,
      vrfStage: CHAINED | ((hop + 1) << ABI_STAGE_SHIFT),
      instance: adapter,
      nexthopInside: 10 * adapter,
      nexthopOutside: 10 * adapter + 1,
      insideIfindex: LO,
      outsideIfindex: LO,
    })
    const nexthop = { kind: nexthopKind.NH_ADAPTER, flags: 0, reserved: 0, target: adapter }
    maps.nexthops.set(10 * adapter, nexthop)
    maps.nexthops.set(10 * adapter + 1, { ...nexthop, flags: ABI_NH_F_OUTSIDE })
    const adapters = Array.from({ length: ABI_POOL_LINE_SLOTS }, (_, slot) => (slot === 0 ? adapter : 0))
    chain.poolLines.set(hop, { adapters })
    chain.pools.set(hop + 1, { slots: 1, balance: 0, firstLine: hop })
  }
  const pools = Array.from({ length: ABI_CHAIN_HOPS }, (_, hop) => (hop < 2 ? hop + 1 : 0))
  chain.chains.set(CHAIN, {
    vrf: CHAINED,
    hops: 2,
    flags: 0,
    reserved: 0,
    pools,
    hopFlags: new Uint8Array(ABI_CHAIN_HOPS),
  })
  // All but the last are about TCP.
  const rule = { ...zero(policyRuleCodec), sportTo: 0xffff, dportTo: 0xffff, chain: CHAIN }
  for (let index = 0; index < rules; index++)
    chain.policyRules.set(index, { ...rule, proto: index === rules - 1 ? 17 : 6 })
  chain.policies.set(CHAINED, { first: 0, rules, reserved: 0, version: 1, oldest: 0 })
}
