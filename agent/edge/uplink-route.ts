/** The edge's end of the route session with one gateway: dialled anew or moved to the keys of a new session. */
import type { SessionSecrets } from '../../schema/mpinit.ts'
import { ROUTE_PORT, type RouteMessage } from '../../schema/route-messages.ts'
import { dialRouteSession } from '../mp/route-dial.ts'
import type { RouteSession } from '../mp/route-session.ts'
import type { Node } from '../node/node.ts'

export interface UplinkRouteOptions {
  node: Node
  onMessage: (message: RouteMessage) => void
  /** The session that was in use has ended. */
  onClosed: (reason: string) => void
}

const SWITCH_DEADLINE_MS = 5000

export class UplinkRoute {
  readonly #options: UplinkRouteOptions
  #session: RouteSession | undefined
  #switchTimer: NodeJS.Timeout | undefined
  #closed = false

  constructor(options: UplinkRouteOptions) {
    this.#options = options
  }

  get open(): boolean {
    return this.#session !== undefined
  }

  send(message: RouteMessage): void {
    this.#session?.send(message)
  }

  /** The session goes on; both directions move to the new session's keys. @param sid the gateway's number of it. @param done the gateway has moved */
  switchTo(sid: number, secrets: SessionSecrets, done: () => void): void {
    clearTimeout(this.#switchTimer)
    this.#switchTimer = setTimeout(() => this.#session?.close('no answer to switch'), SWITCH_DEADLINE_MS)
    this.#session?.switchTo(sid, { tx: secrets.recordTx, rx: secrets.recordRx }, () => {
      clearTimeout(this.#switchTimer)
      done()
    })
  }

  /** A new connection instead of the one in use. @param sid the gateway's number of the session. @throws NetError when none comes about */
  async dial(from: string, to: string, sid: number, secrets: SessionSecrets): Promise<void> {
    const { node, onMessage } = this.#options
    this.#session?.close('a new session replaces it')
    const session = await dialRouteSession(node.net, {
      from,
      to: { address: to, port: ROUTE_PORT },
      sid,
      keys: { tx: secrets.recordTx, rx: secrets.recordRx },
      deadlineMs: 2 * node.config.timers.silentMs,
      onMessage,
      onClose: (ended, reason) => this.#ended(ended, reason),
    })
    if (this.#closed) session.close('agent stops')
    if (session.closed) throw new Error('the connection ended at once')
    this.#session = session
    session.send({ type: 'hello', node: node.id, virtualAddress: from, version: 1 })
  }

  #ended(session: RouteSession, reason: string): void {
    if (this.#session !== session) return
    this.#session = undefined
    clearTimeout(this.#switchTimer)
    this.#options.onClosed(reason)
  }

  close(reason: string): void {
    this.#closed = true
    clearTimeout(this.#switchTimer)
    this.#session?.close(reason)
  }
}
