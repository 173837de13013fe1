/** Encrypted records of the route session on a byte stream; layout and keys in schema/route-messages.ts. */
import { createSecretKey, hkdfSync } from 'node:crypto'
import { MAX_RECORD } from '../../schema/route-messages.ts'
import { CipherState, KEY_LENGTH, MAX_MESSAGES, TAG_LENGTH } from './cipher.ts'

const LENGTH_FIELD = 4
const FLAG_MORE = 1
const AEAD = 'aes-256-gcm'

/** A session's record keys as one side uses them, 32 bytes each. */
export interface RecordKeys {
  tx: Uint8Array
  rx: Uint8Array
}

/** @param salts the dialler's and the listener's random bytes, in this order */
export function connectionKey(recordKey: Uint8Array, salts: Uint8Array, epoch: number): Uint8Array {
  return new Uint8Array(
    hkdfSync('sha256', createSecretKey(recordKey), salts, `branchline v1 record ${epoch}`, KEY_LENGTH),
  )
}

export class RecordWriter {
  #cipher: CipherState

  /** @param key of the connection, not of the session; copied */
  constructor(key: Uint8Array) {
    this.#cipher = new CipherState(AEAD, key)
  }

  /** Can one more record be made with this key? */
  get usable(): boolean {
    return this.#cipher.count < MAX_MESSAGES
  }

  /** @param data at most `MAX_RECORD` bytes. @param more the message goes on in the next record */
  seal(data: Uint8Array, more: boolean): Buffer {
    if (data.length > MAX_RECORD) throw new RangeError(`a record of ${data.length} bytes`)
    const record = Buffer.allocUnsafe(LENGTH_FIELD + 1 + data.length + TAG_LENGTH)
    record.writeUInt32BE(record.length - LENGTH_FIELD)
    const flags = Uint8Array.of(more ? FLAG_MORE : 0)
    this.#cipher.sealInto(record.subarray(0, LENGTH_FIELD), [flags, data], record, LENGTH_FIELD)
    return record
  }

  rekey(key: Uint8Array): void {
    this.#cipher.dispose()
    this.#cipher = new CipherState(AEAD, key)
  }

  dispose(): void {
    this.#cipher.dispose()
  }
}

export type RecordFailure = 'record-too-short' | 'record-too-long' | 'record-forged' | 'record-bad-flags'
export type NextRecord =
  | { kind: 'record'; data: Uint8Array; more: boolean }
  /** Not all bytes of the next record are here. */
  | { kind: 'wait' }
  /** The stream is of no more use. */
  | { kind: 'failed'; reason: RecordFailure }

/** Pulled record by record, so that the key may change between two of them. After a failure it goes on failing. */
export class RecordReader {
  #cipher: CipherState
  readonly #bytes: ByteQueue
  #failure: RecordFailure | undefined

  /** @param bytes where the stream's chunks are put; it may begin with the first record already */
  constructor(key: Uint8Array, bytes: ByteQueue) {
    this.#cipher = new CipherState(AEAD, key)
    this.#bytes = bytes
  }

  next(): NextRecord {
    if (this.#failure !== undefined) return { kind: 'failed', reason: this.#failure }
    const head = this.#bytes.peek(LENGTH_FIELD)
    if (head === undefined) return { kind: 'wait' }
    const length = new DataView(head.buffer, head.byteOffset).getUint32(0)
    if (length < 1 + TAG_LENGTH) return this.#fail('record-too-short')
    if (length > 1 + MAX_RECORD + TAG_LENGTH) return this.#fail('record-too-long')
    const record = this.#bytes.take(LENGTH_FIELD + length)
    if (record === undefined) return { kind: 'wait' }
    const plaintext = this.#cipher.open(record.subarray(0, LENGTH_FIELD), record.subarray(LENGTH_FIELD))
    if (plaintext === undefined) return this.#fail('record-forged')
    const flags = plaintext[0] ?? 0
    if ((flags & ~FLAG_MORE) !== 0) return this.#fail('record-bad-flags')
    return { kind: 'record', data: plaintext.subarray(1), more: flags === FLAG_MORE }
  }

  rekey(key: Uint8Array): void {
    this.#cipher.dispose()
    this.#cipher = new CipherState(AEAD, key)
  }

  dispose(): void {
    this.#cipher.dispose()
  }

  #fail(reason: RecordFailure): NextRecord {
    this.#failure = reason
    return { kind: 'failed', reason }
  }
}

/** Chunks of a stream, joined only when a whole piece is there: a record in many chunks is copied once or twice, not once a chunk. */
export class ByteQueue {
  #chunks: Uint8Array[] = []
  #length = 0

  get length(): number {
    return this.#length
  }

  push(bytes: Uint8Array): void {
    if (bytes.length === 0) return
    this.#chunks.push(bytes)
    this.#length += bytes.length
  }

  /** @returns the first `length` bytes, which stay; undefined when there are fewer */
  peek(length: number): Uint8Array | undefined {
    if (this.#length < length) return undefined
    const [first] = this.#chunks
    if (first !== undefined && first.length >= length) return first.subarray(0, length)
    const joined = Buffer.concat(this.#chunks)
    this.#chunks = [joined]
    return joined.subarray(0, length)
  }

  take(length: number): Uint8Array | undefined {
    const bytes = this.peek(length)
    const [first] = this.#chunks
    if (bytes === undefined || first === undefined) return bytes
    if (first.length === length) this.#chunks.shift()
    else this.#chunks[0] = first.subarray(length)
    this.#length -= length
    return bytes
  }
}
