/**
 * Frees what has outlived itself in the flow table, a slice every second and all of it in half a minute: 2 MB at a time on a gateway, which
 * takes about a millisecond. Nothing waits for it, see bpf/flows.bpf.c; but a new flow's way is shorter where slots are free.
 */
import type { FlowTable } from '../kernel/port.ts'
import type { Logger } from '../log.ts'
import { every } from './periodic.ts'

const INTERVAL_MS = 1000
const SLICES = 32

export class FlowSweeper {
  readonly #table: FlowTable
  readonly #timer: { stop(): void }
  #line = 0
  #live = 0
  #lastLive: number | undefined

  constructor(table: FlowTable, log: Logger) {
    this.#table = table
    this.#timer = every(INTERVAL_MS, () => this.step(), log)
  }

  /** Flows that the newest full pass left, undefined before the first. */
  get live(): number | undefined {
    return this.#lastLive
  }

  /** One slice. */
  step(): void {
    const { lines } = this.#table
    const slice = Math.ceil(lines / SLICES)
    this.#live += this.#table.sweep(this.#line, slice).live
    this.#line += slice
    if (this.#line < lines) return
    this.#lastLive = this.#live
    this.#line = 0
    this.#live = 0
  }

  stop(): void {
    this.#timer.stop()
  }
}
