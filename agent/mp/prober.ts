/**
 * Probe triggers. A datagram from our virtual address to a peer's, port 2426, that names a path: the sending program turns it into an MP probe on
 * that path, padded to a size if it is asked to; the peer's program answers it, ours measures the round trip; no agent is in the loop
 * (bpf/path/trigger.h, bpf/path/probe.h).
 */
import { ABI_MP_PORT, mpTriggerCodec } from '../../schema/abi.gen.ts'
import type { DatagramSocket, NetPort } from './net.ts'

/** Probes that leave together to learn what size gets through; `path_state.probed_size` tells the largest answered. */
export interface SizeProbe {
  /** 1 to 255. */
  round: number
  /** Of the outer packet; 0: as small as a probe is. */
  size: number
}

const PLAIN: SizeProbe = { round: 0, size: 0 }

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

  probe(from: string, to: string, path: number, { round, size }: SizeProbe = PLAIN): void {
    const trigger = mpTriggerCodec.encode({ path, round, size, reserved: new Uint8Array(12) })
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
