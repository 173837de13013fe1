/**
 * The node's side of the orchestrator: what the node was last told, and the connection that brings news. The node dials, follows its state, and works
 * on from the state file whenever the orchestrator is away.
 */
import { EventEmitter } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { createTRPCClient, createWSClient, type TRPCClient, wsLink } from '@trpc/client'
import type { AppRouter } from '../../orchestrator/api/router.ts'
import { type NodeEvent, type NodeReport, type NodeState, nodeStateSchema } from '../../schema/node-state.ts'
import type { Logger } from '../log.ts'
import { importKeyPair, type KeyPair } from '../mp/dh.ts'
import { Backoff } from './backoff.ts'
import { renewIfDue } from './certificate.ts'
import { EventQueue } from './event-queue.ts'
import { type IdentityFile, readNode, writeState } from './identity-file.ts'
import { connectReason, socketClass } from './socket.ts'

export interface IntentClientOptions {
  /** Where `activate` wrote. */
  directory: string
  log: Logger
  /** Instead of the address of the activation. */
  url?: string | undefined
}

interface Happenings {
  /** A state that differs from the last one; it is on disk a moment later. */
  state: [NodeState]
  connected: [boolean]
}

/** Orchestrator close codes from which on waiting helps little (orchestrator/publish/connections.ts). */
const REFUSED = new Set([4401, 4403])
const CERTIFICATE_CHECK_MS = 6 * 3_600_000

export class IntentClient extends EventEmitter<Happenings> {
  readonly staticKey: KeyPair
  readonly url: string
  readonly #directory: string
  readonly #log: Logger
  readonly #backoff = new Backoff()
  readonly #events: EventQueue
  #identity: IdentityFile
  #state: NodeState
  #report: NodeReport | undefined
  #connected = false
  #socket: ReturnType<typeof createWSClient> | undefined
  #trpc: TRPCClient<AppRouter> | undefined
  #unsubscribe: (() => void) | undefined
  #resubscribe: NodeJS.Timeout | undefined
  #certificateTimer: NodeJS.Timeout | undefined
  #saving: Promise<void> = Promise.resolve()
  #closed = false

