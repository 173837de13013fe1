/**
 * One route session (DESIGN §3): messages over an authenticated, encrypted byte stream between an edge, which dials, and a gateway. Keys, records and
 * the meaning of `switch` stand in schema/route-messages.ts. What messages say about routes is not this file's matter.
 *
 *   stream -> prefaces -> records -> CBOR, zod -> switch, switched, ping, pong, bye are handled here -> onMessage
 */
import { randomBytes } from 'node:crypto'
import { MAX_MESSAGE, type RouteMessage, routeMessageSchema } from '../../schema/route-messages.ts'
import { decodeCbor, encodeCbor } from './cbor.ts'
import { afterMs, Heartbeat } from './heartbeat.ts'
import type { ByteStream } from './net.ts'
import { Outbox } from './outbox.ts'
import { dialPreface, listenPreface, type Preface, SALT_LENGTH, takePreface } from './preface.ts'
import { ByteQueue, connectionKey, type RecordKeys, RecordReader, RecordWriter } from './record.ts'
import type { CloseCode, RouteSessionOptions } from './route-session-options.ts'

export type { CloseCode, RouteSessionEvents, RouteSessionOptions } from './route-session-options.ts'

/**
 * Keys of a session by the listener's number, in its view. Undefined when it has none, and when the session is not of the peer that this connection
 * began with.
 */
export type KeysOf = (sid: number) => RecordKeys | undefined

/** A message as it goes into records: encoded once for all sessions that it is sent on. Nobody writes to its bytes. */
export class EncodedMessage {
  readonly type: RouteMessage['type']
  readonly bytes: Uint8Array

  constructor(message: RouteMessage) {
    this.type = message.type
    this.bytes = encodeCbor(message)
  }
}

type Role = { side: 'dialler'; sid: number; keys: RecordKeys } | { side: 'listener'; keysOf: KeysOf }

interface Switching {
  sid: number
  rx: Uint8Array
  done: (() => void) | undefined
}

const PING_MS = 10_000
const DEADLINE_MS = 30_000
const QUEUE_LIMIT = 1 << 24
/** Above this, `send` asks for patience. */
const HIGH_WATER = 1 << 20

export class RouteSession {
  readonly #stream: ByteStream
  readonly #role: Role
  readonly #options: RouteSessionOptions
  readonly #salt: Uint8Array
  readonly #received = new ByteQueue()
  readonly #outbox = new Outbox()
  #salts: Uint8Array = new Uint8Array(0)
  #writer: RecordWriter | undefined
  #reader: RecordReader | undefined
  #sid: number
  #open = false
  #blocked = false
  #closed = false
  #wantsDrain = false
  #waiting: (() => void)[] = []
  readonly #assembly = new ByteQueue()
  #txEpoch = 0
  #rxEpoch = 0
  readonly #switching: Switching[] = []
  #pingId = 0
  readonly #heartbeat: Heartbeat

