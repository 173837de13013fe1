/**
 * An edge's try for a session with one gateway: initiations over one link after the other until an answer comes.
 *
 * Only the newest initiation counts, at both ends: the gateway takes them in the order of their timestamps and drops what it made for an earlier one,
 * the edge ignores answers to earlier ones. Each has SPIs and a session id of its own, so nothing that the gateway still holds for an earlier one can
 * stand in its way. Pauses grow, so in the end an answer is faster than the next try however slow the way is, and are spread over half their length,
 * so that a gateway that comes back is not asked by thousands of edges in the same instant.
 */
import type { InitPayload } from '../../schema/mpinit.ts'
import type { Initiator, InitiatorResult } from '../mp/initiator.ts'
import type { Arrival } from '../node/links.ts'
import type { Node } from '../node/node.ts'
import type { Candidate } from './candidates.ts'

/** What one initiation promised. */
export interface Offer {
  sid: number
  paths: Candidate[]
  /** Inbound SPI by path; empty without ESP. */
  spis: Map<number, number>
}

export interface HandshakeOptions {
  node: Node
  initiator: Initiator
  candidates: () => Candidate[]
  payload: (offer: Offer, via: Candidate) => Omit<InitPayload, 'timestamp'>
  /** Initiations cannot be made at all: the gateway's key or this node's grant is unfit. */
  failed: (error: Error) => void
}

const LONGEST_PAUSE_MS = 4000

/** @param tries that failed before */
export function retryPauseMs(shortestMs: number, tries: number): number {
  const pause = Math.min(LONGEST_PAUSE_MS, shortestMs * 2 ** Math.min(6, Math.floor(tries / 2)))
  return pause * (0.5 + 0.5 * Math.random())
}

export class EdgeHandshake {
  readonly #options: HandshakeOptions
  #offer: Offer | undefined
  tries = 0
  #timer: NodeJS.Timeout | undefined
  #over = false
  /** ms, monotonic. */
  triedAt = 0

  constructor(options: HandshakeOptions) {
    this.#options = options
  }

  /** Sends an initiation that replaces the one before, and goes on trying. */
  try(): void {
    if (this.#over) return
    const { node, initiator, failed } = this.#options
    clearTimeout(this.#timer)
    this.triedAt = node.now()
    this.#timer = setTimeout(() => this.try(), retryPauseMs(node.config.timers.handshakeRetryMs, this.tries))
    this.#release()
    const paths = this.#options.candidates()
    const via = paths[this.tries % Math.max(1, paths.length)]
    this.tries += 1
    if (!via) return
    const sid = node.sessions.newSid(paths)
    if (sid === undefined) {
      failed(new Error('this node has no room for another session'))
      return
    }
    const offer: Offer = { sid, paths, spis: new Map() }
    if (node.capabilities.esp) for (const { path } of paths) offer.spis.set(path, node.sessions.newSpi())
    this.#offer = offer
    try {
      const socket = node.wan.socket(via.local.address)
      for (const packet of initiator.start(offer.sid, this.#options.payload(offer, via)))
        socket?.send(packet, via.remote)
    } catch (error) {
      failed(error instanceof Error ? error : new Error(String(error)))
    }
  }

  /** @returns what the gateway answered and to which offer; undefined when the packet says nothing that the owner must act on */
  receive(
    packet: Uint8Array,
    arrival: Arrival,
  ): { outcome: Exclude<InitiatorResult, { kind: 'cookie' | 'waiting' | 'ignored' }>; offer: Offer } | undefined {
    const offer = this.#offer
    if (this.#over || !offer) return undefined
    const outcome = this.#options.initiator.receive(packet)
    if (outcome.kind === 'ignored' || outcome.kind === 'waiting') return undefined
    if (outcome.kind === 'cookie') {
      for (const again of outcome.packets) arrival.socket.send(again, arrival.from)
      return undefined
    }
    return { outcome, offer }
  }

  /** The answer came: what was offered belongs to the session now. */
  taken(): void {
    this.#offer = undefined
    this.end()
  }

  end(): void {
    this.#over = true
    clearTimeout(this.#timer)
    this.#release()
  }

  #release(): void {
    const { sessions } = this.#options.node
    for (const spi of this.#offer?.spis.values() ?? []) sessions.releaseSpi(spi)
    if (this.#offer) sessions.remove(this.#offer.sid)
    this.#offer = undefined
  }
}