  /** Reads identity and last known state; connects only at `start`. Throws IntentError in one line that names the file. */
  constructor(options: IntentClientOptions) {
    super()
    const { identity, state } = readNode(options.directory)
    this.#directory = options.directory
    this.#log = options.log
    this.#identity = identity
    this.#state = state
    this.url = options.url ?? identity.url
    this.staticKey = importKeyPair(Buffer.from(identity.staticKey, 'base64'))
    this.#events = new EventQueue(async batch => {
      await this.#trpc?.agent.event.mutate(batch)
    })
  }

  get node(): string {
    return this.#identity.node
  }

  get name(): string {
    return this.#identity.name
  }

  /** The newest state; from the file until the orchestrator says otherwise. */
  get state(): NodeState {
    return this.#state
  }

  /** Subscribed and current. */
  get connected(): boolean {
    return this.#connected
  }

  /** Events that fell out of the full queue while the orchestrator was away. */
  get lostEvents(): number {
    return this.#events.lost
  }

  start(): void {
    if (this.#socket || this.#closed) return
    this.#socket = createWSClient({
      url: this.url,
      WebSocket: socketClass({
        tls: () => ({ ca: this.#identity.ca, certificate: this.#identity.certificate, key: this.#identity.tlsKey }),
        onError: error => this.#log.debug({ url: this.url, reason: connectReason(error) }, 'orchestrator not reached'),
        onClose: (code, reason) => this.#down(code, reason),
      }),
      retryDelayMs: () => this.#backoff.next(),
      keepAlive: { enabled: true, intervalMs: 10_000, pongTimeoutMs: 5_000 },
    })
    this.#trpc = createTRPCClient<AppRouter>({ links: [wsLink({ client: this.#socket })] })
    this.#subscribe(this.#trpc)
    this.#certificateTimer = setInterval(() => this.#renewCertificate(), CERTIFICATE_CHECK_MS)
    this.#certificateTimer.unref()
  }

  #subscribe(trpc: TRPCClient<AppRouter>): void {
    const subscription = trpc.agent.state.subscribe(
      { lastEventId: String(this.#state.revision) },
      {
        onStarted: () => this.#up(),
        onData: ({ data }) => this.#receive(data),
        onError: error => this.#again(error.message),
        onComplete: () => this.#again('the orchestrator ended the subscription'),
      },
    )
    this.#unsubscribe = () => subscription.unsubscribe()
  }

  /** tRPC renews subscriptions over cuts by itself; an error of the procedure ends one for good. */
  #again(reason: string): void {
    if (this.#closed || this.#resubscribe) return
    this.#setConnected(false)
    this.#log.warn({ reason }, 'state subscription ended; trying again')
    this.#resubscribe = setTimeout(() => {
      this.#resubscribe = undefined
      if (this.#trpc && !this.#closed) this.#subscribe(this.#trpc)
    }, this.#backoff.next())
  }

  #up(): void {
    this.#backoff.reset()
    this.#setConnected(true)
    if (this.#report) this.report(this.#report)
    this.#events.resume()
    this.#renewCertificate()
  }

  #down(code: number, reason: string): void {
    if (this.#closed) return
    this.#events.pause()
    if (REFUSED.has(code)) {
      this.#backoff.slow()
      this.#log.error(
        { url: this.url, reason },
        'the orchestrator refuses this node; working on from the last known state',
      )
    } else if (this.#connected) {
      this.#log.warn({ url: this.url, code, reason }, 'orchestrator lost; working on from the last known state')
    }
    this.#setConnected(false)
  }

  #setConnected(connected: boolean): void {
    if (connected === this.#connected) return
    this.#connected = connected
    this.emit('connected', connected)
  }

  #receive(data: unknown): void {
    const parsed = nodeStateSchema.safeParse(data)
    if (!parsed.success || parsed.data.node !== this.#identity.node) {
      this.#log.error(
        { problem: parsed.error?.issues[0] ?? 'of another node' },
        'a state from the orchestrator cannot be used',
      )
      return
    }
    const state = parsed.data
    if (state.revision === this.#state.revision) return
    this.#state = state
    // First act, then remember: the disk must not delay a toggle, nor a listener that fails keep the state from being remembered.
    this.#saving = this.#saving.then(() => this.#save(state))
    try {
      this.emit('state', state)
    } catch (error) {
      this.#log.error({ err: error, revision: state.revision }, 'a state was not taken up')
    }
  }

  async #save(state: NodeState): Promise<void> {
    if (state !== this.#state) return
    try {
      await writeState(this.#directory, state)
    } catch (error) {
      this.#log.error(
        { err: error, directory: this.#directory },
        'cannot write the state file; a restart would use an older state',
      )
    }
  }

  #renewCertificate(): void {
    const trpc = this.#trpc
    if (!trpc || !this.#connected) return
    renewIfDue(this.#directory, this.#identity, tlsKey => trpc.agent.renewCertificate.mutate({ tlsKey })).then(
      renewed => {
        if (renewed) this.#log.info({}, 'certificate renewed')
        this.#identity = renewed ?? this.#identity
      },
      error => this.#log.error({ err: error }, 'cannot renew the certificate; trying again'),
    )
  }

  /** The newest report is sent now or once connected, and again after every cut. */
  report(report: NodeReport): void {
    this.#report = report
    if (!this.#connected) return
    this.#trpc?.agent.report
      .mutate(report)
      .catch((error: unknown) => this.#log.debug({ err: error }, 'report not sent'))
  }

  /** Queued while the orchestrator is away; the oldest go first when there are too many. */
  event(event: NodeEvent): void {
    this.#events.add(event)
  }

  /** Resolves once the state file is written. */
  async close(): Promise<void> {
    this.#closed = true
    clearTimeout(this.#resubscribe)
    clearInterval(this.#certificateTimer)
    this.#events.pause()
    this.#unsubscribe?.()
    // tRPC waits for open calls; behind a dead connection they would hold the agent.
    await Promise.race([this.#socket?.close(), delay(1000, undefined, { ref: false })])
    this.#setConnected(false)
    await this.#saving
  }
}
