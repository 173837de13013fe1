/** In-memory BPF maps with the kernel's limits and errno values (kernel/bpf/hashtab.c, arraymap.c). */
import type { Codec } from '../../../schema/codec.ts'
import { KernelError } from '../error.ts'
import type { KernelMap } from '../port.ts'

export type FakeMapKind = 'hash' | 'array'

/** Holds encoded bytes, as the kernel does: what goes in is a copy, and a value that a codec cannot write is refused. */
export class FakeMap<K, V> implements KernelMap<K, V> {
  readonly name: string
  readonly #kind: FakeMapKind
  readonly #limit: number
  readonly #key: Codec<K>
  readonly #value: Codec<V>
  /** In order of insertion; an array's zero entries are left out. */
  readonly #entries = new Map<string, Uint8Array>()

  constructor(name: string, kind: FakeMapKind, limit: number, key: Codec<K>, value: Codec<V>) {
    this.name = name
    this.#kind = kind
    this.#limit = limit
    this.#key = key
    this.#value = value
  }

  get(key: K): V | undefined {
    const value = this.#entries.get(this.#text(key))
    if (value) return this.#value.decode(value)
    return this.#kind === 'array' && this.#index(key) < this.#limit ? this.#zero() : undefined
  }

  set(key: K, value: V): void {
    const text = this.#text(key)
    const bytes = this.#value.encode(value)
    if (this.#kind === 'array') {
      if (this.#index(key) >= this.#limit) throw this.#error('write', 'E2BIG')
      if (bytes.every(byte => byte === 0)) this.#entries.delete(text)
      else this.#entries.set(text, bytes)
      return
    }
    if (!this.#entries.has(text) && this.#entries.size >= this.#limit)
      throw this.#error('write', this.#kind === 'hash' ? 'E2BIG' : 'ENOSPC')
    this.#entries.set(text, bytes)
  }

  delete(key: K): boolean {
    if (this.#kind === 'array') throw this.#error('delete from', 'EINVAL')
    return this.#entries.delete(this.#text(key))
  }

  entries(): [K, V][] {
    return Array.from(this.#entries, ([text, value]) => [
      this.#key.decode(Buffer.from(text, 'latin1')),
      this.#value.decode(value),
    ])
  }

  setMany(entries: readonly (readonly [K, V])[]): void {
    for (const [key, value] of entries) this.set(key, value)
  }

  deleteMany(keys: readonly K[]): void {
    for (const key of keys) this.delete(key)
  }

  #text(key: K): string {
    return Buffer.from(this.#key.encode(key)).toString('latin1')
  }

  /** Keys of arrays are u32. */
  #index(key: K): number {
    return Buffer.from(this.#key.encode(key)).readUInt32LE()
  }

  #zero(): V {
    return this.#value.decode(new Uint8Array(this.#value.size))
  }

  #error(operation: string, code: string): KernelError {
    return new KernelError(operation, `map ${this.name}`, code)
  }
}
