/** Two route sessions over a stream in memory: sessions 16 and 32, as the gateway numbers them. Not part of the product. */
import { randomBytes } from 'node:crypto'
import type { RouteMessage } from '../../schema/route-messages.ts'
import type { RecordKeys } from './record.ts'
import { RouteSession, type RouteSessionOptions } from './route-session.ts'
import { Pipe } from './testing-stream.ts'

const keys: Record<number, RecordKeys> = {
  16: { tx: randomBytes(32), rx: randomBytes(32) },
  32: { tx: randomBytes(32), rx: randomBytes(32) },
}

export function edgeKeys(sid: number): RecordKeys {
  const pair = keys[sid]
  if (pair === undefined) throw new Error(`no test keys for ${sid}`)
  return pair
}

export function gatewayKeys(sid: number): RecordKeys | undefined {
  const pair = keys[sid]
  return pair && { tx: pair.rx, rx: pair.tx }
}

/** Timers that fire when told. */
class Timers {
  #waiting = new Map<number, { at: number; run: () => void }>()
  #id = 0
  now = 0

  readonly schedule = (ms: number, run: () => void): (() => void) => {
    const id = this.#id++
    this.#waiting.set(id, { at: this.now + ms, run })
    return () => this.#waiting.delete(id)
  }

  get pending(): number {
    return this.#waiting.size
  }

  advance(ms: number): void {
    this.now += ms
    for (const [id, { at, run }] of [...this.#waiting]) {
      if (at > this.now || !this.#waiting.delete(id)) continue
      run()
    }
  }
}

export class Side {
  readonly messages: RouteMessage[] = []
  readonly closed: string[] = []
  readonly opened: number[] = []
  drains = 0
  readonly timers = new Timers()

  options(change: Partial<RouteSessionOptions> = {}): RouteSessionOptions {
    return {
      onMessage: message => this.messages.push(message),
      onClose: (_, code) => this.closed.push(code),
      onOpen: sid => this.opened.push(sid),
      onDrain: () => this.drains++,
      schedule: this.timers.schedule,
      ...change,
    }
  }
}

export function connect(change: Partial<RouteSessionOptions> = {}) {
  const pipe = new Pipe()
  const edgeSide = new Side()
  const gatewaySide = new Side()
  const gateway = RouteSession.accept(pipe.gateway, { ...gatewaySide.options(change), keysOf: gatewayKeys })
  const edge = RouteSession.dial(pipe.edge, { ...edgeSide.options(change), sid: 16, keys: edgeKeys(16) })
  return { pipe, edge, gateway, edgeSide, gatewaySide }
}

export const endOfRib: RouteMessage = { type: 'end-of-rib' }
export const announce = (count: number): RouteMessage => ({
  type: 'announce',
  full: true,
  subnets: Array.from({ length: count }, (_, i) => ({
    prefix: `10.${i >> 8}.${i & 255}.0/24`,
    reachable: i % 2 === 0,
  })),
})
