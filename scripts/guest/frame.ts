/**
 * The wire between the host's guest client and the agent in the guest: one TCP connection per command, frames both ways.
 * A frame is a type byte, a big-endian 32-bit payload length, the payload. The first frame of a connection is a `request`.
 */

import type { Socket } from 'node:net'

export const FRAME = {
  /** client: JSON Request */
  request: 1,
  /** client: bytes for the command's standard input */
  stdin: 2,
  /** client: standard input ends */
  stdinEnd: 3,
  /** client: a signal's name for the command's process group */
  signal: 4,
  stdout: 5,
  stderr: 6,
  /** agent: JSON ExitStatus; the last frame */
  exit: 7,
  /** agent: why the command could not be started; the last frame */
  refused: 8,
} as const

export type Request = {
  readonly token: string
  readonly argv: readonly string[]
  readonly cwd: string
  /** added to the agent's own small environment (PATH, HOME, LANG) */
  readonly env: Readonly<Record<string, string>>
}

/** Exactly one of the two is not null, as in node:child_process. */
export type ExitStatus = { readonly code: number | null; readonly signal: string | null }

/** What the agent writes to `ready.json` in the share once it accepts commands. */
export type Ready = { readonly kernel: string }

const HEADER = 5
const MAX_PAYLOAD = 1 << 24

export function encodeFrame(type: number, payload: Uint8Array | string = ''): Buffer {
  const body = typeof payload === 'string' ? Buffer.from(payload) : payload
  const frame = Buffer.allocUnsafe(HEADER + body.length)
  frame.writeUInt8(type, 0)
  frame.writeUInt32BE(body.length, 1)
  frame.set(body, HEADER)
  return frame
}

/** Cuts a byte stream into frames. `push` throws a RangeError on a length above 16 MiB: the peer does not speak this protocol. */
export class FrameReader {
  #pending: Buffer = Buffer.alloc(0)
  readonly #onFrame: (type: number, payload: Buffer) => void

  constructor(onFrame: (type: number, payload: Buffer) => void) {
    this.#onFrame = onFrame
  }

  push(chunk: Buffer): void {
    this.#pending = this.#pending.length === 0 ? chunk : Buffer.concat([this.#pending, chunk])
    while (this.#pending.length >= HEADER) {
      const length = this.#pending.readUInt32BE(1)
      if (length > MAX_PAYLOAD) throw new RangeError(`guest frame of ${length} bytes`)
      if (this.#pending.length < HEADER + length) return
      const type = this.#pending.readUInt8(0)
      const payload = this.#pending.subarray(HEADER, HEADER + length)
      this.#pending = this.#pending.subarray(HEADER + length)
      this.#onFrame(type, payload)
    }
  }
}

/** Sends a stream's chunks as frames of one type, pausing the stream while the socket is full. */
export function pumpFrames(source: NodeJS.ReadableStream, socket: Socket, type: number): void {
  source.on('data', (chunk: Buffer | string) => {
    if (socket.destroyed || socket.write(encodeFrame(type, chunk))) return
    source.pause()
    socket.once('drain', () => source.resume())
  })
}
