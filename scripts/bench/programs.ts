/** Benchmark programs (bpf/bench): loading, and timing one by BPF_PROG_TEST_RUN. */
import { join, resolve } from 'node:path'
import { type BpfObject, loadObject } from '../../agent/kernel/bpf-object.ts'
import { KernelError } from '../../agent/kernel/error.ts'
import * as libbpf from '../../agent/kernel/libbpf.ts'
import { runProgram, runXdp } from '../../agent/kernel/prog-run.ts'
import { BenchError } from './error.ts'
import type { Random } from './random.ts'

const FOLDER = resolve(import.meta.dirname, '../../bpf/out/bench')

export interface Timed {
  /** Name of the function in the object. */
  readonly program: string
  readonly packet: Uint8Array
  /** Runs per round. Default 100,000; for a program that takes 100 ns a round of 10 ms. */
  readonly repeat?: number
  /** Default tc. */
  readonly hook?: 'tc' | 'xdp'
}

export class BenchPrograms implements Disposable {
  readonly #object: BpfObject
  readonly #random: Random

  /** @param name of bpf/bench/<name>.bpf.c @param existing maps to share with other objects instead of making them */
  constructor(name: string, random: Random, existing: ReadonlyMap<string, number> = new Map()) {
    this.#object = loadObject(join(FOLDER, `${name}.bpf.o`), { existing })
    this.#random = random
  }

  get maps(): ReadonlyMap<string, number> {
    return this.#object.maps
  }

  map(name: string): number {
    const fd = this.#object.maps.get(name)
    if (fd === undefined) throw new BenchError(`no map ${name}`)
    return fd
  }

  program(name: string): number {
    const fd = this.#object.programs.get(name)
    if (fd === undefined) throw new BenchError(`no program ${name}`)
    return fd
  }

  /** Mean ns of one run over a round, from a fresh place of the random sequence. Whole ns: that is what the kernel tells. */
  time({ program, packet, repeat = 100_000, hook = 'tc' }: Timed): number {
    if (this.#object.maps.has('cursor')) this.seed()
    const fd = this.program(program)
    return uninterrupted(() => (hook === 'tc' ? runProgram : runXdp)(fd, { packet, repeat })).durationNs
  }

  /** A contender of compare(). */
  contender(timed: Timed): () => number {
    return () => this.time(timed)
  }

  /** Puts the programs' cursor (bpf/bench/bench.h) somewhere else. */
  seed(): void {
    // Never 0, where an xorshift stays for ever.
    const state = new Uint32Array([this.#random.u32() | 1, this.#random.u32(), 0, 0])
    const result = libbpf.mapUpdate(this.map('cursor'), new Uint8Array(4), new Uint8Array(state.buffer), 0n)
    libbpf.checkResult(result, 'write', 'map cursor')
  }

  /** What the last run left in the cursor. */
  get result(): bigint {
    const value = new BigUint64Array(2)
    const bytes = new Uint8Array(value.buffer)
    libbpf.checkResult(libbpf.mapLookup(this.map('cursor'), new Uint8Array(4), bytes), 'read', 'map cursor')
    return value[1] ?? 0n
  }

  [Symbol.dispose](): void {
    this.#object.close()
  }
}

const TRIES = 3

/** The kernel gives up a long run when any signal arrives, Ctrl-C as well as the end of a child; compare() looks whether it should end too. */
function uninterrupted<T>(run: () => T): T {
  for (let tries = 1; ; tries++) {
    try {
      return run()
    } catch (error) {
      if (tries === TRIES || !(error instanceof KernelError && error.code === 'EINTR')) throw error
    }
  }
}
