/** What nothing can be faster than: the parts of bpf/bench/floor.bpf.c, each over the program without it. */
import * as libbpf from '../../../agent/kernel/libbpf.ts'
import { runProgram, runXdp } from '../../../agent/kernel/prog-run.ts'
import { testPacket } from '../packet.ts'
import { BenchPrograms } from '../programs.ts'
import type { Sample } from '../sample.ts'
import { difference, per } from '../sample.ts'
import type { Bench, Suite } from '../suite.ts'

const TC_ACT_OK = 0
const XDP_PASS = 2

/** As in floor.bpf.c. */
const LOOKUPS = 16
const HOT = 64
const COLD_HASH = 2 ** 20

export const suite: Suite = {
  name: 'floor',
  about: 'what a packet is made of, part by part: nothing can be faster',
  minutes: 3,
  /** Whatever is not over in one piece would be timed as if it were. */
  verify({ random, check }) {
    using programs = new BenchPrograms('floor', random)
    const packet = testPacket(64)
    for (const name of ['bare_encapsulation', 'bare_encapsulation_xdp']) {
      const run = name.endsWith('_xdp') ? runXdp : runProgram
      const { verdict, packet: after } = run(programs.program(name), { packet, repeat: 3 })
      check(`${name}: passed on`, verdict, name.endsWith('_xdp') ? XDP_PASS : TC_ACT_OK)
      check(`${name}: bytes left behind`, after.length - packet.length, 0)
    }
  },
  async measure(bench) {
    using programs = new BenchPrograms('floor', bench.random)
    fillHash(programs.map('hot_hash'), HOT)
    fillHash(programs.map('cold_hash'), COLD_HASH)
    await parts(bench, programs)
    await lookups(bench, programs)
  },
}

async function parts(bench: Bench, programs: BenchPrograms): Promise<void> {
  const packet = testPacket(64)
  const tc = (program: string) => programs.contender({ program, packet })
  const xdp = (program: string) => programs.contender({ program, packet, hook: 'xdp' })
  const times = await bench.compare({
    empty: tc('empty'),
    'empty, XDP': xdp('empty_xdp'),
    'clock, precise': tc('clock_precise_read'),
    'clock, coarse': tc('clock_coarse_read'),
    'clock, jiffies': tc('jiffies_read'),
    'bare encapsulation': tc('bare_encapsulation'),
    'bare encapsulation, XDP': xdp('bare_encapsulation_xdp'),
  })
  const whole = (name: keyof typeof times) => bench.figure({ name: `${name} program`, value: times[name], unit: 'ns' })
  whole('empty')
  whole('empty, XDP')
  for (const name of ['clock, precise', 'clock, coarse', 'clock, jiffies'] as const)
    bench.figure({ name, value: difference(times[name], times.empty), unit: 'ns' })
  bench.figure({ name: '36 bytes of encapsulation and undoing', value: times['bare encapsulation'], unit: 'ns' })
  bench.figure({ name: 'the same, XDP', value: times['bare encapsulation, XDP'], unit: 'ns' })
}

async function lookups(bench: Bench, programs: BenchPrograms): Promise<void> {
  const contender = (program: string) => programs.contender({ program, packet: testPacket(64), repeat: 20_000 })
  const times = await bench.compare({
    'array, hot': contender('array_hot'),
    'array, cold': contender('array_cold'),
    'array, cold, dependent': contender('array_cold_dependent'),
    'hash, hot': contender('hash_hot'),
    'hash of 1M, cold': contender('hash_cold'),
    'hash of 1M, cold, dependent': contender('hash_cold_dependent'),
    nothing: contender('no_lookup'),
  })
  const each = (time: Sample) => per(difference(time, times.nothing), LOOKUPS)
  for (const [name, time] of Object.entries(times))
    if (name !== 'nothing') bench.figure({ name: `look-up: ${name}`, value: each(time), unit: 'ns' })
}

function fillHash(fd: number, entries: number): void {
  const keys = Uint32Array.from({ length: entries }, (_, index) => index)
  const values = new Uint8Array(entries * 64)
  const { result } = libbpf.mapUpdateBatch(fd, new Uint8Array(keys.buffer), values, entries)
  libbpf.checkResult(result, 'fill', 'hash')
}
