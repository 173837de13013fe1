/**
 *   edge ==== TCP over loopback, as the agent opens it ==== gateway
 */
import { expect, it } from 'vitest'
import { linuxNet } from './net.ts'
import { dialRouteSession } from './route-dial.ts'
import { RouteSession } from './route-session.ts'
import { announce, edgeKeys, endOfRib, gatewayKeys } from './testing-route.ts'

const MESSAGES = 100

it('carries more than the sockets hold, changes keys in the middle and ends with a reason', async () => {
  const ended = Promise.withResolvers<string>()
  const switched = Promise.withResolvers<void>()
  const drained = { count: 0 }
  let received = 0
  let echoed = 0
  const port = 20_000 + (process.pid % 10_000)
  const listener = await linuxNet.listen({ address: '127.0.0.1', port }, stream => {
    const session = RouteSession.accept(stream, {
      keysOf: gatewayKeys,
      onMessage: message => {
        if (message.type !== 'announce') return
        received += message.subnets.length
        session.send(endOfRib)
      },
      onClose: reason => ended.resolve(reason),
    })
  })
  try {
    const all = Promise.withResolvers<void>()
    const edge = await dialRouteSession(linuxNet, {
      from: '127.0.0.1',
      to: { address: '127.0.0.1', port },
      sid: 16,
      keys: edgeKeys(16),
      deadlineMs: 5000,
      onMessage: () => {
        if (++echoed === MESSAGES) all.resolve()
      },
      onClose: () => all.reject(new Error('closed early')),
    })
    for (let i = 0; i < MESSAGES; i++) {
      if (i === MESSAGES / 2) edge.switchTo(32, edgeKeys(32), switched.resolve)
      if (!edge.send(announce(1000))) drained.count++
    }
    await Promise.all([all.promise, switched.promise])
    expect([received, edge.sid, edge.queued]).toEqual([MESSAGES * 1000, 32, 0])
    expect(drained.count).toBeGreaterThan(0)
    edge.close('the test is over')
    expect(await ended.promise).toBe('bye: the test is over')
  } finally {
    listener.close()
  }
}, 20_000)
