/**
 *   edge (dialler) ==== stream in memory ==== gateway (listener)      sessions 16 and 32, as the gateway numbers them
 */
import { describe, expect, it } from 'vitest'
import { RouteSession } from './route-session.ts'
import { announce, connect, endOfRib, gatewayKeys, Side } from './testing-route.ts'
import { Pipe } from './testing-stream.ts'

describe('RouteSession', () => {
  it('carries messages both ways, whatever the chunks', () => {
    for (const chunk of [1, 7, 1448, Number.POSITIVE_INFINITY]) {
      const { pipe, edge, gateway, edgeSide, gatewaySide } = connect()
      edge.send(announce(3))
      edge.send(endOfRib)
      gateway.send(endOfRib)
      pipe.deliver(chunk)
      expect(gatewaySide.messages).toEqual([announce(3), endOfRib])
      expect(edgeSide.messages).toEqual([endOfRib])
      expect([edgeSide.opened, gatewaySide.opened]).toEqual([[16], [16]])
      expect([edge.sid, gateway.sid]).toEqual([16, 16])
      expect(pipe.sent.edge.includes('10.0.0.0')).toBe(false)
    }
  })

  it('splits a message that is longer than a record', () => {
    const { pipe, edge, gatewaySide } = connect()
    edge.send(announce(3000))
    pipe.deliver(1448)
    expect(gatewaySide.messages).toEqual([announce(3000)])
  })

  it('uses new keys for every connection of one session', () => {
    const sent = [connect(), connect()].map(({ pipe, edge, gateway }) => {
      edge.send(endOfRib)
      gateway.send(endOfRib)
      pipe.deliver()
      return [pipe.sent.edge.subarray(28).toString('hex'), pipe.sent.gateway.subarray(24).toString('hex')]
    })
    expect(new Set(sent.flat()).size).toBe(4)
  })

  it('does not take a recorded connection again', () => {
    const first = connect()
    first.edge.send(announce(1))
    first.pipe.deliver()
    const pipe = new Pipe()
    const side = new Side()
    RouteSession.accept(pipe.gateway, { ...side.options(), keysOf: gatewayKeys })
    pipe.gateway.receive(first.pipe.sent.edge)
    expect([side.messages, side.opened, side.closed]).toEqual([[], [], ['record-forged']])
    expect(pipe.gateway.open).toBe(false)
  })
})

describe('life and end', () => {
  it('pings, answers, and stays open as long as something comes', () => {
    const { pipe, edgeSide, gatewaySide } = connect({ pingMs: 10, deadlineMs: 30 })
    for (let i = 0; i < 20; i++) {
      edgeSide.timers.advance(10)
      gatewaySide.timers.advance(10)
      pipe.deliver()
    }
    expect([...edgeSide.closed, ...gatewaySide.closed]).toEqual([])
    expect(edgeSide.messages).toEqual([])
  })

  it('closes when nothing comes for the deadline, also before the preface, and leaves no timer', () => {
    const { edge, pipe, edgeSide, gatewaySide } = connect({ pingMs: 10, deadlineMs: 30 })
    for (let i = 0; i < 3; i++) {
      edgeSide.timers.advance(10)
      gatewaySide.timers.advance(10)
    }
    expect([edgeSide.closed, gatewaySide.closed]).toEqual([['silent'], ['silent']])
    expect([pipe.edge.open, pipe.gateway.open, edge.closed]).toEqual([false, false, true])
    expect(edgeSide.timers.pending + gatewaySide.timers.pending).toBe(0)
  })

  it('tells the peer why it closes', () => {
    const { pipe, edge, edgeSide, gatewaySide } = connect()
    const reasons: string[] = []
    pipe.deliver()
    edge.close('agent stops')
    edge.close('twice')
    pipe.deliver()
    expect([edgeSide.closed, gatewaySide.closed]).toEqual([['closed'], ['bye']])
    const late = connect({ onClose: reason => reasons.push(reason) })
    late.pipe.deliver()
    late.gateway.close('evicted')
    late.pipe.deliver()
    expect(reasons).toEqual(['evicted', 'bye: evicted'])
    expect(edge.send(endOfRib)).toBe(false)
  })

  it('passes on why the stream was lost', () => {
    const reasons: string[] = []
    const { pipe } = connect({ onClose: reason => reasons.push(reason) })
    pipe.edge.lose('ECONNRESET')
    pipe.gateway.lose()
    expect(reasons).toEqual(['stream-closed: ECONNRESET', 'stream-closed: the peer closed the connection'])
  })

  it('stops writing while the stream is full and says when it goes on', () => {
    const { pipe, edge, edgeSide, gatewaySide } = connect()
    pipe.deliver()
    pipe.edge.full = true
    expect(edge.send(endOfRib)).toBe(true) // taken by the stream itself
    let accepted = 0
    while (edge.send(announce(1000))) accepted++
    expect(accepted).toBeGreaterThan(10)
    expect(pipe.edge.written).toHaveLength(1)
    expect(edgeSide.drains).toBe(0)
    pipe.edge.drain()
    expect([edgeSide.drains, edge.queued]).toEqual([1, 0])
    pipe.deliver()
    expect(gatewaySide.messages).toHaveLength(accepted + 2)
  })

  it('closes instead of queueing without end', () => {
    const { pipe, edge, edgeSide } = connect({ queueLimit: 100_000 })
    pipe.deliver()
    pipe.edge.full = true
    edge.send(endOfRib)
    for (let i = 0; i < 5 && edge.send(announce(1000)); i++);
    expect(edgeSide.closed).toEqual(['queue-full'])
    expect(edge.queued).toBe(0)
  })
})
