/**
 *   500 edges ---- a network that loses, doubles, delays and reorders ---- gw1
 *   1 in 10 edges has a bad grant, 1 in 2 has ML-KEM
 */
import { expect, it } from 'vitest'
import type { Initiator } from './initiator.ts'
import { Load } from './load.ts'
import { offer, type TestNode, World } from './testing.ts'
import { accepted } from './testing-payloads.ts'

const EDGES = 500
const LOSS = 0.2
const DOUBLED = 0.1
const RETRY_MS = 500

/** mulberry32: the same network every time. */
function numbers(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

interface Edge {
  node: TestNode
  initiator: Initiator
  source: { address: string; port: number }
  tries: number
  retryAt: number
  outcome: 'waiting' | 'established' | 'refused'
  remoteSid: number
  tag: string
}

it(`${EDGES} edges get through to one gateway, under load and loss`, () => {
  const random = numbers(7)
  const world = new World()
  const begin = world.now
  const sessions = new Map<number, string>()
  const nodes = new Map<string, number>()
  let sid = 0
  let cookies = 0
  const responder = world.responder({
    load: new Load({ now: () => world.now, rate: 50, burst: 100, sourceRate: 10, sourceBurst: 10 }),
    accept: (init, grant) => {
      nodes.set(grant.nodeName, (nodes.get(grant.nodeName) ?? 0) + 1)
      return { localSid: ++sid, payload: accepted(init) }
    },
  })
  const edges = Array.from({ length: EDGES }, (_, i): Edge => {
    const node = world.node(`edge-${i}`, i % 10 === 0 ? { expires: begin / 1000 - 86_400 } : {})
    return {
      node,
      initiator: world.initiator(node, { hybrid: i % 2 === 0 ? 'off' : 'preferred' }),
      source: { address: `198.51.${i >> 8}.${i & 255}`, port: 2426 },
      tries: 0,
      retryAt: begin + Math.floor(random() * 200),
      outcome: 'waiting',
      remoteSid: 0,
      tag: '',
    }
  })

  const flying: { at: number; run: () => void }[] = []
  const send = (run: () => void) => {
    if (random() < LOSS) return
    const copies = random() < DOUBLED ? 2 : 1
    for (let i = 0; i < copies; i++) flying.push({ at: world.now + 5 + Math.floor(random() * 100), run })
  }
  const toEdge = (edge: Edge, packet: Buffer) =>
    send(() => {
      const result = edge.initiator.receive(packet)
      if (result.kind === 'cookie') for (const again of result.packets) toGateway(edge, again)
      if (result.kind === 'refused') edge.outcome = 'refused'
      if (result.kind !== 'established') return
      edge.outcome = 'established'
      edge.remoteSid = result.remoteSid
      edge.tag = Buffer.from(result.secrets.tagTx).toString('hex')
    })
  const toGateway = (edge: Edge, packet: Buffer) =>
    send(() => {
      const result = responder.receive(packet, edge.source)
      if (result.kind === 'ignored' || result.kind === 'waiting') return
      const answers = result.kind === 'established' ? result.packets : [result.packet]
      // What an established hybrid session is answered with follows two questions, of 1200 and 1208 bytes.
      for (const answer of answers) expect(answer.length).toBeLessThanOrEqual(packet.length)
      if (result.kind === 'reply' && result.refused === undefined) cookies++
      if (result.kind === 'established')
        sessions.set(result.localSid, Buffer.from(result.secrets.tagTx).toString('hex'))
      for (const answer of answers) toEdge(edge, answer)
    })

  for (; edges.some(edge => edge.outcome === 'waiting') && world.now < begin + 60_000; world.now += 5) {
    for (const edge of edges) {
      if (edge.outcome !== 'waiting' || world.now < edge.retryAt) continue
      edge.tries++
      edge.retryAt = world.now + RETRY_MS * (1 + random())
      for (const packet of edge.initiator.start(edge.tries, offer(edge.node))) toGateway(edge, packet)
    }
    for (const packet of flying.splice(0)) {
      if (packet.at <= world.now) packet.run()
      else flying.push(packet)
    }
  }

  const counted = (outcome: Edge['outcome']) => edges.filter(edge => edge.outcome === outcome).length
  expect({ established: counted('established'), refused: counted('refused') }).toEqual({
    established: EDGES * 0.9,
    refused: EDGES * 0.1,
  })
  for (const edge of edges) {
    if (edge.outcome === 'established') expect(sessions.get(edge.remoteSid)).toBe(edge.tag)
    else expect(nodes.has(edge.node.body.nodeName)).toBe(false)
  }
  expect(new Set(edges.filter(edge => edge.remoteSid > 0).map(edge => edge.remoteSid)).size).toBe(EDGES * 0.9)
  expect(responder.timestamps.size).toBe(EDGES * 0.9)
  expect(cookies).toBeGreaterThan(100)
  // Doubled packets make no second session: at most one per initiation that was sent.
  for (const edge of edges) expect(nodes.get(edge.node.body.nodeName) ?? 0).toBeLessThanOrEqual(edge.tries)
}, 60_000)
