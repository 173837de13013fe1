/**
 * The responder's cryptographic half where there is work for it: in this thread while initiations are few, which a thread of its own would only cost
 * 25 MB for; in a pool from the first crowd on.
 */
import type { CryptoPort, OpenCrypto, PortReply } from './responder.ts'
import { inlineCrypto } from './responder.ts'
import type { CryptoCommand, CryptoOptions } from './responder-crypto.ts'

/** Initiations within a second that make a crowd: half a ms of work each, so 16 ms of that second. */
const CROWD = 32
const SECOND = 1000

/** @param now ms */
export function cryptoOnDemand(pool: OpenCrypto, now: () => number = Date.now): OpenCrypto {
  return (options, reply) => new OnDemand({ pool, now, options, reply })
}

interface Parts {
  pool: OpenCrypto
  now: () => number
  options: CryptoOptions
  reply: (reply: PortReply) => void
}

class OnDemand implements CryptoPort {
  readonly #parts: Parts
  readonly #inline: CryptoPort
  /** Initiations that this thread began, and so ends. */
  readonly #here = new Set<number>()
  #pool: CryptoPort | undefined
  #configuration: CryptoCommand | undefined
  #second = 0
  #initiations = 0

  constructor(parts: Parts) {
    this.#parts = parts
    this.#inline = inlineCrypto(parts.options, reply => {
      if (reply.type === 'answered' || reply.type === 'ignored') this.#here.delete(reply.id)
      parts.reply(reply)
    })
  }

  get pressure(): 'none' | 'busy' {
    return this.#pool?.pressure ?? 'none'
  }

  post(command: CryptoCommand, from: string): boolean {
    if (command.type === 'configure') {
      this.#configuration = command
      this.#inline.post(command, from)
      return this.#pool?.post(command, from) ?? true
    }
    if (command.type === 'init') {
      if (!this.#pool && this.#crowded()) this.#open(from)
      if (!this.#pool) this.#here.add(command.id)
    }
    if (!this.#here.has(command.id)) return this.#pool?.post(command, from) ?? false
    if (command.type === 'forget') this.#here.delete(command.id)
    return this.#inline.post(command, from)
  }

  close(): void {
    this.#inline.close()
    this.#pool?.close()
  }

  #crowded(): boolean {
    const second = Math.floor(this.#parts.now() / SECOND)
    this.#initiations = second === this.#second ? this.#initiations + 1 : 1
    this.#second = second
    return this.#initiations > CROWD
  }

  /** For good: a gateway that had a crowd once will have another. */
  #open(from: string): void {
    this.#pool = this.#parts.pool(this.#parts.options, this.#parts.reply)
    if (this.#configuration) this.#pool.post(this.#configuration, from)
  }
}
