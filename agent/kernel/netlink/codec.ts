/** Netlink messages and attributes: bytes in host order unless a name says be (include/uapi/linux/netlink.h). */
import { viewOf } from '../../../schema/codec.ts'

export const NLM_F_REQUEST = 0x1
export const NLM_F_ACK = 0x4
export const NLM_F_DUMP_INTR = 0x10
export const NLM_F_DUMP = 0x300
export const NLM_F_REPLACE = 0x100
export const NLM_F_EXCL = 0x200
export const NLM_F_CREATE = 0x400
export const NLM_F_CAPPED = 0x100
export const NLM_F_ACK_TLVS = 0x200
export const NLMSG_ERROR = 2
export const NLMSG_DONE = 3

export const HEADER_LENGTH = 16
const ATTRIBUTE_HEADER = 4
const NLA_TYPE_MASK = 0x3fff
const NLA_F_NESTED = 0x8000

/** struct nlmsghdr and what follows it. */
export interface Message {
  type: number
  flags: number
  sequence: number
  payload: Uint8Array
}

export type Attributes = ReadonlyMap<number, Uint8Array>

/** Grows as needed; every attribute starts on a multiple of four. */
export class Writer {
  #bytes = new Uint8Array(256)
  #view = viewOf(this.#bytes)
  #length = 0

  /** Zeros, to be filled by the caller before anything else is written. */
  struct(length: number): DataView {
    const start = this.#reserve(length)
    return new DataView(this.#bytes.buffer, start, length)
  }

  bytes(type: number, value: Uint8Array): this {
    const start = this.#attribute(type, value.length)
    this.#bytes.set(value, start)
    return this
  }

  flag(type: number): this {
    this.#attribute(type, 0)
    return this
  }

  u8(type: number, value: number): this {
    const start = this.#attribute(type, 1)
    this.#view.setUint8(start, value)
    return this
  }

  u16(type: number, value: number): this {
    const start = this.#attribute(type, 2)
    this.#view.setUint16(start, value, true)
    return this
  }

  u32(type: number, value: number): this {
    const start = this.#attribute(type, 4)
    this.#view.setUint32(start, value, true)
    return this
  }

  /** With the terminating zero that the kernel wants. */
  text(type: number, value: string): this {
    return this.bytes(type, new TextEncoder().encode(`${value}\0`))
  }

  nested(type: number, write: () => void): this {
    const start = this.#attribute(type | NLA_F_NESTED, 0)
    write()
    this.#view.setUint16(start - ATTRIBUTE_HEADER, this.#length - start + ATTRIBUTE_HEADER, true)
    return this
  }

  finish(): Uint8Array {
    return this.#bytes.slice(0, this.#length)
  }

  #attribute(type: number, length: number): number {
    const start = this.#reserve(ATTRIBUTE_HEADER + length)
    this.#view.setUint16(start, ATTRIBUTE_HEADER + length, true)
    this.#view.setUint16(start + 2, type, true)
    return start + ATTRIBUTE_HEADER
  }

  #reserve(length: number): number {
    const start = this.#length
    this.#length += align(length)
    if (this.#length > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(this.#length, this.#bytes.length * 2))
      larger.set(this.#bytes)
      this.#bytes = larger
      this.#view = viewOf(larger)
    }
    return start
  }
}

export function encodeMessage({ type, flags, sequence, payload }: Message): Uint8Array {
  const bytes = new Uint8Array(align(HEADER_LENGTH + payload.length))
  const view = viewOf(bytes)
  view.setUint32(0, HEADER_LENGTH + payload.length, true)
  view.setUint16(4, type, true)
  view.setUint16(6, flags, true)
  view.setUint32(8, sequence, true)
  bytes.set(payload, HEADER_LENGTH)
  return bytes
}

/** The messages of one datagram; payloads are views into it. A message that claims to be longer than the datagram ends the list. */
export function parseMessages(datagram: Uint8Array): Message[] {
  const messages: Message[] = []
  const view = viewOf(datagram)
  for (let at = 0; at + HEADER_LENGTH <= datagram.length; ) {
    const length = view.getUint32(at, true)
    if (length < HEADER_LENGTH || at + length > datagram.length) break
    messages.push({
      type: view.getUint16(at + 4, true),
      flags: view.getUint16(at + 6, true),
      sequence: view.getUint32(at + 8, true),
      payload: datagram.subarray(at + HEADER_LENGTH, at + length),
    })
    at += align(length)
  }
  return messages
}

/** Attributes by type, the last of a type wins; `offset` skips the fixed struct in front of them. */
export function parseAttributes(payload: Uint8Array, offset = 0): Attributes {
  return new Map(listAttributes(payload, offset))
}

/** Attributes in order, for arrays that repeat one type. */
export function listAttributes(payload: Uint8Array, offset = 0): [number, Uint8Array][] {
  const attributes: [number, Uint8Array][] = []
  const view = viewOf(payload)
  for (let at = align(offset); at + ATTRIBUTE_HEADER <= payload.length; ) {
    const length = view.getUint16(at, true)
    if (length < ATTRIBUTE_HEADER || at + length > payload.length) break
    attributes.push([
      view.getUint16(at + 2, true) & NLA_TYPE_MASK,
      payload.subarray(at + ATTRIBUTE_HEADER, at + length),
    ])
    at += align(length)
  }
  return attributes
}

export function readU32(value: Uint8Array | undefined): number | undefined {
  return value && value.length >= 4 ? viewOf(value).getUint32(0, true) : undefined
}

export function readText(value: Uint8Array | undefined): string | undefined {
  if (!value) return undefined
  const end = value.indexOf(0)
  return new TextDecoder().decode(end < 0 ? value : value.subarray(0, end))
}

function align(length: number): number {
  return (length + 3) & ~3
}
