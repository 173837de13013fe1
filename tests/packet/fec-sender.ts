/** A sender that protects, written from docs/wire.md and not from the code under test. */
import { mpType } from '../../schema/abi.gen.ts'
import type { Bytes } from './build.ts'
import { type MpFields, mp, outer } from './mp.ts'
import { SID, WAN } from './world.ts'

export interface Member {
  readonly number: number
  readonly payload: Bytes
  readonly timestampUs: number
  readonly qos: number
}

export const fecCode = (k: number, depth: 1 | 2 | 4 | 8) => k | (Math.log2(depth) << 5)

/** Payload and the two header fields in which a group's members are added up. */
export function parityOf(members: readonly Member[]): { payload: Bytes; timestampUs: number; policyVersion: number } {
  const payload = new Uint8Array(Math.max(...members.map(member => member.payload.length)))
  let [timestampUs, policyVersion] = [0, 0]
  for (const member of members) {
    for (const [at, byte] of member.payload.entries()) payload[at] = (payload[at] ?? 0) ^ byte
    timestampUs = (timestampUs ^ member.timestampUs) >>> 0
    policyVersion = (policyVersion ^ ((member.payload.length << 8) | member.qos)) >>> 0
  }
  return { payload, timestampUs, policyVersion }
}

/** Frames of one session's path, each with the packet number that is next. */
export class FecSender {
  #number = 0n
  readonly #outside: 4 | 6
  readonly #lane: number

  constructor(outside: 4 | 6, lane = 3) {
    this.#outside = outside
    this.#lane = lane
  }

  #frame(fields: MpFields, payload: Bytes): Bytes {
    const { local, remote } = WAN[this.#outside]
    this.#number++
    const header = { session: SID, path: this.#outside === 4 ? 0 : 1, number: this.#number, ...fields }
    return outer({ src: remote, dst: local }, mp(header, payload))
  }

  sequence(number: number): number {
    return ((this.#lane << 29) | number) >>> 0
  }

  data(code: number, { number, payload, timestampUs, qos }: Member): Bytes {
    return this.#frame({ sequence: this.sequence(number), fec: code, timestampUs, qos }, payload)
  }

  /** @param fields what is to be wrong */
  parity(code: number, members: readonly Member[], fields: MpFields = {}): Bytes {
    const { payload, ...header } = parityOf(members)
    const sequence = this.sequence(members.at(-1)?.number ?? 0)
    return this.#frame({ type: mpType.MP_PARITY, fec: 0x80 | code, sequence, ...header, ...fields }, payload)
  }
}
