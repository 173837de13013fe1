/**
 *   edge (dialler) ==== stream in memory ==== gateway (listener)      sessions 16 and 32, as the gateway numbers them
 */
import { describe, expect, it } from 'vitest'
import { announce, connect, edgeKeys, endOfRib } from './testing-route.ts'

describe('switch', () => {
  it('changes the keys of each direction behind the marked record, under traffic', () => {
    const { pipe, edge, gateway, edgeSide, gatewaySide } = connect()
    let done = 0
    pipe.deliver()
    edge.send(announce(1))
    edge.switchTo(32, edgeKeys(32), () => done++)
    edge.send(announce(2))
    gateway.send(endOfRib)
    pipe.deliver(5)
    gateway.send(announce(3))
    pipe.deliver(5)
    expect(gatewaySide.messages).toEqual([announce(1), { type: 'switch', sid: 32 }, announce(2)])
    expect(edgeSide.messages).toEqual([endOfRib, announce(3)])
    expect(done).toBe(1)
    expect([edge.sid, gateway.sid]).toEqual([32, 32])
    expect([...edgeSide.closed, ...gatewaySide.closed]).toEqual([])
  })

  it('really changes them: who has the old keys only is shut out', () => {
    const { pipe, edge, gatewaySide } = connect()
    pipe.deliver()
    edge.switchTo(32, edgeKeys(16))
    edge.send(endOfRib)
    pipe.deliver()
    expect(gatewaySide.messages).toEqual([{ type: 'switch', sid: 32 }])
    expect(gatewaySide.closed).toEqual(['record-forged'])
  })

  it('works a thousand times, back and forth, and twice in flight', () => {
    const { pipe, edge, gateway, edgeSide, gatewaySide } = connect()
    let done = 0
    for (let i = 0; i < 500; i++) {
      edge.switchTo(32, edgeKeys(32), () => done++)
      edge.send(endOfRib)
      edge.switchTo(16, edgeKeys(16), () => done++)
      gateway.send(endOfRib)
      if (i % 3 === 0) pipe.deliver(100)
    }
    pipe.deliver()
    expect(done).toBe(1000)
    expect(gatewaySide.messages.filter(message => message.type === 'end-of-rib')).toHaveLength(500)
    expect(edgeSide.messages).toHaveLength(500)
  })

  it('keeps its copy of the keys', () => {
    const { pipe, edge, gatewaySide } = connect()
    const mine = { tx: Uint8Array.from(edgeKeys(32).tx), rx: Uint8Array.from(edgeKeys(32).rx) }
    edge.switchTo(32, mine)
    mine.tx.fill(0)
    mine.rx.fill(0)
    edge.send(endOfRib)
    pipe.deliver()
    expect(gatewaySide.messages).toEqual([{ type: 'switch', sid: 32 }, endOfRib])
  })

  it.each([
    ['to a session that the gateway does not know', 'gateway', 'unknown-session', { type: 'switch', sid: 48 }],
    ['from the gateway', 'edge', 'bad-message', { type: 'switch', sid: 32 }],
    ['answered without being asked', 'edge', 'bad-message', { type: 'switched', sid: 32 }],
    ['answered by the edge', 'gateway', 'bad-message', { type: 'switched', sid: 16 }],
  ] as const)('%s ends the session', (_, victim, code, message) => {
    const { pipe, edge, gateway, edgeSide, gatewaySide } = connect()
    pipe.deliver()
    const sender = victim === 'gateway' ? edge : gateway
    sender.send(message)
    pipe.deliver()
    expect((victim === 'gateway' ? gatewaySide : edgeSide).closed).toEqual([code])
  })

  it('is the dialler’s', () => {
    expect(() => connect().gateway.switchTo(32, edgeKeys(32))).toThrow('only the side that dialled')
  })
})
