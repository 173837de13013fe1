/** Two ends of a byte stream in memory. Not part of the product. */
import type { ByteStream } from './net.ts'

/** One end; what it writes waits until `Pipe.deliver`. */
class End implements ByteStream {
  readonly remote = { address: '100.64.0.1', port: 2427 }
  written: Uint8Array[] = []
  open = true
  /** As TCP does with a full buffer: takes the bytes and asks for patience. */
  full = false
  #data: (bytes: Uint8Array) => void = () => {}
  #drain: () => void = () => {}
  #close: (reason: string | undefined) => void = () => {}

  write(bytes: Uint8Array): boolean {
    if (this.open) this.written.push(Uint8Array.from(bytes))
    return !this.full
  }

  onData(handler: (bytes: Uint8Array) => void): void {
    this.#data = handler
  }

  onDrain(handler: () => void): void {
    this.#drain = handler
  }

  onClose(handler: (reason: string | undefined) => void): void {
    this.#close = handler
  }

  close(): void {
    this.open = false
  }

  receive(bytes: Uint8Array): void {
    this.#data(bytes)
  }

  drain(): void {
    this.full = false
    this.#drain()
  }

  lose(reason?: string): void {
    this.#close(reason)
  }
}

export class Pipe {
  readonly edge = new End()
  readonly gateway = new End()
  /** Everything that was delivered, per writer. */
  readonly sent = { edge: Buffer.alloc(0), gateway: Buffer.alloc(0) }

  /** Delivers until both ends are quiet. @param chunk bytes per delivery. @param change what happens to the bytes on the way */
  deliver(chunk = Number.POSITIVE_INFINITY, change: (bytes: Buffer) => Buffer = bytes => bytes): void {
    for (;;) {
      const moved = [this.#move('edge', this.gateway, chunk, change), this.#move('gateway', this.edge, chunk, change)]
      if (!moved.some(Boolean)) return
    }
  }

  #move(from: 'edge' | 'gateway', to: End, chunk: number, change: (bytes: Buffer) => Buffer): boolean {
    const bytes = change(Buffer.concat(this[from].written))
    this[from].written = []
    this.sent[from] = Buffer.concat([this.sent[from], bytes])
    for (let at = 0; at < bytes.length; at += chunk) to.receive(Uint8Array.from(bytes.subarray(at, at + chunk)))
    return bytes.length > 0
  }
}
