/**
 * The responder's cryptographic half in worker threads: the event loop, which also answers probes, route sessions and people, has a tenth of a
 * millisecond of work for a handshake instead of half of one. Each initiation stays with one worker, and so does every source that has one
 * under way, which keeps its packets in order. Queues are bounded: a queue that is a quarter full makes the gateway ask for cookies, from a full one
 * initiations fall off, and their edges try again.
 *
 * The four messages of a handshake cost both threads 80 µs together as structured clones; as CBOR, 120.
 */
import type { Worker } from 'node:worker_threads'
import type { Logger } from '../log.ts'
import { startWorker } from '../worker.ts'
import type { Datagrams } from './packets.ts'
import type { CryptoPort, OpenCrypto, PortReply } from './responder.ts'
import type { CryptoCommand, CryptoOptions, CryptoReply } from './responder-crypto.ts'

export interface PoolOptions {
  /** At least 1. */
  workers: number
  log: Logger
  /** ms until a worker that ended is started again. */
  restartMs?: number
  /** Tests keep hold of the threads. */
  start?: typeof startWorker
}

/** Steps that wait for one worker: 0.15 s of work, less than what an edge waits before it tries again. */
const FULL = 256
const BUSY = FULL / 4
const RESTART_MS = 1000

export function cryptoPool(pool: PoolOptions): OpenCrypto {
  return (options, reply) => new Pool(pool, options, reply)
}

/** One worker, whichever thread it is at the moment. */
interface Crew {
  worker: Worker | undefined
  /** Initiations in its hands -> their sources. */
  readonly ids: Map<number, string>
  /** Those for which it has a step to do. */
  readonly working: Set<number>
}

class Pool implements CryptoPort {
  readonly #pool: PoolOptions
  readonly #options: CryptoOptions
  readonly #reply: (reply: PortReply) => void
  readonly #crews: readonly Crew[]
  readonly #crewOf = new Map<number, Crew>()
  /** Where a source has initiations under way, and how many. */
  readonly #sources = new Map<string, { crew: Crew; initiations: number }>()
  #configuration: CryptoCommand | undefined
  #closed = false

  constructor(pool: PoolOptions, options: CryptoOptions, reply: (reply: PortReply) => void) {
    this.#pool = pool
    this.#options = options
    this.#reply = reply
    this.#crews = Array.from({ length: pool.workers }, () => ({
      worker: undefined,
      ids: new Map(),
      working: new Set(),
    }))
    for (const crew of this.#crews) this.#start(crew)
  }

  get pressure(): 'none' | 'busy' {
    return this.#crews.every(({ worker, working }) => worker === undefined || working.size >= BUSY) ? 'busy' : 'none'
  }

  post(command: CryptoCommand, from: string): boolean {
    if (command.type === 'configure') {
      this.#configuration = command
      for (const { worker } of this.#crews) worker?.postMessage(command)
      return true
    }
    const crew = command.type === 'init' ? this.#choose(from) : this.#crewOf.get(command.id)
    if (crew?.worker === undefined) return false
    const { id } = command
    if (command.type === 'init') {
      if (crew.working.size >= FULL) return false
      this.#take(crew, id, from)
    }
    if (command.type === 'init' || command.type === 'answer') crew.working.add(id)
    crew.worker.postMessage(portable(command))
    if (command.type === 'forget') this.#end(crew, id)
    return true
  }

  close(): void {
    this.#closed = true
    for (const { worker } of this.#crews) void worker?.terminate()
  }

  /** Where the source has another under way, else where least waits. */
  #choose(from: string): Crew | undefined {
    const known = this.#sources.get(from)?.crew
    if (known) return known
    let [least] = this.#crews
    for (const crew of this.#crews)
      if (crew.worker && (!least?.worker || crew.working.size < least.working.size)) least = crew
    return least
  }

  #take(crew: Crew, id: number, from: string): void {
    crew.ids.set(id, from)
    this.#crewOf.set(id, crew)
    this.#sources.set(from, { crew, initiations: (this.#sources.get(from)?.initiations ?? 0) + 1 })
  }

  #end(crew: Crew, id: number): void {
    const from = crew.ids.get(id)
    crew.ids.delete(id)
    crew.working.delete(id)
    this.#crewOf.delete(id)
    const source = from === undefined ? undefined : this.#sources.get(from)
    if (from === undefined || source === undefined) return
    source.initiations -= 1
    if (source.initiations === 0) this.#sources.delete(from)
  }

  #onReply(crew: Crew, reply: CryptoReply): void {
    if (!crew.ids.has(reply.id)) return
    crew.working.delete(reply.id)
    if (reply.type === 'answered' || reply.type === 'ignored') this.#end(crew, reply.id)
    this.#reply(reply.type === 'answered' ? { ...reply, packets: buffers(reply.packets) } : reply)
  }

  #start(crew: Crew): void {
    const { log, restartMs = RESTART_MS, start = startWorker } = this.#pool
    const worker = start('responder', this.#options)
    crew.worker = worker
    worker.unref()
    if (this.#configuration) worker.postMessage(this.#configuration)
    worker.on('message', (reply: CryptoReply) => this.#onReply(crew, reply))
    worker.on('error', error => log.error({ err: error }, `handshake worker failed: ${error.message}`))
    worker.on('exit', code => {
      crew.worker = undefined
      if (this.#closed) return
      log.warn({ code, lost: crew.ids.size }, 'handshake worker ended; another one is started')
      for (const id of [...crew.ids.keys()]) {
        this.#end(crew, id)
        this.#reply({ type: 'lost', id })
      }
      setTimeout(() => {
        if (!this.#closed) this.#start(crew)
      }, restartMs).unref()
    })
  }
}

/** A view takes its whole buffer along, and what UDP delivers is a view of 64 kB. */
function portable(command: CryptoCommand): CryptoCommand {
  if (command.type === 'init') return { ...command, noise: Uint8Array.from(command.noise) }
  if (command.type === 'init-kem') return { ...command, sealed: Uint8Array.from(command.sealed) }
  return command
}

/** Of a Buffer the other thread makes a Uint8Array. */
function buffers([first, ...more]: readonly [Uint8Array, ...Uint8Array[]]): Datagrams {
  const view = (bytes: Uint8Array) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
  return [view(first), ...more.map(view)]
}
