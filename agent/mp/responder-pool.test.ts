/**
 *   edges ---- INIT, INIT_KEM ----> gw1 = responder ---- commands ----> worker threads
 *         <-- RESPONSE, RESPONSE_KEM --           <---- replies ------
 */
import type { Worker } from 'node:worker_threads'
import { afterEach, describe, expect, it } from 'vitest'
import type { Logger } from '../log.ts'
import { startWorker } from '../worker.ts'
import { Load } from './load.ts'
import type { Datagrams } from './packets.ts'
import { createResponder, type Responder, type ResponderOptions, type ResponderResult } from './responder.ts'
import { cryptoPool, type PoolOptions } from './responder-pool.ts'
import { offer, SOURCE, World } from './testing.ts'
import { accepted } from './testing-payloads.ts'

interface From {
  address: string
  port: number
}

/** A gateway with workers, and everything that it says. */
class Gateway {
  readonly world = new World()
  readonly results: { result: ResponderResult; from: From }[] = []
  readonly logged: string[] = []
  readonly workers: Worker[] = []
  readonly responder: Responder<From>

  constructor(pool: Partial<PoolOptions> = {}, change: Partial<ResponderOptions<From>> = {}) {
    const note = (_: object, message: string) => void this.logged.push(message)
    const log: Logger = { debug: note, info: note, warn: note, error: note }
    const start = (...args: Parameters<typeof startWorker>) => {
      const worker = startWorker(...args)
      this.workers.push(worker)
      return worker
    }
    this.responder = createResponder<From>({
      staticKey: this.world.gateway.key,
      ownGrant: () => this.world.gateway.grant,
      trust: () => this.world.trust,
      now: () => this.world.now,
      load: new Load({ now: () => this.world.now, rate: 1e6, burst: 1e6 }),
      accept: init => ({ localSid: 0x2000, payload: accepted(init) }),
      done: (result, from) => void this.results.push({ result, from }),
      crypto: cryptoPool({ workers: 1, log, restartMs: 1, start, ...pool }),
      ...change,
    })
  }

  receive(packets: Datagrams, from: From = SOURCE): void {
    for (const packet of packets) this.responder.receive(packet, from)
  }

  async until(what: string, condition: () => boolean): Promise<void> {
    const end = performance.now() + 10_000
    while (!condition()) {
      if (performance.now() > end) throw new Error(`not within 10 s: ${what}; results: ${JSON.stringify(this.kinds())}`)
      await new Promise(resolve => setTimeout(resolve, 2))
    }
  }

  kinds(): string[] {
    return this.results.map(({ result }) => (result.kind === 'ignored' ? result.reason : result.kind))
  }
}

const gateways: Gateway[] = []
function gateway(...args: ConstructorParameters<typeof Gateway>): Gateway {
  const made = new Gateway(...args)
  gateways.push(made)
  return made
}
afterEach(() => {
  for (const { responder } of gateways.splice(0)) responder.close()
})

