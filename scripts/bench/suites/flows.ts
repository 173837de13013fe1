/** The flow table beside HASH and LRU_HASH: bpf/bench/flows.bpf.c. */
import { join } from 'node:path'
import { loadObject } from '../../../agent/kernel/bpf-object.ts'
import { initialiseFlowTable, LinuxFlowTable } from '../../../agent/kernel/flow-table.ts'
import * as libbpf from '../../../agent/kernel/libbpf.ts'
import { type MapFds, readCounters } from '../../../agent/kernel/maps.ts'
import { runProgram } from '../../../agent/kernel/prog-run.ts'
import { findObjectFolder } from '../../../agent/kernel/programs.ts'
import { ABI_MAX_FLOW_LINES, flowCodec } from '../../../schema/abi.gen.ts'
import { timesFaster, valueAtMost } from '../figure.ts'
import { testPacket } from '../packet.ts'
import { BenchPrograms } from '../programs.ts'
import type { Bench, Suite, Verify } from '../suite.ts'
import { onTwoCpus } from './flows-two-cpus.ts'

/** As in flows.bpf.c. */
const FLOWS_PER_RUN = 64
const MILLION = 2 ** 20

const CURVE = [1, 2 ** 10, 2 ** 14, 2 ** 17, MILLION]
const PEERS = { hash: 'HASH', lru: 'LRU_HASH' } as const

export const suite: Suite = {
  name: 'flows',
  about: 'the flow table beside the kernel’s hash tables',
  minutes: 10,
  async verify(verify) {
    findsAll(verify)
    await noneTwice(verify)
  },
  async measure(bench) {
    bench.figure({
      name: 'memory',
      value: (ABI_MAX_FLOW_LINES * 2 * flowCodec.size) / 2 ** 20,
      unit: 'MiB',
      bar: valueAtMost(64),
    })
    for (const flows of bench.quick ? [1, 2 ** 14] : CURVE) await hits(bench, flows)
    await putsIn(bench, bench.quick ? 2 ** 14 : MILLION)
    await ipv6(bench, bench.quick ? 2 ** 14 : MILLION)
  },
}

function open(random: Verify['random'], flows: number): BenchPrograms {
  const programs = new BenchPrograms('flows', random)
  initialiseFlowTable(programs.maps)
  for (const mark of [0, 1]) setRange(programs, { mark, flows, next: 0 })
  programs.seed()
  return programs
}

function setRange(programs: BenchPrograms, { mark, flows, next }: { mark: number; flows: number; next: number }): void {
  const key = new Uint8Array(Uint32Array.of(mark).buffer)
  const value = new Uint8Array(Uint32Array.of(flows, next).buffer)
  libbpf.checkResult(libbpf.mapUpdate(programs.map('ranges'), key, value, 0n), 'write', 'map ranges')
}

/** Runs that work on `flows` flows, at least one. @returns mean ns of one flow */
function work(programs: BenchPrograms, program: string, flows: number): number {
  const repeat = Math.ceil(flows / FLOWS_PER_RUN)
  return programs.time({ program, packet: PACKET, repeat }) / FLOWS_PER_RUN
}

const PACKET = testPacket(64)

/** Puts the flows from `first` on in. */
function fill(programs: BenchPrograms, table: string, first: number, flows: number): number {
  setRange(programs, { mark: 0, flows: 1, next: first })
  return work(programs, `${table}_fill`, flows)
}

function findsAll({ random, check }: Verify): void {
  const flows = 2 ** 14
  for (const table of ['table', 'table6', 'hash', 'hash6', 'lru']) {
    using programs = open(random, flows)
    fill(programs, table, 0, flows)
    setRange(programs, { mark: 0, flows, next: 0 })
    for (const run of ['pipelined', 'dependent']) {
      work(programs, `${table}_${run}`, 4 * flows)
      check(`${table}: not found, ${run}`, Number(programs.result), 0, 'flows')
    }
    const { verdict } = runProgram(programs.program(`${table}_absent`), { packet: PACKET })
    check(`${table}: passed on`, verdict, 0)
    check(`${table}: absent flows not found`, Number(programs.result), FLOWS_PER_RUN, 'flows')
  }
}

/** Both CPUs put the same flows in, in the same order at the same time. */
async function noneTwice({ random, check }: Verify): Promise<void> {
  const flows = 2 ** 19
  for (const table of ['table', 'table6']) {
    using programs = open(random, flows)
    await onTwoCpus({ program: programs.program(`${table}_fill`), packet: PACKET, repeat: flows / FLOWS_PER_RUN })
    // What both found busy is entered with a later packet, as every flow's is.
    fill(programs, table, 0, flows)
    const { 'flow-new': entered = 0, 'flow-busy': busy = 0 } = readCounters(programs.maps)
    const slots = slotsTaken(programs.maps)
    check(`${table} from two CPUs: flows in twice`, slots - flows, 0, 'flows')
    check(`${table} from two CPUs: entered`, entered, flows, 'flows')
    check(`${table} from two CPUs: one waited too long for the other`, Number(busy > flows / 1000), 0)
  }
}

