/** Why a handshake packet was ignored: names of counters. Refusals that are answered have codes of their own (schema/mpinit.ts). */
import type { ReadFailure } from './noise.ts'
import type { ParseFailure } from './packets.ts'

export type IgnoredReason =
  | ParseFailure
  | ReadFailure
  /** A packet that this side does not take: an INIT for an initiator, a RESET for either. */
  | 'wrong-type'
  /** Made by someone who does not know the receiver's static public key, or damaged. */
  | 'bad-mac1'
  /** A proven address that asks too often under load. */
  | 'rate-limited'
  /** More initiations wait than are worth waiting for. */
  | 'overloaded'
  /** A worker thread ended with the initiation in its hands. */
  | 'worker-lost'
  /** The grants that count changed meanwhile: the edge asks again. */
  | 'trust-changed'
  /** The INIT_KEM that the INIT promised did not come in time, or a newer initiation of the edge came before it. */
  | 'kem-missing'
  /** Authentic, but its CBOR is not what the schema says. */
  | 'bad-payload'
  /** The very packet was taken before: the network doubled it. */
  | 'duplicate'
  /** An answer to nothing: no initiation is under way, or one with another session id. */
  | 'no-handshake'
  /** A cookie that does not open, or a second one for one initiation. */
  | 'bad-cookie'

export interface Ignored {
  kind: 'ignored'
  reason: IgnoredReason
}

export function ignored(reason: IgnoredReason): Ignored {
  return { kind: 'ignored', reason }
}
