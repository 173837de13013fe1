/**
 * An edge without a node behind it: a real handshake and real records from an address of its own, and a count of what its gateway tells. One process
 * holds thousands, so what arrives is decrypted and decoded but not checked by zod, which costs an edge more than all the rest.
 */
import { randomBytes } from 'node:crypto'
import { decode } from 'cbor-x'
import type { KeyPair } from '../../../agent/mp/dh.ts'
import { createInitiator } from '../../../agent/mp/initiator.ts'
import { type ByteStream, linuxNet } from '../../../agent/mp/net.ts'
import { dialPreface, SALT_LENGTH, takePreface } from '../../../agent/mp/preface.ts'
import { ByteQueue, connectionKey, RecordReader, RecordWriter } from '../../../agent/mp/record.ts'
import { EncodedMessage } from '../../../agent/mp/route-session.ts'
import type { Subnet } from '../../../schema/common.ts'
import type { Signed, TrustBundle } from '../../../schema/grant.ts'
import { ROUTE_PORT, type RouteMessage } from '../../../schema/route-messages.ts'

const MP_PORT = 2426
const TRY_MS = 1000

export interface LightEdgeOptions {
  address: string
  gateway: { address: string; staticKey: Uint8Array }
  node: string
  staticKey: KeyPair
  grant: Signed
  trust: TrustBundle
  prefixes: readonly string[]
  /** Each prefix that was told, own ones included. */
  onRoute: (reachable: boolean) => void
}

export class LightEdge {
  readonly #options: LightEdgeOptions
  #stream: ByteStream | undefined
  #writer: RecordWriter | undefined
  #reader: RecordReader | undefined
  readonly #received = new ByteQueue()
  #ribEnded: () => void = () => {}

  constructor(options: LightEdgeOptions) {
    this.#options = options
  }

  /** Resolves when the gateway has told everything it knows. */
  async connect(sid: number, reachable: boolean): Promise<void> {
    const { remoteSid, vaddr, tx, rx } = await this.#handshake(sid)
    const { address, node } = this.#options
    this.#stream = await linuxNet.dial(address, { address: vaddr, port: ROUTE_PORT }, 30_000)
    const salt = randomBytes(SALT_LENGTH)
    const ended = new Promise<void>(resolve => {
      this.#ribEnded = resolve
    })
    await new Promise<void>(resolve => {
      this.#stream?.onData(bytes => {
        this.#received.push(bytes)
        if (this.#reader === undefined) {
          const preface = takePreface(this.#received, 'listener')
          if (preface === undefined || preface === 'bad') return
          const salts = Buffer.concat([salt, preface.salt])
          this.#writer = new RecordWriter(connectionKey(tx, salts, 0))
          this.#reader = new RecordReader(connectionKey(rx, salts, 0), this.#received)
          resolve()
        }
        this.#take()
      })
      this.#stream?.write(dialPreface(remoteSid, salt))
    })
    this.#send({ type: 'hello', node, virtualAddress: '100.64.0.9', version: 1 })
    this.announce(reachable)
    this.#send({ type: 'end-of-rib' })
    await ended
  }

  announce(reachable: boolean): void {
    for (let at = 0; at < this.#options.prefixes.length; at += 300) {
      const subnets: Subnet[] = this.#options.prefixes.slice(at, at + 300).map(prefix => ({ prefix, reachable }))
      this.#send({ type: 'announce', full: false, subnets })
    }
  }

  #send(message: RouteMessage): void {
    if (this.#writer) this.#stream?.write(this.#writer.seal(new EncodedMessage(message).bytes, false))
  }

  #take(): void {
    for (;;) {
      const next = this.#reader?.next()
      if (next?.kind === 'failed') throw new Error(`${this.#options.address}: ${next.reason}`)
      if (next?.kind !== 'record') return
      const message = decode(next.data) as RouteMessage
      if (message.type === 'routes') for (const { reachable } of message.routes) this.#options.onRoute(reachable)
      else if (message.type === 'end-of-rib') this.#ribEnded()
      else if (message.type === 'ping') this.#send({ type: 'pong', id: message.id })
      else if (message.type === 'refused' || message.type === 'bye') throw new Error(JSON.stringify(message))
    }
  }

  async #handshake(sid: number) {
    const { staticKey, gateway, trust, grant, address } = this.#options
    const initiator = createInitiator({
      staticKey,
      responderStatic: gateway.staticKey,
      trust: () => trust,
      now: Date.now,
    })
    const to = { address: gateway.address, port: MP_PORT }
    let socket: Awaited<ReturnType<typeof linuxNet.datagram>> | undefined
    let timer: NodeJS.Timeout | undefined
    try {
      return await new Promise<{ remoteSid: number; vaddr: string; tx: Uint8Array; rx: Uint8Array }>(
        (resolve, reject) => {
          const send = (packets: readonly Uint8Array[]) => {
            for (const packet of packets) socket?.send(packet, to)
          }
          const attempt = () => {
            const offer = {
              grant,
              replaces: null,
              subnets: [],
              links: [{ path: 0, name: 'inet', family: 4 as const, mtu: 1500, spi: 0 }],
              via: 0,
              capabilities: { esp: false },
              policyVersion: 1,
              virtualAddress: null,
            }
            send(initiator.start(sid, offer))
            timer = setTimeout(attempt, TRY_MS)
          }
          const receive = (packet: Uint8Array) => {
            const outcome = initiator.receive(packet)
            if (outcome.kind === 'cookie') send(outcome.packets)
            else if (outcome.kind === 'refused') reject(new Error(`${address}: ${outcome.message}`))
            else if (outcome.kind === 'established')
              resolve({
                remoteSid: outcome.remoteSid,
                vaddr: outcome.payload.peerAddress,
                tx: outcome.secrets.recordTx,
                rx: outcome.secrets.recordRx,
              })
          }
          linuxNet.datagram({ address, port: MP_PORT }, receive).then(made => {
            socket = made
            attempt()
          }, reject)
        },
      )
    } finally {
      clearTimeout(timer)
      socket?.close()
    }
  }

  close(): void {
    this.#stream?.close()
  }
}
