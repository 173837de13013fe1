/** What waits to be sent on a route session's stream, in order: data, and the places where the key changes. */
import { MAX_RECORD } from '../../schema/route-messages.ts'
import type { RecordWriter } from './record.ts'

type Item = { data: Uint8Array; more: boolean } | { key: () => Uint8Array }

export class Outbox {
  #items: Item[] = []
  #head = 0
  #bytes = 0

  /** Bytes of data that wait. */
  get bytes(): number {
    return this.#bytes
  }

  push(message: Uint8Array): void {
    for (let at = 0; at < message.length; at += MAX_RECORD) {
      this.#items.push({ data: message.subarray(at, at + MAX_RECORD), more: at + MAX_RECORD < message.length })
    }
    this.#bytes += message.length
  }

  /** Everything pushed later is sealed with this key, made when its turn comes. */
  rekey(key: () => Uint8Array): void {
    this.#items.push({ key })
  }

  /**
   * Seals and writes until the stream has enough or nothing waits.
   * @param write false: the stream took the bytes but wants no more for now
   * @returns 'keys-exhausted' when the key must not make another record
   */
  flush(writer: RecordWriter, write: (bytes: Uint8Array) => boolean): 'empty' | 'blocked' | 'keys-exhausted' {
    for (;;) {
      const item = this.#items[this.#head]
      if (item === undefined) {
        this.clear()
        return 'empty'
      }
      if ('key' in item) {
        this.#head++
        writer.rekey(item.key())
        continue
      }
      if (!writer.usable) return 'keys-exhausted'
      this.#head++
      this.#bytes -= item.data.length
      if (!write(writer.seal(item.data, item.more))) {
        this.#compact()
        return 'blocked'
      }
    }
  }

  clear(): void {
    this.#items = []
    this.#head = 0
    this.#bytes = 0
  }

  #compact(): void {
    if (this.#head < 1024) return
    this.#items = this.#items.slice(this.#head)
    this.#head = 0
  }
}
