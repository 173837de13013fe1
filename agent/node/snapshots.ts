/**
 * Writes the snapshot for a successor: 50 ms after a lone change, and in a storm of changes twice a second. One of a gateway with 10,000 edges takes
 * half a second to make: it is made in slices, beside everything else, and the time to the next grows with what the last one took, so that writing
 * never has more than a twentieth of the time. What changes while it is made is dirty again, and in the next one.
 */
import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { mkdir, open } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { Logger } from '../log.ts'
import { Slices } from '../loop/slices.ts'

const DELAY_MS = 50
const INTERVAL_MS = 500
const INTERVAL_PER_COST = 20
/** Bytes that are written together. */
const BLOCK = 1 << 16

export interface SnapshotsOptions {
  file: string
  /** The content now, in pieces. */
  pieces: () => Iterable<Uint8Array>
  /** What goes wrong is logged: an agent without a snapshot can do all but be adopted. */
  log: Logger
}

export class Snapshots {
  readonly #options: SnapshotsOptions
  #timer: NodeJS.Timeout | undefined
  /** ms, monotonic: not before. */
  #next = 0
  /** Grows with every attempt: one that was under way must not replace the last one's file. */
  #attempt = 0
  #writing = false
  #again = false

  constructor(options: SnapshotsOptions) {
    this.#options = options
  }

  /** Something changed that is worth remembering. */
  save(): void {
    if (this.#writing) this.#again = true
    else this.#timer ??= setTimeout(() => this.#write(), Math.max(DELAY_MS, this.#next - performance.now()))
  }

  #write(): void {
    this.#timer = undefined
    this.#writing = true
    const begin = performance.now()
    this.#writeInSlices()
      .catch(error => this.#failed(error))
      .finally(() => {
        this.#next = begin + Math.max(INTERVAL_MS, INTERVAL_PER_COST * (performance.now() - begin))
        this.#writing = false
        if (this.#again) this.save()
        this.#again = false
      })
  }

  async #writeInSlices(): Promise<void> {
    this.#attempt += 1
    const attempt = this.#attempt
    const { file, pieces } = this.#options
    const temporary = `${file}.new`
    await mkdir(dirname(file), { recursive: true, mode: 0o700 })
    // No fsync: a process that dies loses nothing that was written, and a machine that dies loses the directory anyway.
    await using handle = await open(temporary, 'w', 0o600)
    const slices = new Slices()
    let block: Uint8Array[] = []
    let length = 0
    for (const piece of pieces()) {
      block.push(piece)
      length += piece.length
      if (length >= BLOCK) {
        await handle.writeFile(Buffer.concat(block))
        block = []
        length = 0
      }
      if (slices.over) await slices.rest()
    }
    await handle.writeFile(Buffer.concat(block))
    if (attempt === this.#attempt) renameSync(temporary, file)
    else rmSync(temporary, { force: true })
  }

  /** At once and whole: the agent ends. */
  saveNow(): void {
    this.cancel()
    this.#attempt += 1
    const { file, pieces } = this.#options
    const temporary = `${file}.last`
    try {
      mkdirSync(dirname(file), { recursive: true, mode: 0o700 })
      writeFileSync(temporary, Buffer.concat([...pieces()]), { mode: 0o600 })
      renameSync(temporary, file)
    } catch (error) {
      this.#failed(error)
    }
  }

  #failed(error: unknown): void {
    const reason = error instanceof Error ? error.message : String(error)
    this.#options.log.error({ err: error }, `snapshot not written: ${reason}`)
  }

  cancel(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#again = false
  }
}
