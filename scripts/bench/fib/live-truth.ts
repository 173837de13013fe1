/** Which answers are right while a table changes under its questions, by the plainest longest prefix match (naive.ts). */
import { lengthOf, ROUTE_WORDS, writeRoute } from '../../../agent/kernel/fib/route.ts'
import type { FibRoute } from '../../../agent/kernel/port.ts'
import { NaiveFib } from './naive.ts'
import type { Question } from './probe.ts'
import { mask } from './tables.ts'

export class LiveTruth {
  readonly #fib = new NaiveFib()
  readonly #questions: readonly Question[]
  /** By question: what holds, and what holds when the changes under way are made. Equal where none of them touches it. */
  readonly #now: Uint16Array
  readonly #next: Uint16Array
  /** Prefix -> the questions in it. Prefixes that have none are not there. */
  readonly #inside = new Map<number, number[]>()
  #touched = new Set<number>()

  /** @param table IPv4 routes of one VRF; changes are for prefixes of these, or of 32 bits */
  constructor(table: Uint32Array, questions: readonly Question[]) {
    this.#fib.apply(table)
    this.#questions = questions
    this.#now = Uint16Array.from(questions, question => this.#fib.lookup(question))
    this.#next = this.#now.slice()
    const lengths = new Set([32])
    for (let at = 1; at < table.length; at += ROUTE_WORDS) lengths.add(lengthOf(table[at] as number))
    for (const [index, { words }] of questions.entries())
      for (const length of lengths) {
        const key = keyOf(mask(words[0], length), length)
        const known = this.#inside.get(key)
        if (known) known.push(index)
        else this.#inside.set(key, [index])
      }
  }

  allows(index: number, answer: number): boolean {
    return answer === this.#now[index] || answer === this.#next[index]
  }

  /** The batch is under way: answers may be those before and those after it. Packets never see what two changes of one prefix have in between. */
  begin(batch: readonly FibRoute[]): void {
    const records = new Uint32Array(batch.length * ROUTE_WORDS)
    for (const [record, route] of batch.entries()) writeRoute(records, record, route, route.nexthop)
    this.#fib.apply(records)
    for (let at = 0; at < records.length; at += ROUTE_WORDS) {
      const key = keyOf(records[at + 3] as number, lengthOf(records[at + 1] as number))
      for (const index of this.#inside.get(key) ?? []) this.#touched.add(index)
    }
    for (const index of this.#touched) this.#next[index] = this.#fib.lookup(this.#questions[index] as Question)
  }

  /** The batch is made. */
  end(): void {
    for (const index of this.#touched) this.#now[index] = this.#next[index] as number
    this.#touched = new Set()
  }
}

const keyOf = (address: number, length: number) => address * 64 + length
