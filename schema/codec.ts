/** How generated code (abi.gen.ts) turns values into the bytes that BPF programs read. */

/** Fixed-size layout of one C type. Multi-byte numbers are little-endian, as on every machine that runs Branchline, but for __be types. */
export interface Codec<T> {
  /** Bytes. */
  readonly size: number
  /** @throws RangeError when an array member has another length than in C */
  encode(value: T): Uint8Array
  /** The result shares no memory with `bytes`. @throws RangeError when `bytes` is shorter than `size` */
  decode(bytes: Uint8Array): T
}

export const u32Codec: Codec<number> = {
  size: 4,
  encode: value => {
    const bytes = new Uint8Array(4)
    viewOf(bytes).setUint32(0, value, true)
    return bytes
  },
  decode: bytes => viewOf(bytes).getUint32(0, true),
}

/** What an entry of an array map is before anybody has written it. */
export function zero<T>(codec: Codec<T>): T {
  return codec.decode(new Uint8Array(codec.size))
}

export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

export function putBytes(target: Uint8Array, offset: number, length: number, value: Uint8Array): void {
  if (value.length !== length) throw new RangeError(`${length} bytes expected, not ${value.length}`)
  target.set(value, offset)
}

export function putU16s(view: DataView, offset: number, length: number, values: readonly number[]): void {
  if (values.length !== length) throw new RangeError(`${length} numbers expected, not ${values.length}`)
  for (const [index, value] of values.entries()) view.setUint16(offset + index * 2, value, true)
}

export function putU32s(view: DataView, offset: number, length: number, values: readonly number[]): void {
  if (values.length !== length) throw new RangeError(`${length} numbers expected, not ${values.length}`)
  for (const [index, value] of values.entries()) view.setUint32(offset + index * 4, value, true)
}

export function putU64s(view: DataView, offset: number, length: number, values: readonly bigint[]): void {
  if (values.length !== length) throw new RangeError(`${length} numbers expected, not ${values.length}`)
  for (const [index, value] of values.entries()) view.setBigUint64(offset + index * 8, value, true)
}

export function putStructs<T>(
  target: Uint8Array,
  offset: number,
  length: number,
  codec: Codec<T>,
  values: readonly T[],
): void {
  if (values.length !== length) throw new RangeError(`${length} structs expected, not ${values.length}`)
  for (const [index, value] of values.entries()) target.set(codec.encode(value), offset + index * codec.size)
}

export function takeBytes(view: DataView, offset: number, length: number): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset + offset, length).slice()
}

export function takeU16s(view: DataView, offset: number, length: number): number[] {
  return Array.from({ length }, (_, index) => view.getUint16(offset + index * 2, true))
}

export function takeU32s(view: DataView, offset: number, length: number): number[] {
  return Array.from({ length }, (_, index) => view.getUint32(offset + index * 4, true))
}

export function takeStructs<T>(bytes: Uint8Array, offset: number, length: number, codec: Codec<T>): T[] {
  return Array.from({ length }, (_, index) => codec.decode(bytes.subarray(offset + index * codec.size)))
}

export function takeU64s(view: DataView, offset: number, length: number): bigint[] {
  const values = new Array<bigint>(length)
  for (let index = 0; index < length; index++) values[index] = view.getBigUint64(offset + index * 8, true)
  return values
}
