/** In-memory ESP states and policies; refuses what net/xfrm/xfrm_user.c refuses. */
import { parseAddress } from '../../../schema/address.ts'
import { KernelError } from '../error.ts'
import type { SecurityAssociation, SecurityAssociationState, TunnelPolicy, Xfrm } from '../port.ts'

/** Bytes of AES key and 4-byte salt. */
const KEY_LENGTHS = [20, 28, 36]
const MAX_REPLAY_WINDOW = 4096

export class FakeXfrm implements Xfrm {
  readonly #esp: boolean
  readonly #associations = new Map<string, SecurityAssociationState>()
  readonly #policies = new Map<number, TunnelPolicy>()

  constructor(esp: boolean) {
    this.#esp = esp
  }

  async addAssociation(association: SecurityAssociation): Promise<void> {
    const { direction, source, destination, spi, ifId, key, replayWindow } = association
    const object = `SA ${direction} to ${destination} SPI ${spi}`
    this.#requireEsp('add', object)
    requireAddresses(source, destination)
    const refuse = (code: string, detail?: string) => new KernelError('add', object, code, detail)
    if (!KEY_LENGTHS.includes(key.length)) throw refuse('EINVAL', `key of ${key.length} bytes`)
    if (direction === 'in' && (replayWindow < 1 || replayWindow > MAX_REPLAY_WINDOW))
      throw refuse('EINVAL', `replay window ${replayWindow}`)
    const id = `${destination} ${spi}`
    if (this.#associations.has(id)) throw refuse('EEXIST')
    const counters = { packets: 0, bytes: 0, replayErrors: 0, integrityErrors: 0 }
    this.#associations.set(id, { direction, source, destination, spi, ifId, ...counters })
  }

  async deleteAssociation({ destination, spi }: { destination: string; spi: number }): Promise<void> {
    const object = `SA to ${destination} SPI ${spi}`
    if (!this.#associations.delete(`${destination} ${spi}`)) throw new KernelError('delete', object, 'ENOENT')
  }

  async associations(): Promise<SecurityAssociationState[]> {
    return Array.from(this.#associations.values(), association => ({ ...association }))
  }

  async addPolicy(policy: TunnelPolicy): Promise<void> {
    const object = `policy out of if_id ${policy.ifId}`
    this.#requireEsp('add', object)
    requireAddresses(policy.source, policy.destination)
    if (this.#policies.has(policy.ifId)) throw new KernelError('add', object, 'EEXIST')
    this.#policies.set(policy.ifId, { ...policy })
  }

  async deletePolicy({ ifId }: { ifId: number }): Promise<void> {
    if (!this.#policies.delete(ifId)) throw new KernelError('delete', `policy out of if_id ${ifId}`, 'ENOENT')
  }

  async policies(): Promise<TunnelPolicy[]> {
    return Array.from(this.#policies.values(), policy => ({ ...policy }))
  }

  #requireEsp(operation: string, object: string): void {
    if (!this.#esp) throw new KernelError(operation, object, 'EPROTONOSUPPORT', 'a kernel without ESP')
  }
}

function requireAddresses(...addresses: string[]): void {
  for (const text of addresses) if (!parseAddress(text)) throw new TypeError(`not an address: ${text}`)
}
