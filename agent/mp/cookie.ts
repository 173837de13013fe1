/**
 * Cookies (the idea of WireGuard §5.3): under load the responder answers an initiation with a cookie that depends on the sender's address, and
 * spends a Diffie-Hellman only on initiations that carry a mac2 made with it. It keeps one secret, not a state per sender. The cookie is sealed
 * under a key that only who knows the responder's static key has, and bound to mac1 of the initiation it answers.
 */
import { randomBytes } from 'node:crypto'
import { parseAddress } from '../../schema/address.ts'
import { COOKIE_NONCE_LENGTH } from '../../schema/mpinit.ts'
import { open, seal } from './cipher.ts'
import { labelledKey, mac } from './mac.ts'
import { type CookiePacket, checkMac2, formatCookie, hasMac2, type InitPacket } from './packets.ts'

/** ms after which the secret changes; the one before still counts, so a cookie is good for one to two of these. */
export const COOKIE_ROTATION = 120_000
const SECRET_LENGTH = 32
/** Every nonce gives another key, so the cipher's own nonce may stay zero. */
const CIPHER_NONCE = Buffer.alloc(12)

export interface Source {
  /** IPv4 or IPv6 text. */
  address: string
  port: number
}

/** The responder's side. */
export class CookieJar {
  readonly #staticPublic: Uint8Array
  readonly #now: () => number
  readonly #random: (length: number) => Uint8Array
  #current: Uint8Array
  #previous: Uint8Array | undefined
  #rotated: number

  /** @param now ms, monotonic or Unix */
  constructor(staticPublic: Uint8Array, now: () => number, random: (length: number) => Uint8Array = randomBytes) {
    this.#staticPublic = staticPublic
    this.#now = now
    this.#random = random
    this.#current = random(SECRET_LENGTH)
    this.#rotated = now()
  }

  /** Does mac2 prove that the sender receives packets at `source`? @param bytes the packet that `init` was parsed from */
  accepts(bytes: Uint8Array, init: InitPacket, source: Source): boolean {
    if (!hasMac2(init)) return false
    this.#rotate()
    return [this.#current, this.#previous].some(
      secret => secret !== undefined && checkMac2(bytes, init, cookieFor(secret, source)),
    )
  }

  /** @returns a COOKIE packet for the sender of `init` */
  answer(init: InitPacket, source: Source): Buffer {
    this.#rotate()
    const nonce = this.#random(COOKIE_NONCE_LENGTH)
    const cookie = cookieFor(this.#current, source)
    const sealed = seal('aes-256-gcm', sealKey(this.#staticPublic, nonce), CIPHER_NONCE, init.mac1, cookie)
    return formatCookie(init.senderSid, nonce, sealed)
  }

  #rotate(): void {
    const age = this.#now() - this.#rotated
    if (age >= 0 && age < COOKIE_ROTATION) return
    // After two rotations' time without a call, or a clock set back, the old secret is too old to count as the previous one.
    this.#previous = age >= 0 && age < 2 * COOKIE_ROTATION ? this.#current : undefined
    this.#current = this.#random(SECRET_LENGTH)
    this.#rotated = this.#now()
  }
}

/** The initiator's side. @param mac1 of the initiation that was sent. @returns 16 bytes, or undefined for a packet that does not answer it */
export function openCookie(
  packet: CookiePacket,
  responderStatic: Uint8Array,
  mac1: Uint8Array,
): Uint8Array | undefined {
  return open('aes-256-gcm', sealKey(responderStatic, packet.nonce), CIPHER_NONCE, mac1, packet.sealed)
}

function sealKey(staticPublic: Uint8Array, nonce: Uint8Array): Buffer {
  return labelledKey('branchline cookie v1', staticPublic, nonce)
}

function cookieFor(secret: Uint8Array, { address, port }: Source): Buffer {
  const bytes = parseAddress(address)?.bytes ?? Buffer.from(address)
  return mac(secret, Buffer.concat([Uint8Array.of(bytes.length, port >> 8, port & 0xff), bytes]))
}