/** One that holds a flow which another holds too counts as well. */
function slotsTaken(maps: MapFds): number {
  const sweeper = loadObject(join(findObjectFolder(), 'flows.bpf.o'), { existing: maps })
  try {
    const table = new LinuxFlowTable(maps, sweeper.programs.get('flow_sweep') ?? -1)
    const { live, freed } = table.sweep(0, table.lines)
    return live + freed
  } finally {
    sweeper.close()
  }
}

async function hits(bench: Bench, flows: number): Promise<void> {
  using programs = open(bench.random, flows)
  for (const table of ['table', 'hash', 'lru']) fill(programs, table, 0, flows)
  setRange(programs, { mark: 0, flows, next: 0 })
  const contender = (program: string) => () => work(programs, program, 2 ** 18)
  for (const run of ['pipelined', 'dependent'] as const) {
    const times = await bench.compare({
      table: contender(`table_${run}`),
      hash: contender(`hash_${run}`),
      lru: contender(`lru_${run}`),
    })
    for (const peer of ['hash', 'lru'] as const) {
      const bar = peer === 'hash' && flows === MILLION ? timesFaster(run === 'pipelined' ? 4 : 2.5) : undefined
      bench.figure({
        name: `hit, ${run}, ${count(flows)}`,
        value: times.table,
        unit: 'ns',
        peer: { name: PEERS[peer], value: times[peer] },
        ratioIs: 'peer/value',
        ...(bar && { bar }),
        curve: { name: `a flow that is known, ${run}`, x: flows, over: 'flows' },
      })
    }
  }
}

/** Fills the tables part by part, one round each, so a round's figure is of the load that it begins at. */
async function putsIn(bench: Bench, total: number): Promise<void> {
  using programs = open(bench.random, total)
  // One part is for the round before the first.
  const part = Math.floor(total / (bench.rounds + 1) / FLOWS_PER_RUN) * FLOWS_PER_RUN
  const filler = (table: string) => (round: number) => fill(programs, table, (round + 1) * part, part)
  const times = await bench.compare({ table: filler('table'), hash: filler('hash'), lru: filler('lru') })
  for (const peer of ['hash', 'lru'] as const)
    bench.figure({
      name: `a flow that is new, up to ${count(total)}`,
      value: times.table,
      unit: 'ns',
      peer: { name: PEERS[peer], value: times[peer] },
      ...(peer === 'hash' ? { bar: timesFaster(1.4) } : { ratioIs: 'peer/value' as const }),
    })
  const entered = part * (bench.rounds + 1)
  fill(programs, 'table', entered, total - entered)
  const { 'flow-replaced': replaced = 0, 'flow-full': full = 0 } = readCounters(programs.maps)
  bench.figure({
    name: `of ${count(total)} found no free slot`,
    value: (100 * (replaced + full)) / total,
    unit: '%',
    bar: valueAtMost(0.05),
  })
  setRange(programs, { mark: 0, flows: total, next: 0 })
  const absent = await bench.compare({
    table: () => work(programs, 'table_absent', 2 ** 18),
    hash: () => work(programs, 'hash_absent', 2 ** 18),
  })
  bench.figure({
    name: `a flow that is not known, ${count(total)}`,
    value: absent.table,
    unit: 'ns',
    peer: { name: PEERS.hash, value: absent.hash },
    ratioIs: 'peer/value',
  })
}

async function ipv6(bench: Bench, flows: number): Promise<void> {
  using programs = open(bench.random, flows)
  for (const table of ['table6', 'hash6']) fill(programs, table, 0, flows)
  setRange(programs, { mark: 0, flows, next: 0 })
  for (const run of ['pipelined', 'dependent'] as const) {
    const times = await bench.compare({
      table: () => work(programs, `table6_${run}`, 2 ** 18),
      hash: () => work(programs, `hash6_${run}`, 2 ** 18),
    })
    bench.figure({
      name: `IPv6 hit, ${run}, ${count(flows)}`,
      value: times.table,
      unit: 'ns',
      peer: { name: 'HASH of the whole tuple', value: times.hash },
      ratioIs: 'peer/value',
    })
  }
}

const count = (flows: number) => `${flows.toLocaleString('en')} flow${flows === 1 ? '' : 's'}`
