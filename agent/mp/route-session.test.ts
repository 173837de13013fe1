/**
 *   edge (dialler) ==== stream in memory ==== gateway (listener)      sessions 16 and 32, as the gateway numbers them
 */
import { randomBytes } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { MAX_MESSAGE, type RouteMessage } from '../../schema/route-messages.ts'
import { encodeCbor } from './cbor.ts'
import { seal } from './cipher.ts'
import { ByteQueue, connectionKey, type RecordKeys, RecordWriter } from './record.ts'
import { RouteSession, type RouteSessionOptions } from './route-session.ts'
import { Pipe } from './testing-stream.ts'

const keys: Record<number, RecordKeys> = {
  16: { tx: randomBytes(32), rx: randomBytes(32) },
  32: { tx: randomBytes(32), rx: randomBytes(32) },
}

function edgeKeys(sid: number): RecordKeys {
  const pair = keys[sid]
  if (pair === undefined) throw new Error(`no test keys for ${sid}`)
  return pair
}

function gatewayKeys(sid: number): RecordKeys | undefined {
  const pair = keys[sid]
  return pair && { tx: pair.rx, rx: pair.tx }
}

/** One record by hand, with flags that a writer does not make. */
function record(key: Uint8Array, data: Uint8Array, flags: number): Buffer {
  const plaintext = Buffer.concat([Buffer.from([flags]), data])
  const length = Buffer.alloc(4)
  length.writeUInt32BE(plaintext.length + 16)
  return Buffer.concat([length, seal('aes-256-gcm', key, Buffer.alloc(12), length, plaintext)])
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

class Side {
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

function connect(change: Partial<RouteSessionOptions> = {}) {
  const pipe = new Pipe()
  const edgeSide = new Side()
  const gatewaySide = new Side()
  const gateway = RouteSession.accept(pipe.gateway, { ...gatewaySide.options(change), keysOf: gatewayKeys })
  const edge = RouteSession.dial(pipe.edge, { ...edgeSide.options(change), sid: 16, keys: edgeKeys(16) })
  return { pipe, edge, gateway, edgeSide, gatewaySide }
}

const endOfRib: RouteMessage = { type: 'end-of-rib' }
const announce = (count: number): RouteMessage => ({
  type: 'announce',
  full: true,
  subnets: Array.from({ length: count }, (_, i) => ({
    prefix: `10.${i >> 8}.${i & 255}.0/24`,
    reachable: i % 2 === 0,
  })),
})

describe('RouteSession', () => {
  it('carries messages both ways, whatever the chunks', () => {
    for (const chunk of [1, 7, 1448, Number.POSITIVE_INFINITY]) {
      const { pipe, edge, gateway, edgeSide, gatewaySide } = connect()
      edge.send(announce(3))
      edge.send(endOfRib)
      gateway.send(endOfRib)
      pipe.deliver(chunk)
      expect(gatewaySide.messages).toEqual([announce(3), endOfRib])
      expect(edgeSide.messages).toEqual([endOfRib])
      expect([edgeSide.opened, gatewaySide.opened]).toEqual([[16], [16]])
      expect([edge.sid, gateway.sid]).toEqual([16, 16])
      expect(pipe.sent.edge.includes('10.0.0.0')).toBe(false)
    }
  })

  it('splits a message that is longer than a record', () => {
    const { pipe, edge, gatewaySide } = connect()
    edge.send(announce(20_000))
    pipe.deliver(1448)
    expect(gatewaySide.messages).toEqual([announce(20_000)])
  })

  it('uses new keys for every connection of one session', () => {
    const sent = [connect(), connect()].map(({ pipe, edge, gateway }) => {
      edge.send(endOfRib)
      gateway.send(endOfRib)
      pipe.deliver()
      return [pipe.sent.edge.subarray(28).toString('hex'), pipe.sent.gateway.subarray(24).toString('hex')]
    })
    expect(new Set(sent.flat()).size).toBe(4)
  })

  it('does not take a recorded connection again', () => {
    const first = connect()
    first.edge.send(announce(1))
    first.pipe.deliver()
    const pipe = new Pipe()
    const side = new Side()
    RouteSession.accept(pipe.gateway, { ...side.options(), keysOf: gatewayKeys })
    pipe.gateway.receive(first.pipe.sent.edge)
    expect([side.messages, side.opened, side.closed]).toEqual([[], [], ['record-forged']])
    expect(pipe.gateway.open).toBe(false)
  })
})

describe('switch', () => {
  it('changes the keys of each direction behind the marked record, under traffic', () => {
    const { pipe, edge, gateway, edgeSide, gatewaySide } = connect()
    let done = 0
    pipe.deliver()
    edge.send(announce(1))
    edge.switchTo(32, edgeKeys(32), () => done++)
    edge.send(announce(2))
    gateway.send(endOfRib)
    pipe.deliver(5)
    gateway.send(announce(3))
    pipe.deliver(5)
    expect(gatewaySide.messages).toEqual([announce(1), { type: 'switch', sid: 32 }, announce(2)])
    expect(edgeSide.messages).toEqual([endOfRib, announce(3)])
    expect(done).toBe(1)
    expect([edge.sid, gateway.sid]).toEqual([32, 32])
    expect([...edgeSide.closed, ...gatewaySide.closed]).toEqual([])
  })

  it('really changes them: who has the old keys only is shut out', () => {
    const { pipe, edge, gatewaySide } = connect()
    pipe.deliver()
    edge.switchTo(32, edgeKeys(16))
    edge.send(endOfRib)
    pipe.deliver()
    expect(gatewaySide.messages).toEqual([{ type: 'switch', sid: 32 }])
    expect(gatewaySide.closed).toEqual(['record-forged'])
  })

  it('works a thousand times, back and forth, and twice in flight', () => {
    const { pipe, edge, gateway, edgeSide, gatewaySide } = connect()
    let done = 0
    for (let i = 0; i < 500; i++) {
      edge.switchTo(32, edgeKeys(32), () => done++)
      edge.send(endOfRib)
      edge.switchTo(16, edgeKeys(16), () => done++)
      gateway.send(endOfRib)
      if (i % 3 === 0) pipe.deliver(100)
    }
    pipe.deliver()
    expect(done).toBe(1000)
    expect(gatewaySide.messages.filter(message => message.type === 'end-of-rib')).toHaveLength(500)
    expect(edgeSide.messages).toHaveLength(500)
  })

  it('keeps its copy of the keys', () => {
    const { pipe, edge, gatewaySide } = connect()
    const mine = { tx: Uint8Array.from(edgeKeys(32).tx), rx: Uint8Array.from(edgeKeys(32).rx) }
    edge.switchTo(32, mine)
    mine.tx.fill(0)
    mine.rx.fill(0)
    edge.send(endOfRib)
    pipe.deliver()
    expect(gatewaySide.messages).toEqual([{ type: 'switch', sid: 32 }, endOfRib])
  })

  it.each([
    ['to a session that the gateway does not know', 'gateway', 'unknown-session', { type: 'switch', sid: 48 }],
    ['from the gateway', 'edge', 'bad-message', { type: 'switch', sid: 32 }],
    ['answered without being asked', 'edge', 'bad-message', { type: 'switched', sid: 32 }],
    ['answered by the edge', 'gateway', 'bad-message', { type: 'switched', sid: 16 }],
  ] as const)('%s ends the session', (_, victim, code, message) => {
    const { pipe, edge, gateway, edgeSide, gatewaySide } = connect()
    pipe.deliver()
    const sender = victim === 'gateway' ? edge : gateway
    sender.send(message)
    pipe.deliver()
    expect((victim === 'gateway' ? gatewaySide : edgeSide).closed).toEqual([code])
  })

  it('is the dialler’s', () => {
    expect(() => connect().gateway.switchTo(32, edgeKeys(32))).toThrow('only the side that dialled')
  })
})

describe('life and end', () => {
  it('pings, answers, and stays open as long as something comes', () => {
    const { pipe, edgeSide, gatewaySide } = connect({ pingMs: 10, deadlineMs: 30 })
    for (let i = 0; i < 20; i++) {
      edgeSide.timers.advance(10)
      gatewaySide.timers.advance(10)
      pipe.deliver()
    }
    expect([...edgeSide.closed, ...gatewaySide.closed]).toEqual([])
    expect(edgeSide.messages).toEqual([])
  })

  it('closes when nothing comes for the deadline, also before the preface, and leaves no timer', () => {
    const { edge, pipe, edgeSide, gatewaySide } = connect({ pingMs: 10, deadlineMs: 30 })
    for (let i = 0; i < 3; i++) {
      edgeSide.timers.advance(10)
      gatewaySide.timers.advance(10)
    }
    expect([edgeSide.closed, gatewaySide.closed]).toEqual([['silent'], ['silent']])
    expect([pipe.edge.open, pipe.gateway.open, edge.closed]).toEqual([false, false, true])
    expect(edgeSide.timers.pending + gatewaySide.timers.pending).toBe(0)
  })

  it('tells the peer why it closes', () => {
    const { pipe, edge, edgeSide, gatewaySide } = connect()
    const reasons: string[] = []
    pipe.deliver()
    edge.close('agent stops')
    edge.close('twice')
    pipe.deliver()
    expect([edgeSide.closed, gatewaySide.closed]).toEqual([['closed'], ['bye']])
    const late = connect({ onClose: reason => reasons.push(reason) })
    late.pipe.deliver()
    late.gateway.close('evicted')
    late.pipe.deliver()
    expect(reasons).toEqual(['evicted', 'bye: evicted'])
    expect(edge.send(endOfRib)).toBe(false)
  })

  it('passes on why the stream was lost', () => {
    const reasons: string[] = []
    const { pipe } = connect({ onClose: reason => reasons.push(reason) })
    pipe.edge.lose('ECONNRESET')
    pipe.gateway.lose()
    expect(reasons).toEqual(['stream-closed: ECONNRESET', 'stream-closed: the peer closed the connection'])
  })

  it('stops writing while the stream is full and says when it goes on', () => {
    const { pipe, edge, edgeSide, gatewaySide } = connect()
    pipe.deliver()
    pipe.edge.full = true
    expect(edge.send(endOfRib)).toBe(true) // taken by the stream itself
    let accepted = 0
    while (edge.send(announce(1000))) accepted++
    expect(accepted).toBeGreaterThan(10)
    expect(pipe.edge.written).toHaveLength(1)
    expect(edgeSide.drains).toBe(0)
    pipe.edge.drain()
    expect([edgeSide.drains, edge.queued]).toEqual([1, 0])
    pipe.deliver()
    expect(gatewaySide.messages).toHaveLength(accepted + 2)
  })

  it('closes instead of queueing without end', () => {
    const { pipe, edge, edgeSide } = connect({ queueLimit: 100_000 })
    pipe.deliver()
    pipe.edge.full = true
    edge.send(endOfRib)
    for (let i = 0; i < 5 && edge.send(announce(1000)); i++);
    expect(edgeSide.closed).toEqual(['queue-full'])
    expect(edge.queued).toBe(0)
  })
})

describe('bad input', () => {
  const good = (sid: number) =>
    Buffer.concat([Buffer.from('BLRS'), Buffer.from([1, 0, 0, 0, 0, 0, 0, sid]), Buffer.alloc(16)])

  it.each([
    ['another protocol', Buffer.from('GET / HTTP/1.1\r\n\r\n'), 'bad-preface'],
    ['one wrong byte', Buffer.from('X'), 'bad-preface'],
    ['another version', Buffer.concat([Buffer.from('BLRS'), Buffer.from([2, 0, 0, 0])]), 'bad-preface'],
    ['an unknown session', good(48), 'unknown-session'],
    ['session 0', good(0), 'unknown-session'],
    ['a record of length 0', Buffer.concat([good(16), Buffer.alloc(4)]), 'record-too-short'],
    ['a record shorter than a tag', Buffer.concat([good(16), Buffer.from([0, 0, 0, 16])]), 'record-too-short'],
    ['a record of 4 GB', Buffer.concat([good(16), Buffer.alloc(4, 255)]), 'record-too-long'],
    ['a record one byte too long', Buffer.concat([good(16), Buffer.from([0, 1, 0, 18])]), 'record-too-long'],
    ['a record of zeros', Buffer.concat([good(16), Buffer.from([0, 0, 0, 17]), Buffer.alloc(17)]), 'record-forged'],
  ])('%s', (_, bytes, code) => {
    const pipe = new Pipe()
    const side = new Side()
    RouteSession.accept(pipe.gateway, { ...side.options(), keysOf: gatewayKeys })
    for (const byte of bytes) pipe.gateway.receive(Uint8Array.of(byte))
    expect([side.closed, side.opened, side.messages]).toEqual([[code], [], []])
    expect(pipe.gateway.open).toBe(false)
    pipe.gateway.receive(Buffer.alloc(100))
    expect(side.closed).toHaveLength(1)
  })

  it('any flipped bit of a record', () => {
    for (let bit = 0; bit < 8 * 38; bit += 3) {
      const { pipe, edge, gatewaySide } = connect()
      pipe.deliver()
      const before = pipe.sent.edge.length
      edge.send(endOfRib)
      pipe.deliver(Number.POSITIVE_INFINITY, bytes => {
        if (bytes.length > 0) bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7))
        return bytes
      })
      expect(pipe.sent.edge.length - before).toBe(38)
      expect(gatewaySide.messages).toEqual([])
      if (gatewaySide.closed.length === 0) pipe.gateway.receive(Buffer.alloc(1 << 17)) // the length grew: wait for its bytes
      expect(gatewaySide.closed[0]).toMatch(/^record-(forged|too-long|too-short)$/)
    }
  })

  it('records left out, doubled or exchanged', () => {
    const cut = (bytes: Buffer): Buffer[] => {
      const records: Buffer[] = []
      for (let at = 0; at < bytes.length; ) {
        const length = 4 + bytes.readUInt32BE(at)
        records.push(bytes.subarray(at, at + length))
        at += length
      }
      return records
    }
    const tricks: ((records: Buffer[]) => Buffer[])[] = [
      ([, second]) => (second ? [second] : []),
      ([first]) => (first ? [first, first] : []),
      ([first, second]) => (first && second ? [second, first] : []),
    ]
    for (const trick of tricks) {
      const { pipe, edge, gatewaySide } = connect()
      pipe.deliver()
      edge.send(endOfRib)
      edge.send(announce(1))
      pipe.deliver(Number.POSITIVE_INFINITY, bytes => Buffer.concat(trick(cut(bytes))))
      expect(gatewaySide.closed).toEqual(['record-forged'])
    }
  })

  it.each([
    ['not CBOR', Buffer.from('ffff', 'hex'), 0, 'bad-message'],
    ['two items', Buffer.concat([encodeCbor(endOfRib), encodeCbor(endOfRib)]), 0, 'bad-message'],
    ['an unknown type', encodeCbor({ type: 'reboot' }), 0, 'bad-message'],
    ['a missing member', encodeCbor({ type: 'announce', full: true }), 0, 'bad-message'],
    ['a prefix with host bits', encodeCbor({ type: 'withdraw', prefixes: ['10.0.0.1/24'] }), 0, 'bad-message'],
    ['nothing', Buffer.alloc(0), 0, 'bad-message'],
    ['unknown flags', encodeCbor(endOfRib), 2, 'record-bad-flags'],
  ])('an authentic record of %s', (_, data, flags, code) => {
    const pipe = new Pipe()
    const side = new Side()
    RouteSession.accept(pipe.gateway, { ...side.options(), keysOf: gatewayKeys })
    pipe.gateway.receive(good(16))
    const salts = Buffer.concat([Buffer.alloc(16), Buffer.concat(pipe.gateway.written).subarray(8)])
    pipe.gateway.receive(record(connectionKey(edgeKeys(16).tx, salts, 0), data, flags))
    expect([side.closed, side.messages]).toEqual([[code], []])
  })

  it('a message without end', () => {
    const pipe = new Pipe()
    const side = new Side()
    RouteSession.accept(pipe.gateway, { ...side.options(), keysOf: gatewayKeys })
    pipe.gateway.receive(good(16))
    const salts = Buffer.concat([Buffer.alloc(16), Buffer.concat(pipe.gateway.written).subarray(8)])
    const writer = new RecordWriter(connectionKey(edgeKeys(16).tx, salts, 0))
    const part = Buffer.alloc(1 << 16)
    let sent = 0
    for (; side.closed.length === 0 && sent <= 2 * MAX_MESSAGE; sent += part.length) {
      pipe.gateway.receive(writer.seal(part, true))
    }
    expect(side.closed).toEqual(['message-too-long'])
    expect(sent).toBe(MAX_MESSAGE + part.length)
  })
})

it('ByteQueue gives back what went in, in any pieces', () => {
  const queue = new ByteQueue()
  const bytes = randomBytes(1000)
  for (let at = 0; at < 1000; at += 37) queue.push(bytes.subarray(at, at + 37))
  const taken: Uint8Array[] = []
  for (let length = 1; queue.length >= length; length += 3) taken.push(queue.take(length) ?? Buffer.alloc(0))
  expect(queue.take(queue.length + 1)).toBeUndefined()
  taken.push(queue.take(queue.length) ?? Buffer.alloc(0))
  expect(Buffer.concat(taken)).toEqual(bytes)
})
