import { describe, expect, it } from 'vitest'
import { MAX_RECORD } from '../../schema/route-messages.ts'
import { Outbox } from './outbox.ts'
import { ByteQueue, RecordReader, RecordWriter } from './record.ts'

const key = (n: number) => Uint8Array.from({ length: 32 }, () => n)

describe('Outbox', () => {
  it('cuts messages into records, keeps the order over changes of keys, and stops where the stream does', () => {
    const outbox = new Outbox()
    const bytes = new ByteQueue()
    const reader = new RecordReader(key(1), bytes)
    const writer = new RecordWriter(key(1))
    outbox.push(Buffer.alloc(MAX_RECORD + 1, 7))
    outbox.rekey(() => key(2))
    outbox.push(Buffer.from('last'))
    expect(outbox.bytes).toBe(MAX_RECORD + 5)

    const write = (record: Uint8Array): boolean => {
      bytes.push(record)
      return false
    }
    expect(outbox.flush(writer, write)).toBe('blocked')
    expect(reader.next()).toMatchObject({ kind: 'record', more: true, data: { length: MAX_RECORD } })
    expect(reader.next()).toEqual({ kind: 'wait' })
    expect([outbox.flush(writer, write), outbox.flush(writer, write), outbox.flush(writer, write)]).toEqual([
      'blocked',
      'blocked',
      'empty',
    ])
    expect(outbox.bytes).toBe(0)
    expect(reader.next()).toMatchObject({ kind: 'record', more: false, data: { length: 1 } })
    reader.rekey(key(2))
    expect(reader.next()).toMatchObject({ kind: 'record', data: Buffer.from('last') })
  })

  it('makes no record with a key that is used up', () => {
    const outbox = new Outbox()
    const writer = new RecordWriter(key(1))
    writer.dispose()
    outbox.push(Buffer.from('x'))
    const written: Uint8Array[] = []
    expect(outbox.flush(writer, record => written.push(record) > 0)).toBe('keys-exhausted')
    expect(written).toEqual([])
    expect(() => writer.seal(Buffer.from('x'), false)).toThrow(RangeError)
  })

  it('works off a long queue in pieces', () => {
    const outbox = new Outbox()
    const writer = new RecordWriter(key(1))
    for (let i = 0; i < 5000; i++) outbox.push(Buffer.from([i & 255]))
    let written = 0
    let flushes = 0
    while (outbox.flush(writer, () => ++written % 7 !== 0) === 'blocked') flushes++
    expect([written, flushes, outbox.bytes]).toEqual([5000, 714, 0])
  })
})
