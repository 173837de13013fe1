/** The edge's way to a route session: TCP between virtual addresses, through the tunnel that it will tell of. */
import type { RouteMessage } from '../../schema/route-messages.ts'
import type { Endpoint, NetPort } from './net.ts'
import type { RecordKeys } from './record.ts'
import { RouteSession } from './route-session.ts'

export interface DialOptions {
  from: string
  to: Endpoint
  /** The gateway's number of the MP session. */
  sid: number
  keys: RecordKeys
  deadlineMs: number
  onMessage: (message: RouteMessage) => void
  onClose: (session: RouteSession, reason: string) => void
}

/** Rejects with NetError when no connection comes about. */
export async function dialRouteSession(net: NetPort, options: DialOptions): Promise<RouteSession> {
  const stream = await net.dial(options.from, options.to, options.deadlineMs)
  const session: RouteSession = RouteSession.dial(stream, {
    sid: options.sid,
    keys: options.keys,
    onMessage: options.onMessage,
    onClose: reason => options.onClose(session, reason),
  })
  return session
}
