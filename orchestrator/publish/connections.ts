/** Open connections of nodes to this replica: who is there, what they last reported, and how to end one. */
import type { WebSocket } from 'ws'
import type { NodeReport } from '../../schema/node-state.ts'

/** WebSocket close codes of our own (RFC 6455 §7.4.2: 4000-4999 are free). */
export const CLOSE = { unauthenticated: 4401, shutOut: 4403 } as const

/** RFC 6455 §5.5: a close frame carries at most 125 bytes, two of them the code. */
export function closeReason(text: string): string {
  return Buffer.byteLength(text) <= 123 ? text : `${text.slice(0, 120)}...`
}

export interface NodeConnection {
  readonly node: string
  readonly name: string
  readonly address: string
  readonly since: Date
  report: NodeReport | undefined
  close(reason: string): void
}

export class Connections {
  readonly #byNode = new Map<string, Set<NodeConnection>>()

  add(identity: { id: string; name: string }, socket: WebSocket, address: string): NodeConnection {
    const connection: NodeConnection = {
      node: identity.id,
      name: identity.name,
      address,
      since: new Date(),
      report: undefined,
      close: reason => socket.close(CLOSE.shutOut, closeReason(reason)),
    }
    const all = this.#byNode.get(identity.id) ?? new Set()
    this.#byNode.set(identity.id, all.add(connection))
    socket.once('close', () => {
      all.delete(connection)
      if (all.size === 0) this.#byNode.delete(identity.id)
    })
    return connection
  }

  shutOut(node: string, reason: string): void {
    for (const connection of this.#byNode.get(node) ?? []) connection.close(reason)
  }

  /** The newest connection of each node. */
  list(): NodeConnection[] {
    return [...this.#byNode.values()]
      .flatMap(all => [...all].slice(-1))
      .toSorted((a, b) => a.name.localeCompare(b.name))
  }
}
