/** The cryptography that a responder cannot do without, by the same library, with everything prepared that can be: what `handshake` is held against. */
import { generateKeyPairSync, type KeyObject, sign, verify } from 'node:crypto'
import { exchange, generateKeyPair, importPublic, type KeyPair } from '../../../agent/mp/dh.ts'
import { encapsulate, generateKem, importKem } from '../../../agent/mp/kem.ts'

/** Bytes of a grant's body. */
const GRANT = 330

export class Floor {
  readonly #own = generateKeyPair()
  readonly #other: KeyPair = generateKeyPair()
  readonly #kem = generateKem().raw
  readonly #anchor: KeyObject
  readonly #message = Buffer.alloc(GRANT, 7)
  readonly #signature: Buffer

  constructor() {
    const { publicKey, privateKey } = generateKeyPairSync('ed25519')
    this.#anchor = publicKey
    this.#signature = sign(null, this.#message, privateKey)
  }

  /** Import of the edge's two keys, es, ss, an ephemeral key, ee, se; with ML-KEM its key's import and an encapsulation; the grant's signature. */
  handshake({ hybrid, known }: { hybrid: boolean; known: boolean }): void {
    const [ephemeral, remote] = [importPublic(this.#other.publicKey.raw), importPublic(this.#other.publicKey.raw)]
    exchange(this.#own, ephemeral)
    exchange(this.#own, remote)
    const own = generateKeyPair()
    exchange(own, ephemeral)
    exchange(own, remote)
    const key = hybrid ? importKem(this.#kem) : undefined
    if (key) encapsulate(key)
    if (!known && !verify(null, this.#message, this.#anchor, this.#signature)) throw new Error('the signature is bad')
  }
}
