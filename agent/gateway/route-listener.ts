/** From an accepted connection to an edge's confirmed route session: its first record proves that it holds the session's keys. */
import type { SessionSecrets } from '../../schema/mpinit.ts'
import type { Logger } from '../log.ts'
import { responderView } from '../mp/keys.ts'
import type { ByteStream } from '../mp/net.ts'
import { RouteSession } from '../mp/route-session.ts'
import type { EdgePeer } from './peers.ts'
import { type RoutePeerContext, receive, welcome } from './route-peer.ts'

export interface RouteListenerOptions {
  context: RoutePeerContext
  secretsOf: (sid: number) => SessionSecrets | undefined
  peerOf: (sid: number) => EdgePeer | undefined
  /** Packets for the edge move to this session now. */
  confirmed: (peer: EdgePeer, sid: number) => Promise<void>
  closed: (peer: EdgePeer, reason: string) => void
  log: Logger
}

export function acceptRouteSession(stream: ByteStream, options: RouteListenerOptions): void {
  let peer: EdgePeer | undefined
  // Messages are handled one after the other, although some wait for the kernel.
  let work: Promise<void> = Promise.resolve()
  const serial = (step: () => Promise<void> | void) => {
    work = work.then(step).catch(error => {
      options.log.error({ err: error }, 'route message failed')
      route.close('internal error')
    })
  }
  const route = RouteSession.accept(stream, {
    keysOf: sid => {
      const owner = options.peerOf(sid)
      // A session is switched to by the edge that made it, never by another.
      if (!owner || (peer && owner !== peer)) return undefined
      const secrets = options.secretsOf(sid)
      if (!secrets) return undefined
      const { recordTx, recordRx } = responderView(secrets)
      return { tx: recordTx, rx: recordRx }
    },
    onOpen: sid => {
      const owner = options.peerOf(sid)
      if (!owner) return route.close('the session is gone')
      peer = owner
      const before = owner.route
      owner.route = route
      before?.close('replaced by a newer connection')
      serial(() => options.confirmed(owner, sid))
    },
    onMessage: message =>
      serial(() => {
        if (!peer || peer.route !== route) return
        if (message.type !== 'hello') return receive(options.context, peer, message)
        if (message.node !== peer.node) return route.close('hello of another node')
        welcome(options.context, peer)
      }),
    onClose: reason => {
      if (peer?.route === route) options.closed(peer, reason)
    },
  })
}