  private constructor(stream: ByteStream, role: Role, options: RouteSessionOptions) {
    this.#stream = stream
    this.#role = role
    this.#options = options
    this.#sid = role.side === 'dialler' ? role.sid : 0
    this.#salt = (options.random ?? randomBytes)(SALT_LENGTH)
    stream.onData(bytes => this.#receive(bytes))
    stream.onDrain(() => this.#drained())
    stream.onClose(reason => this.#end('stream-closed', reason ?? 'the peer closed the connection'))
    if (role.side === 'dialler') this.#write(dialPreface(role.sid, this.#salt))
    const { pingMs = PING_MS, deadlineMs = DEADLINE_MS, schedule = afterMs } = options
    this.#heartbeat = new Heartbeat({
      intervalMs: pingMs,
      deadlineMs,
      schedule,
      beat: () => {
        if (this.#writer !== undefined) this.send({ type: 'ping', id: this.#pingId++ })
      },
      silent: ms => this.#end('silent', `nothing heard for ${ms / 1000} s`),
    })
  }

  /** The edge's side. @param sid the gateway's number of the session. @param keys in this side's view. Messages may be sent at once. */
  static dial(stream: ByteStream, options: RouteSessionOptions & { sid: number; keys: RecordKeys }): RouteSession {
    return new RouteSession(stream, { side: 'dialler', sid: options.sid, keys: options.keys }, options)
  }

  /** The gateway's side. Messages sent before `onOpen` wait for the edge's preface. */
  static accept(stream: ByteStream, options: RouteSessionOptions & { keysOf: KeysOf }): RouteSession {
    return new RouteSession(stream, { side: 'listener', keysOf: options.keysOf }, options)
  }

  /** The MP session whose keys are in use, as the gateway numbers it; 0 on the gateway before the preface. */
  get sid(): number {
    return this.#sid
  }

  get closed(): boolean {
    return this.#closed
  }

  /** Bytes of messages that the stream did not take yet. */
  get queued(): number {
    return this.#outbox.bytes
  }

  /**
   * Messages arrive whole and in order, or the session closes.
   * @returns false when more should wait for `onDrain` or `drained`, and on a closed session. The message was taken all the same.
   */
  send(message: RouteMessage | EncodedMessage): boolean {
    if (this.#closed) return false
    this.#enqueue(message)
    this.#flush()
    if (this.#closed) return false
    const patience = this.#outbox.bytes > HIGH_WATER
    this.#wantsDrain ||= patience
    return !patience
  }

  /** Everything has gone out after `send` gave false, or the session is closed. */
  drained(): Promise<void> {
    if (this.#closed || !this.#wantsDrain) return Promise.resolve()
    return new Promise(resolve => this.#waiting.push(resolve))
  }

  /**
   * Dialler only: goes on under the keys of another session.
   * @param sid the gateway's number of it. @param done the gateway has changed, too
   */
  switchTo(sid: number, keys: RecordKeys, done?: () => void): void {
    if (this.#role.side !== 'dialler') throw new Error('only the side that dialled changes the session')
    if (this.#closed) return
    this.#switching.push({ sid, rx: Uint8Array.from(keys.rx), done })
    this.#enqueue({ type: 'switch', sid })
    this.#rekeyTx(keys.tx)
    this.#flush()
  }

  /** Says `bye` and ends the stream behind what it took already. Calls `onClose` before it returns. */
  close(reason: string): void {
    if (this.#closed) return
    if (this.#writer !== undefined && !this.#blocked) {
      this.#enqueue({ type: 'bye', reason })
      this.#flush()
    }
    this.#end('closed', reason)
  }

  // Sending

  #enqueue(message: RouteMessage | EncodedMessage): void {
    const { bytes } = message instanceof EncodedMessage ? message : new EncodedMessage(message)
    if (bytes.length > MAX_MESSAGE) {
      this.#end('message-too-long', `${message.type} of ${bytes.length} bytes`)
      return
    }
    this.#outbox.push(bytes)
    if (this.#outbox.bytes > (this.#options.queueLimit ?? QUEUE_LIMIT)) {
      this.#end('queue-full', `${this.#outbox.bytes} bytes wait for the peer`)
    }
  }

  #flush(): void {
    if (this.#closed || this.#blocked || this.#writer === undefined) return
    const result = this.#outbox.flush(this.#writer, bytes => this.#write(bytes))
    if (result === 'keys-exhausted') this.#end('keys-exhausted', 'the session was not renewed in time')
  }

  #write(bytes: Uint8Array): boolean {
    this.#blocked = !this.#stream.write(bytes)
    return !this.#blocked
  }

  #drained(): void {
    this.#blocked = false
    this.#flush()
    if (this.#closed || this.#blocked || !this.#wantsDrain) return
    this.#wantsDrain = false
    this.#options.onDrain?.()
    this.#goOn()
  }

  #goOn(): void {
    for (const resolve of this.#waiting.splice(0)) resolve()
  }

  #rekeyTx(recordKey: Uint8Array): void {
    const epoch = ++this.#txEpoch
    const kept = Uint8Array.from(recordKey)
    // Made late: before the prefaces there are no salts.
    this.#outbox.rekey(() => connectionKey(kept, this.#salts, epoch))
  }

  // Receiving

  #receive(bytes: Uint8Array): void {
    if (this.#closed) return
    this.#received.push(bytes)
    if (this.#reader === undefined && !this.#takePreface()) return
    while (!this.#closed) {
      const next = this.#reader?.next() ?? { kind: 'wait' }
      if (next.kind === 'wait') return
      if (next.kind === 'failed') {
        this.#end(next.reason, 'a record could not be opened')
        return
      }
      this.#heartbeat.heard()
      if (!this.#open) {
        this.#open = true
        this.#options.onOpen?.(this.#sid)
      }
      this.#takeRecord(next.data, next.more)
    }
  }

  /** @returns whether records may follow */
  #takePreface(): boolean {
    const role = this.#role
    const preface = takePreface(this.#received, role.side === 'dialler' ? 'listener' : 'dialler')
    if (preface === undefined) return false
    if (preface === 'bad') {
      this.#end('bad-preface', 'the peer does not speak the route protocol')
      return false
    }
    const keys = role.side === 'dialler' ? role.keys : role.keysOf(preface.sid)
    if (keys === undefined) {
      this.#end('unknown-session', `no keys for session ${preface.sid}`)
      return false
    }
    this.#begin(preface, keys)
    return !this.#closed
  }

  #begin(preface: Preface, keys: RecordKeys): void {
    const listener = this.#role.side === 'listener'
    this.#salts = Buffer.concat(listener ? [preface.salt, this.#salt] : [this.#salt, preface.salt])
    if (listener) {
      this.#sid = preface.sid
      this.#write(listenPreface(this.#salt))
    }
    this.#writer = new RecordWriter(connectionKey(keys.tx, this.#salts, 0))
    this.#reader = new RecordReader(connectionKey(keys.rx, this.#salts, 0), this.#received)
    this.#flush()
  }

  #takeRecord(data: Uint8Array, more: boolean): void {
    this.#assembly.push(data)
    if (this.#assembly.length > MAX_MESSAGE) {
      this.#end('message-too-long', 'the peer sent an endless message')
      return
    }
    if (more) return
    const bytes = this.#assembly.take(this.#assembly.length) ?? data
    const decoded = decodeCbor(bytes, routeMessageSchema)
    if (!decoded.ok) {
      this.#end('bad-message', decoded.problem)
      return
    }
    this.#takeMessage(decoded.value)
  }

  #takeMessage(message: RouteMessage): void {
    switch (message.type) {
      case 'ping':
        this.send({ type: 'pong', id: message.id })
        return
      case 'pong':
        return
      case 'bye':
        this.#end('bye', message.reason)
        return
      case 'switch':
        this.#followSwitch(message)
        return
      case 'switched':
        this.#finishSwitch(message.sid)
        return
      default:
        this.#options.onMessage(message)
    }
  }

  #followSwitch(message: RouteMessage & { type: 'switch' }): void {
    if (this.#role.side === 'dialler') {
      this.#end('bad-message', 'a gateway does not change the session')
      return
    }
    const keys = this.#role.keysOf(message.sid)
    if (keys === undefined) {
      this.#end('unknown-session', `no keys for session ${message.sid}`)
      return
    }
    this.#sid = message.sid
    this.#rxEpoch++
    this.#reader?.rekey(connectionKey(keys.rx, this.#salts, this.#rxEpoch))
    this.#enqueue({ type: 'switched', sid: message.sid })
    this.#rekeyTx(keys.tx)
    this.#flush()
    if (!this.#closed) this.#options.onMessage(message)
  }

  #finishSwitch(sid: number): void {
    const switching = this.#switching.shift()
    if (switching?.sid !== sid) {
      this.#end('bad-message', `${sid} was switched, which nobody asked for`)
      return
    }
    this.#sid = sid
    this.#rxEpoch++
    this.#reader?.rekey(connectionKey(switching.rx, this.#salts, this.#rxEpoch))
    switching.done?.()
  }

  // End

  #end(code: CloseCode, reason: string): void {
    if (this.#closed) return
    this.#closed = true
    this.#heartbeat.stop()
    this.#outbox.clear()
    this.#writer?.dispose()
    this.#reader?.dispose()
    this.#stream.close()
    this.#goOn()
    this.#options.onClose(code === 'closed' ? reason : `${code}: ${reason}`, code)
  }
}
