/** The FIB of the Linux port: hands everything to a worker thread, and starts another when it ends, which makes the table anew from the maps. */
import { setImmediate } from 'node:timers/promises'
import type { Worker } from 'node:worker_threads'
import { startWorker } from '../../worker.ts'
import { KernelError } from '../error.ts'
import type { FibKey } from '../fib-key.ts'
import { closeFd, duplicateFd } from '../native.ts'
import type { Fib, FibRoute, FibUsage } from '../port.ts'
import type { ArrayFd, FibFds } from './memory.ts'
import type { Answer, Request, WorkerStart } from './messages.ts'
import { ROUTE_WORDS, readRoute, writeRoute } from './route.ts'

/** ms before a worker that ended is replaced. */
const RESTART_MS = 100
/** A request that this many workers ended over is given up. */
const ATTEMPTS = 3

type RequestBody = Request extends infer R ? (R extends Request ? Omit<R, 'id'> : never) : never

interface Pending {
  request: Request
  attempts: number
  resolve(answer: Answer): void
  reject(error: Error): void
}

export class FibThread implements Fib {
  readonly #fds: FibFds
  /** Without an answer, oldest first. All are safe to be done twice. */
  readonly #pending = new Map<number, Pending>()
  readonly #faults: ((error: Error) => void)[] = []
  #worker: Worker | undefined
  /** The worker has mapped the maps. Until then nobody may terminate it: a native call that fails because its thread ends takes the process along. */
  #ready = false
  #restart: NodeJS.Timeout | undefined
  #lastId = 0
  #closed = false

  /** The worker starts with the first request. */
  constructor(fds: FibFds) {
    this.#fds = fds
  }

  async apply(changes: readonly FibRoute[]): Promise<ReadonlyMap<number, KernelError>> {
    const records = new Uint32Array(changes.length * ROUTE_WORDS)
    for (const [index, change] of changes.entries()) writeRoute(records, index, change, change.nexthop)
    const answer = await this.#ask({ what: 'apply', changes: records })
    if (answer.what !== 'apply') throw new TypeError(`${answer.what} is no answer to apply`)
    return new Map(
      Array.from(answer.refused, ([index, code]) => {
        const { vrf, address, prefixLength } = changes[index] as FibRoute
        return [index, new KernelError('write', `fib ${vrf} ${address}/${prefixLength}`, code)] as const
      }),
    )
  }

  async entries(): Promise<[FibKey, number][]> {
    const answer = await this.#ask({ what: 'records' })
    if (answer.what !== 'records') throw new TypeError(`${answer.what} is no answer to records`)
    const { records } = answer
    return Array.from({ length: records.length / ROUTE_WORDS }, (_, index) => readRoute(records, index))
  }

  async usage(): Promise<FibUsage> {
    const answer = await this.#ask({ what: 'usage' })
    if (answer.what !== 'usage') throw new TypeError(`${answer.what} is no answer to usage`)
    return answer.usage
  }

  onFault(handler: (error: Error) => void): void {
    this.#faults.push(handler)
  }

  /** Packets go on by the table as it is. */
  close(): void {
    this.#closed = true
    clearTimeout(this.#restart)
    for (const { reject } of this.#pending.values()) reject(new KernelError('write', 'fib', 'ESHUTDOWN'))
    this.#pending.clear()
    // Never terminated: see #ready. It finishes what it is at, and the process waits for it.
    this.#worker?.ref()
    this.#worker?.postMessage('end')
  }

  #ask(body: RequestBody): Promise<Answer> {
    if (this.#closed) return Promise.reject(new KernelError('write', 'fib', 'ESHUTDOWN'))
    return new Promise((resolve, reject) => {
      const request: Request = { ...body, id: ++this.#lastId }
      this.#pending.set(request.id, { request, attempts: 0, resolve, reject })
      if (this.#worker) {
        // Only what is waited for keeps the process alive.
        this.#worker.ref()
        this.#worker.postMessage(request)
      } else if (!this.#restart) {
        this.#start()
      }
    })
  }

  #start(): void {
    this.#restart = undefined
    // Its own descriptors: the dataplane may be closed, and its numbers mean something else, before the worker has begun.
    const fds = duplicate(this.#fds)
    const worker = startWorker('fib', { fds } satisfies WorkerStart)
    this.#worker = worker
    this.#ready = false
    let cause: unknown
    worker.on('message', (answer: Answer) => this.#answered(answer))
    worker.on('error', error => {
      cause = error
    })
    worker.on('exit', code => {
      for (const { fd } of Object.values(fds)) closeFd(fd)
      this.#ended(cause ?? new Error(`exit code ${code}`))
    })
    for (const { request } of this.#pending.values()) worker.postMessage(request)
  }

  #answered(answer: Answer): void {
    if (answer.what === 'ready') {
      this.#ready = true
      if (!this.#closed && this.#pending.size === 0) this.#worker?.unref()
      if (answer.lost > 0)
        this.#fault(new KernelError('rebuild', 'fib', 'ENOSPC', `no room any more for ${answer.lost} routes`))
      return
    }
    this.#pending.get(answer.id)?.resolve(answer)
    this.#pending.delete(answer.id)
    if (this.#pending.size === 0) this.#worker?.unref()
  }

  #ended(cause: unknown): void {
    this.#worker = undefined
    this.#ready = false
    if (this.#closed) return
    const error = new KernelError('write', 'fib', 'EIO', 'its worker ended; the table stays as it is', { cause })
    this.#fault(error)
    // The oldest is what it was at.
    const [first] = this.#pending
    if (first && ++first[1].attempts >= ATTEMPTS) {
      this.#pending.delete(first[0])
      first[1].reject(error)
    }
    this.#restart = setTimeout(() => this.#start(), RESTART_MS)
  }

  #fault(error: Error): void {
    for (const handler of this.#faults) handler(error)
  }

  /** Ends the worker as a fault would, once it has begun. For tests. */
  async kill(): Promise<void> {
    while (!this.#ready && this.#worker) await setImmediate()
    await this.#worker?.terminate()
  }
}

function duplicate(fds: FibFds): FibFds {
  const again = ({ fd, bytes }: ArrayFd): ArrayFd => ({ fd: duplicateFd(fd), bytes })
  return { fib: again(fds.fib), fib_routes: again(fds.fib_routes) }
}
