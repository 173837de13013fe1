/** Gateways of the suite `handshake`: one that answers while it is called, one with worker threads. */
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { silent } from '../../../agent/log.ts'
import type { InitiatorResult } from '../../../agent/mp/initiator.ts'
import type { Responder, ResponderResult } from '../../../agent/mp/responder.ts'
import { cryptoPool } from '../../../agent/mp/responder-pool.ts'
import { BenchError } from '../error.ts'
import type { Initiation, Nodes } from './handshake-nodes.ts'

type Established<R extends { kind: string }> = Extract<R, { kind: 'established' }>

export class InlineGateway {
  readonly #responder: Responder
  #result: ResponderResult | undefined

  constructor(nodes: Nodes) {
    this.#responder = nodes.responder(result => {
      this.#result = result
    })
  }

  /** @returns undefined when nothing came of it */
  take(packets: readonly Uint8Array[], source: Initiation['source']): ResponderResult | undefined {
    this.#result = undefined
    for (const packet of packets) this.#responder.receive(packet, source)
    return this.#result
  }

  answer({ packets, source }: Initiation): Established<ResponderResult> {
    const result = this.take(packets, source)
    if (result?.kind !== 'established') throw new BenchError(`no session: ${JSON.stringify(result)}`)
    return result
  }
}

/** The edge's side of the same session. */
export function sessionOf(
  { initiator }: Initiation,
  { packets }: Established<ResponderResult>,
): Established<InitiatorResult> {
  const result = packets.map(packet => initiator.receive(packet)).at(-1)
  if (result?.kind !== 'established') throw new BenchError(`no session at the edge: ${JSON.stringify(result)}`)
  return result
}

/** Steps that wait for a worker before it is busy: half of it in use. */
const WINDOW = 32
/** ms between two deliveries. */
const EVERY_MS = 2

export class PoolGateway implements Disposable {
  readonly #responder: Responder
  #open = new Map<number, Initiation>()
  #settled = () => {}
  cookies = 0
  dropped = 0

  /** @param workers 0: in this thread */
  constructor(nodes: Nodes, workers: number) {
    this.#responder = nodes.responder(
      (result, { port }) => this.#done(result, port),
      workers > 0 ? cryptoPool({ workers, log: silent }) : undefined,
    )
  }

  /** As fast as it goes, and never asked for cookies. */
  async answerAll(initiations: readonly Initiation[]): Promise<void> {
    const left = [...initiations]
    while (left.length > 0 || this.#open.size > 0) {
      while (left.length > 0 && this.#open.size < WINDOW) this.#send(left.shift())
      await new Promise<void>(resolve => {
        this.#settled = resolve
        if (this.#open.size === 0) resolve()
      })
    }
  }

  /** As a network brings them, so many a second. @returns the event loop's p99 delay, and this thread's work for one */
  async offer(initiations: readonly Initiation[], perSecond: number): Promise<{ delayMs: number; mainUs: number }> {
    const delays = monitorEventLoopDelay({ resolution: 1 })
    const [begin, before] = [performance.now(), process.threadCpuUsage()]
    delays.enable()
    let sent = 0
    while (sent < initiations.length || this.#open.size > 0) {
      const due = Math.min(initiations.length, Math.floor(((performance.now() - begin) / 1000) * perSecond))
      while (sent < due) this.#send(initiations[sent++])
      await new Promise(resolve => setTimeout(resolve, EVERY_MS))
    }
    delays.disable()
    const { user, system } = process.threadCpuUsage(before)
    return { delayMs: delays.percentile(99) / 1e6, mainUs: (user + system) / initiations.length }
  }

  #send(initiation: Initiation | undefined): void {
    if (!initiation) return
    this.#open.set(initiation.source.port, initiation)
    for (const packet of initiation.packets) this.#responder.receive(packet, initiation.source)
  }

  #done(result: ResponderResult, port: number): void {
    const initiation = this.#open.get(port)
    if (!initiation) return
    const cookie = result.kind === 'reply' ? initiation.initiator.receive(result.packet) : undefined
    if (cookie?.kind === 'cookie') {
      this.cookies += 1
      // The INIT_KEM that followed is on its way to be ignored; the next turn brings both again.
      setImmediate(() => {
        for (const packet of cookie.packets) this.#responder.receive(packet, initiation.source)
      })
      return
    }
    // Of an INIT that was answered by a cookie: its other part.
    if (result.kind === 'ignored' && result.reason === 'no-handshake') return
    if (result.kind !== 'established') {
      if (result.kind !== 'ignored' || result.reason !== 'overloaded')
        throw new BenchError(`no session: ${JSON.stringify(result)}`)
      this.dropped += 1
    }
    this.#open.delete(port)
    this.#settled()
  }

  [Symbol.dispose](): void {
    this.#responder.close()
  }
}