describe('handshakes in worker threads', () => {
  it.each(['off', 'preferred'] as const)('give both ends the same keys, ML-KEM %s', async hybrid => {
    const gw = gateway()
    const edge = gw.world.node('edge-a')
    const initiator = gw.world.initiator(edge, { hybrid })
    gw.receive(initiator.start(0x1000, offer(edge)))
    await gw.until('an answer', () => gw.results.length === 1)
    const there = gw.results[0]?.result
    if (there?.kind !== 'established') throw new Error(JSON.stringify(there))
    expect(there).toMatchObject({ remoteSid: 0x1000, localSid: 0x2000, grant: edge.body })
    const here = there.packets.map(packet => initiator.receive(packet)).at(-1)
    if (here?.kind !== 'established') throw new Error(JSON.stringify(here))
    expect(here.secrets.tagTx).toEqual(there.secrets.tagTx)
    expect(here.secrets.recordRx).toEqual(there.secrets.recordRx)
    expect(here.secrets.esp(0, 'rx')).toEqual(there.secrets.esp(0, 'rx'))
    expect(gw.responder.size).toBe(0)
  })

  it('refuse, and follow a change of trust', async () => {
    const gw = gateway()
    const expired = gw.world.node('edge-a', { expires: gw.world.now / 1000 - 86_400 })
    gw.receive(gw.world.initiator(expired).start(1, offer(expired)))
    await gw.until('a refusal', () => gw.results.length === 1)
    expect(gw.results[0]?.result).toMatchObject({ kind: 'reply', refused: { code: 'grant-expired' } })
    const edge = gw.world.node('edge-b')
    gw.world.trust = { ...gw.world.trust, anchors: [] }
    gw.receive(gw.world.initiator(edge).start(1, offer(edge)))
    await gw.until('another refusal', () => gw.results.length === 2)
    expect(gw.results[1]?.result).toMatchObject({ kind: 'reply', refused: { code: 'grant-invalid' } })
  })

  it('keep the order of each source, over three workers', async () => {
    const gw = gateway({ workers: 3 })
    const edges = Array.from({ length: 12 }, (_, i) => gw.world.node(`edge-${i}`))
    const initiators = edges.map(edge => gw.world.initiator(edge))
    for (let round = 0; round < 5; round++) {
      gw.world.now += 5
      edges.forEach((edge, i) => {
        const [init] = initiators[i]?.start(100 * round + i + 1, offer(edge)) ?? []
        if (init) gw.receive([init], { address: '198.51.100.1', port: 1000 + i })
      })
    }
    await gw.until('sixty answers', () => gw.results.length === 60)
    expect(new Set(gw.kinds())).toEqual(new Set(['established']))
    for (let i = 0; i < 12; i++) {
      const sids = gw.results.flatMap(({ result, from }) =>
        result.kind === 'established' && from.port === 1000 + i ? [result.remoteSid] : [],
      )
      expect(sids).toEqual([0, 1, 2, 3, 4].map(round => 100 * round + i + 1))
    }
  })

  it('ask for cookies when they are behind, and drop what finds no room', async () => {
    const gw = gateway()
    const edges = Array.from({ length: 400 }, (_, i) => gw.world.node(`edge-${i}`))
    const prepared = edges.map((edge, i) => {
      const initiator = gw.world.initiator(edge)
      return { initiator, packets: initiator.start(i + 1, offer(edge)), from: { ...SOURCE, port: 1000 + i } }
    })
    // In one turn of the loop: no worker can reply in between.
    for (const { packets, from } of prepared) gw.receive(packets, from)
    const cookies = gw.results.filter(({ result }) => result.kind === 'reply')
    expect(cookies).toHaveLength(400 - 64)
    const again = cookies.flatMap(({ result, from }) => {
      const { initiator } = prepared[from.port - 1000] ?? {}
      const taken = result.kind === 'reply' ? initiator?.receive(result.packet) : undefined
      return taken?.kind === 'cookie' ? [{ packets: taken.packets, from }] : []
    })
    expect(again).toHaveLength(400 - 64)
    gw.results.length = 0
    for (const { packets, from } of again) gw.receive(packets, from)
    const counted = (reason: string) => gw.kinds().filter(kind => kind === reason).length
    // All come from one address: its share is 50 at once.
    expect({ overloaded: counted('overloaded'), limited: counted('rate-limited') }).toEqual({
      overloaded: 0,
      limited: 400 - 64 - 50,
    })
    await gw.until('the others', () => counted('established') === 64 + 50)
  })

  it('drop what finds no room in a full queue, with its reason', async () => {
    const gw = gateway({}, { load: Object.assign(new Load({ now: () => 0 }), { admit: () => 'ok' as const }) })
    const edges = Array.from({ length: 300 }, (_, i) => gw.world.node(`edge-${i}`))
    edges.forEach((edge, i) => {
      gw.receive(gw.world.initiator(edge).start(i + 1, offer(edge)), { ...SOURCE, port: 1000 + i })
    })
    expect(gw.kinds()).toEqual(Array.from({ length: 300 - 256 }, () => 'overloaded'))
    await gw.until('the others', () => gw.results.length === 300)
    expect(gw.kinds().filter(kind => kind === 'established')).toHaveLength(256)
    expect(gw.responder.size).toBe(0)
  })
})

describe('a worker that ends', () => {
  it('loses what it had in its hands, takes it back, and is replaced', async () => {
    const undone: number[] = []
    const gw = gateway({}, { undo: ({ localSid }) => void undone.push(localSid) })
    const waiting = gw.world.node('edge-a')
    const [init] = gw.world.initiator(waiting, { hybrid: 'preferred' }).start(1, offer(waiting))
    const other = gw.world.node('edge-b')
    gw.receive(gw.world.initiator(other).start(2, offer(other)), { ...SOURCE, port: 9 })
    await gw.until('the worker works', () => gw.results.length === 1)
    gw.receive([init])
    await new Promise(resolve => setTimeout(resolve, 50))
    expect(gw.responder.size).toBe(1)
    await gw.workers[0]?.terminate()
    await gw.until('it is lost', () => gw.results.length === 2)
    expect(gw.kinds()).toEqual(['established', 'worker-lost'])
    expect(gw.logged).toEqual(['handshake worker ended; another one is started'])
    expect([gw.responder.size, undone]).toEqual([0, []])

    await gw.until('another worker', () => gw.workers.length === 2)
    const edge = gw.world.node('edge-c')
    gw.receive(gw.world.initiator(edge, { hybrid: 'preferred' }).start(3, offer(edge)))
    await gw.until('an answer', () => gw.results.length === 3)
    expect(gw.kinds()[2]).toBe('established')
  })

  it('between the decision and the answer has the decision taken back', async () => {
    const undone: number[] = []
    const gw: Gateway = gateway(
      {},
      {
        undo: ({ localSid }) => void undone.push(localSid),
        accept: init => {
          void gw.workers[0]?.terminate()
          return { localSid: 0x3000, payload: accepted(init) }
        },
      },
    )
    const edge = gw.world.node('edge-a')
    gw.receive(gw.world.initiator(edge).start(1, offer(edge)))
    await gw.until('it is lost', () => gw.results.length === 1)
    expect(gw.kinds()).toEqual(['worker-lost'])
    expect(undone).toEqual([0x3000])
  })

  it('without another one yet: initiations are dropped, not kept', async () => {
    const gw = gateway({ restartMs: 60_000 })
    await gw.workers[0]?.terminate()
    await gw.until('its end was heard', () => gw.logged.length === 1)
    const edge = gw.world.node('edge-a')
    gw.responder.receive(gw.world.initiator(edge).start(1, offer(edge))[0], SOURCE)
    expect(gw.kinds()).toEqual(['reply'])
    expect(gw.responder.size).toBe(0)
  })
})
