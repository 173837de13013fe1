/**
 * How many handshakes a responder does. A token bucket says when it is under load: then senders have to prove their address with a cookie, and
 * each proven address gets a share of its own. Only proven addresses enter the table, so forged ones cannot fill it.
 */
import { parseAddress } from '../../schema/address.ts'

export interface LoadOptions {
  /** ms, monotonic or Unix. */
  now: () => number
  /** Handshakes per second that need no cookie, and how many may come at once. */
  rate?: number
  burst?: number
  /** The same for one proven address (IPv6: one /64) under load. */
  sourceRate?: number
  sourceBurst?: number
  /** Addresses that are remembered. */
  sources?: number
}

/** What `admit` says: do it, ask for a cookie, or drop. */
export type Admission = 'ok' | 'cookie' | 'rate-limited'

interface Bucket {
  tokens: number
  filled: number
}

export class Load {
  readonly #now: () => number
  readonly #rate: number
  readonly #burst: number
  readonly #sourceRate: number
  readonly #sourceBurst: number
  readonly #limit: number
  readonly #total: Bucket
  readonly #sources = new Map<string, Bucket>()

  constructor(options: LoadOptions) {
    this.#now = options.now
    this.#rate = options.rate ?? 400
    this.#burst = options.burst ?? 800
    this.#sourceRate = options.sourceRate ?? 20
    this.#sourceBurst = options.sourceBurst ?? 50
    this.#limit = options.sources ?? 16_384
    this.#total = { tokens: this.#burst, filled: options.now() }
  }

  /** Addresses remembered now. */
  get size(): number {
    return this.#sources.size
  }

  /**
   * Counts one handshake.
   * @param proven called under load only: did the sender show a cookie for this address?
   * @param busy under load whatever the rate is: work waits
   */
  admit(address: string, proven: () => boolean, busy = false): Admission {
    const now = this.#now()
    if (!busy && take(this.#total, this.#rate, this.#burst, now)) return 'ok'
    if (!proven()) return 'cookie'
    return take(this.#source(address, now), this.#sourceRate, this.#sourceBurst, now) ? 'ok' : 'rate-limited'
  }

  #source(address: string, now: number): Bucket {
    const key = sourceKey(address)
    const bucket = this.#sources.get(key) ?? { tokens: this.#sourceBurst, filled: now }
    this.#sources.delete(key)
    this.#sources.set(key, bucket)
    if (this.#sources.size > this.#limit) {
      const [oldest] = this.#sources.keys()
      if (oldest !== undefined) this.#sources.delete(oldest)
    }
    return bucket
  }
}

/** @returns whether the bucket had a token; takes it */
function take(bucket: Bucket, rate: number, burst: number, now: number): boolean {
  const elapsed = Math.max(0, now - bucket.filled) // a clock set back fills nothing
  bucket.tokens = Math.min(burst, bucket.tokens + (elapsed / 1000) * rate)
  bucket.filled = now
  if (bucket.tokens < 1) return false
  bucket.tokens -= 1
  return true
}

/** Whoever has one IPv6 address usually has the /64 around it. */
function sourceKey(address: string): string {
  const parsed = parseAddress(address)
  return parsed?.family === 6 ? Buffer.from(parsed.bytes.subarray(0, 8)).toString('hex') : address
}
