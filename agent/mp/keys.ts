/**
 * Keys of a session from its handshake. The route session's come from Noise's Split; all others from HKDF-SHA256 (RFC 5869) with the final
 * chaining key as input, the handshake hash as salt and a label per use, path and direction as info.
 *
 *   "branchline v1 tag <direction>"         16 bytes, SipHash key of MP headers
 *   "branchline v1 esp <path> <direction>"  36 bytes, AES-256 key and salt of one SA (RFC 4106 §8.1)
 *
 * A direction is `i2r` (initiator to responder) or `r2i`; a path is its decimal number.
 */
import { createSecretKey, hkdfSync, type KeyObject } from 'node:crypto'
import type { SessionSecrets } from '../../schema/mpinit.ts'
import type { HandshakeResult } from './noise.ts'

const TAG_KEY = 16
const ESP_KEY = 36

export interface DisposableSecrets extends SessionSecrets {
  /** Overwrites every key; `esp` throws afterwards. Keys handed out by `esp` are the caller's. */
  dispose(): void
}

/** Takes over the arrays of `handshake`. The result is in the initiator's view, as the schema says. */
export function sessionSecrets(handshake: HandshakeResult): DisposableSecrets {
  const { split, hash, chainingKey } = handshake
  let input: KeyObject | undefined = createSecretKey(chainingKey)
  const derive = (label: string, length: number): Uint8Array => {
    if (input === undefined) throw new Error('the keys of this session were disposed of')
    return new Uint8Array(hkdfSync('sha256', input, hash, `branchline v1 ${label}`, length))
  }
  const tagTx = derive('tag i2r', TAG_KEY)
  const tagRx = derive('tag r2i', TAG_KEY)
  const [recordTx, recordRx] = split
  return {
    tagTx,
    tagRx,
    recordTx,
    recordRx,
    hash,
    esp: (path, direction) => derive(`esp ${path} ${direction === 'tx' ? 'i2r' : 'r2i'}`, ESP_KEY),
    dispose() {
      for (const key of [tagTx, tagRx, recordTx, recordRx, chainingKey]) key.fill(0)
      input = undefined
    },
  }
}

/** The same keys as the responder uses them: `tx` is what it sends with. */
export function responderView(secrets: SessionSecrets): SessionSecrets {
  return {
    tagTx: secrets.tagRx,
    tagRx: secrets.tagTx,
    recordTx: secrets.recordRx,
    recordRx: secrets.recordTx,
    hash: secrets.hash,
    esp: (path, direction) => secrets.esp(path, direction === 'tx' ? 'rx' : 'tx'),
  }
}
