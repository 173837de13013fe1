/**
 * Probe triggers. A datagram from our virtual address to a peer's, port 2426, first byte the path id: the sending program turns it into an MP probe on
 * that path, the peer's program answers it, ours measures the round trip; no agent is in the loop (bpf/mp.bpf.c, bpf/wan.bpf.c).
 */
import { ABI_MP_PORT } from '../../schema/abi.gen.ts'
import type { DatagramSocket, NetPort } from './net.ts'

/** With IPv4 and UDP headers more than the 16 bytes that a tag covers. */
const TRIGGER_LENGTH = 16

export class Prober {
  readonly #net: NetPort
  readonly #sockets = new Map<string, DatagramSocket>()
  readonly #opening = new Set<string>()

  constructor(net: NetPort) {
    this.#net = net
  }

  /** Our virtual address exists: make it able to send. An ephemeral port: 2426 there belongs to triggers on their way out. */
  async open(vaddr: string): Promise<void> {
    if (this.#sockets.has(vaddr) || this.#opening.has(vaddr)) return
    this.#opening.add(vaddr)
    try {
      this.#sockets.set(vaddr, await this.#net.datagram({ address: vaddr, port: 0 }, () => {}))
    } finally {
      this.#opening.delete(vaddr)
    }
  }

  probe(from: string, to: string, path: number): void {
    const trigger = new Uint8Array(TRIGGER_LENGTH)
    trigger[0] = path
    this.#sockets.get(from)?.send(trigger, { address: to, port: ABI_MP_PORT })
  }

  release(vaddr: string): void {
    this.#sockets.get(vaddr)?.close()
    this.#sockets.delete(vaddr)
  }

  close(): void {
    for (const vaddr of [...this.#sockets.keys()]) this.release(vaddr)
  }
}
