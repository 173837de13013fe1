/** A FIB of its own in the kernel (bpf/bench/fib.bpf.c), filled by the product's engine and asked through the product's look-up. */
import { resolve } from 'node:path'
import { type BpfObject, loadObject } from '../../../agent/kernel/bpf-object.ts'
import { FibEngine } from '../../../agent/kernel/fib/engine.ts'
import { type FibMemory, mapFib, mapPages, waitGrace } from '../../../agent/kernel/fib/memory.ts'
import { fibFds } from '../../../agent/kernel/maps.ts'
import { runProgram } from '../../../agent/kernel/prog-run.ts'
import type { MapSizes } from '../../../agent/kernel/sizes.ts'
import { BenchError } from '../error.ts'

const OBJECT = resolve(import.meta.dirname, '../../../bpf/out/bench/fib.bpf.o')

/** As in fib.bpf.c. */
export const QUESTIONS = 2 ** 20
const QUESTION_BYTES = 32
const QUESTION_WORDS = QUESTION_BYTES / 4
const ANSWERS_PER_RUN = 4096

/** An address as its two halves; an IPv4 one in the top 32 bits. */
export interface Question {
  vrf: number
  family: 4 | 6
  /** Four 32-bit words, most significant first. */
  words: readonly [number, number, number, number]
}

export class FibProbe implements Disposable {
  readonly memory: FibMemory
  engine: FibEngine
  readonly object: BpfObject
  readonly #questions: ReturnType<typeof mapPages>

  /** @param sizes bytes of fib and entries of fib_routes, where not those of a gateway */
  constructor(sizes: MapSizes = {}) {
    this.object = loadObject(OBJECT, { sizes })
    this.memory = mapFib(fibFds(this.object.maps))
    this.engine = new FibEngine(this.memory, waitGrace)
    this.#questions = mapPages('questions', { fd: this.fd('questions'), bytes: QUESTIONS * QUESTION_BYTES })
  }

  fd(map: string): number {
    const fd = this.object.maps.get(map)
    if (fd === undefined) throw new BenchError(`no map ${map}`)
    return fd
  }

  program(name: string): number {
    const fd = this.object.programs.get(name)
    if (fd === undefined) throw new BenchError(`no program ${name}`)
    return fd
  }

  /** Another engine over the same maps, as a restarted agent makes one. */
  reopen(): void {
    this.engine = new FibEngine(this.memory, waitGrace)
  }

  /** Writes the question at `index`. */
  put(index: number, { vrf, family, words }: Question): void {
    const at = index * QUESTION_WORDS
    const { words: memory } = this.#questions
    memory[at] = vrf
    memory[at + 1] = family
    memory[at + 2] = words[1]
    memory[at + 3] = words[0]
    memory[at + 4] = words[3]
    memory[at + 5] = words[2]
  }

  answer(index: number): number {
    return this.#questions.words[index * QUESTION_WORDS + 6] as number
  }

  /** Has the kernel answer questions 0 to `count` - 1, from the FIB or from the LPM_TRIE beside it. */
  ask(count: number, program: 'ask' | 'ask_lpm' = 'ask'): void {
    const packet = new Uint8Array(64)
    for (let first = 0; first < count; first += ANSWERS_PER_RUN) {
      new DataView(packet.buffer).setUint32(0, first, true)
      runProgram(this.program(program), { packet })
    }
  }

  [Symbol.dispose](): void {
    this.#questions.close()
    this.memory.close()
    this.object.close()
  }
}
