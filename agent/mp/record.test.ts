/** What a peer, or somebody between, may put on a route session's stream; and the queue below the records. */
import { randomBytes } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { MAX_MESSAGE } from '../../schema/route-messages.ts'
import { encodeCbor } from './cbor.ts'
import { seal } from './cipher.ts'
import { ByteQueue, connectionKey, RecordWriter } from './record.ts'
import { RouteSession } from './route-session.ts'
import { announce, connect, edgeKeys, endOfRib, gatewayKeys, Side } from './testing-route.ts'
import { Pipe } from './testing-stream.ts'

/** One record by hand, with flags that a writer does not make. */
function record(key: Uint8Array, data: Uint8Array, flags: number): Buffer {
  const plaintext = Buffer.concat([Buffer.from([flags]), data])
  const length = Buffer.alloc(4)
  length.writeUInt32BE(plaintext.length + 16)
  return Buffer.concat([length, seal('aes-256-gcm', key, Buffer.alloc(12), length, plaintext)])
}

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
