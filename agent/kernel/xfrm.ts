/** The port's Xfrm: ESP states and policies over netlink. */
import { KernelError } from './error.ts'
import { NetlinkClient } from './netlink/client.ts'
import {
  addPolicy,
  deletePolicy,
  parsePolicy,
  policyFamilies,
  XFRM_MSG_DELPOLICY,
  XFRM_MSG_GETPOLICY,
  XFRM_MSG_NEWPOLICY,
} from './netlink/xfrm-policy.ts'
import {
  addAssociation,
  deleteAssociation,
  parseAssociation,
  XFRM_MSG_DELSA,
  XFRM_MSG_GETSA,
  XFRM_MSG_NEWSA,
} from './netlink/xfrm-state.ts'
import type { SecurityAssociation, SecurityAssociationState, TunnelPolicy, Xfrm } from './port.ts'

const NETLINK_XFRM = 6

export class LinuxXfrm implements Xfrm {
  readonly #client = new NetlinkClient(NETLINK_XFRM, 'XFRM netlink')

  async addAssociation(association: SecurityAssociation): Promise<void> {
    const { direction, destination, spi } = association
    await this.#client.request({
      type: XFRM_MSG_NEWSA,
      payload: addAssociation(association),
      operation: 'add',
      object: `SA ${direction} to ${destination} SPI ${hex(spi)}`,
    })
  }

  async deleteAssociation(association: { source?: string; destination: string; spi: number }): Promise<void> {
    await this.#client.request({
      type: XFRM_MSG_DELSA,
      payload: deleteAssociation(association),
      operation: 'delete',
      object: `SA to ${association.destination} SPI ${hex(association.spi)}`,
      missing: 'ESRCH',
    })
  }

  async associations(): Promise<SecurityAssociationState[]> {
    const messages = await this.#client.dump({
      type: XFRM_MSG_GETSA,
      payload: new Uint8Array(),
      operation: 'read',
      object: 'SAs',
    })
    return messages.map(parseAssociation).filter(association => association !== undefined)
  }

  async addPolicy(policy: TunnelPolicy): Promise<void> {
    const added: number[] = []
    try {
      for (const family of policyFamilies) {
        await this.#client.request({
          type: XFRM_MSG_NEWPOLICY,
          payload: addPolicy(policy, family),
          operation: 'add',
          object: policyText(policy.ifId),
        })
        added.push(family)
      }
    } catch (error) {
      // Both families or none.
      for (const family of added) await this.#delete(policy.ifId, family)
      throw error
    }
  }

  async deletePolicy(policy: { ifId: number }): Promise<void> {
    const results = await Promise.allSettled(policyFamilies.map(family => this.#delete(policy.ifId, family)))
    const failed = results.filter(result => result.status === 'rejected')
    const reasons: unknown[] = failed.map(({ reason }) => reason)
    const isMissing = (reason: unknown) => reason instanceof KernelError && reason.code === 'ENOENT'
    const serious = reasons.find(reason => !isMissing(reason))
    // A half that a crash left behind is deleted like a whole.
    if (serious !== undefined || reasons.length === policyFamilies.length) throw serious ?? reasons[0]
  }

  async policies(): Promise<TunnelPolicy[]> {
    const messages = await this.#client.dump({
      type: XFRM_MSG_GETPOLICY,
      payload: new Uint8Array(),
      operation: 'read',
      object: 'policies',
    })
    // One per family; the second is the same tunnel.
    const byIfId = new Map<number, TunnelPolicy>()
    for (const message of messages) {
      const policy = parsePolicy(message)
      if (policy) byIfId.set(policy.ifId, policy)
    }
    return [...byIfId.values()]
  }

  close(): void {
    this.#client.close()
  }

  async #delete(ifId: number, family: number): Promise<void> {
    await this.#client.request({
      type: XFRM_MSG_DELPOLICY,
      payload: deletePolicy(ifId, family),
      operation: 'delete',
      object: policyText(ifId),
    })
  }
}

function policyText(ifId: number): string {
  return `policy out of if_id ${hex(ifId)}`
}

function hex(value: number): string {
  return `0x${value.toString(16)}`
}
