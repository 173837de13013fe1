/** Typed maps over file descriptors: KernelMap by system calls, batched where many entries move. */
import type { Codec } from '../../schema/codec.ts'
import { KernelError } from './error.ts'
import * as libbpf from './libbpf.ts'
import { errnoName } from './native.ts'
import type { KernelMap } from './port.ts'

const ENOENT = -2
const ENOSPC = -28
const BATCH = 4096
const BPF_MAP_TYPE_ARRAY = 2

/** @throws RangeError when a codec and the kernel disagree about a size */
export function openMap<K, V>(name: string, fd: number, key: Codec<K>, value: Codec<V>): KernelMap<K, V> {
  return new BpfMap(name, fd, key, value)
}

class BpfMap<K, V> implements KernelMap<K, V> {
  readonly name: string
  readonly #fd: number
  readonly #key: Codec<K>
  readonly #value: Codec<V>
  readonly #isArray: boolean

  constructor(name: string, fd: number, key: Codec<K>, value: Codec<V>) {
    const info = libbpf.infoOf(fd, 24, `map ${name}`)
    const [keySize, valueSize] = [info.getUint32(8, true), info.getUint32(12, true)]
    // A codec of another size would have the kernel write behind the buffer's end.
    if (keySize !== key.size || valueSize !== value.size)
      throw new RangeError(`map ${name} holds ${keySize}+${valueSize} bytes, its codecs ${key.size}+${value.size}`)
    this.name = name
    this.#fd = fd
    this.#key = key
    this.#value = value
    this.#isArray = info.getUint32(0, true) === BPF_MAP_TYPE_ARRAY
  }

  get(key: K): V | undefined {
    const value = new Uint8Array(this.#value.size)
    const result = libbpf.mapLookup(this.#fd, this.#key.encode(key), value)
    if (result === ENOENT) return undefined
    this.#check(result, 'read')
    return this.#value.decode(value)
  }

  set(key: K, value: V): void {
    this.#check(libbpf.mapUpdate(this.#fd, this.#key.encode(key), this.#value.encode(value), 0n), 'write')
  }

  delete(key: K): boolean {
    const result = libbpf.mapDelete(this.#fd, this.#key.encode(key))
    if (result === ENOENT) return false
    this.#check(result, 'delete from')
    return true
  }

  entries(): [K, V][] {
    const entries: [K, V][] = []
    const keySize = this.#key.size
    const valueSize = this.#value.size
    const next = new Uint8Array(Math.max(4, keySize))
    let position: Uint8Array | null = null
    let size = BATCH
    let keys = new Uint8Array(size * keySize)
    let values = new Uint8Array(size * valueSize)
    const zero = new Uint8Array(valueSize)
    for (;;) {
      const { result, count } = libbpf.mapLookupBatch(this.#fd, position, next, keys, values, size)
      if (result === ENOSPC) {
        // One hash bucket holds more than the buffers.
        size *= 2
        keys = new Uint8Array(size * keySize)
        values = new Uint8Array(size * valueSize)
        continue
      }
      if (result !== ENOENT) this.#check(result, 'read')
      for (let index = 0; index < count; index++) {
        const value = values.subarray(index * valueSize, (index + 1) * valueSize)
        if (this.#isArray && Buffer.compare(value, zero) === 0) continue
        entries.push([
          this.#key.decode(keys.subarray(index * keySize, (index + 1) * keySize)),
          this.#value.decode(value),
        ])
      }
      if (result === ENOENT) return entries
      position = next.slice()
    }
  }

  setMany(entries: readonly (readonly [K, V])[]): void {
    for (let start = 0; start < entries.length; start += BATCH) {
      const part = entries.slice(start, start + BATCH)
      const keys = join(part.map(([key]) => this.#key.encode(key)))
      const values = join(part.map(([, value]) => this.#value.encode(value)))
      this.#check(libbpf.mapUpdateBatch(this.#fd, keys, values, part.length).result, 'write')
    }
  }

  deleteMany(keys: readonly K[]): void {
    for (let start = 0; start < keys.length; ) {
      const part = keys.slice(start, start + BATCH)
      const { result, count } = libbpf.mapDeleteBatch(
        this.#fd,
        join(part.map(key => this.#key.encode(key))),
        part.length,
      )
      if (result !== ENOENT) this.#check(result, 'delete from')
      // The kernel stops at a key that is not there: go on behind it.
      start += result === ENOENT ? count + 1 : part.length
    }
  }

  #check(result: number, operation: string): void {
    if (result < 0) throw new KernelError(operation, `map ${this.name}`, errnoName(-result))
  }
}

function join(parts: readonly Uint8Array[]): Uint8Array {
  return Buffer.concat(parts)
}

/** Sums of a per-CPU array of u64, by index. */
export function readPerCpuSums(name: string, fd: number, length: number): bigint[] {
  const cpus = libbpf.checkResult(libbpf.possibleCpus(), 'count', 'CPUs')
  const key = new Uint32Array(1)
  const values = new BigUint64Array(cpus)
  return Array.from({ length }, (_, index) => {
    key[0] = index
    libbpf.checkResult(
      libbpf.mapLookup(fd, new Uint8Array(key.buffer), new Uint8Array(values.buffer)),
      'read',
      `map ${name}`,
    )
    return values.reduce((sum, value) => sum + value, 0n)
  })
}
