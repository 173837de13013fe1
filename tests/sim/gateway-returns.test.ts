/**
 * Topology: 5,000 edges whose gateway comes back with nothing. The edges' pauses are the product's; time, the network and the
 * gateway's processor are modelled, because 5,000 real handshakes are half a minute of work: tests/sim/many-edges.test.ts has 500 of them.
 *
 *   edge -- INIT --> socket buffer of 90 -- 3 ms of work --> answer -- dial --> connection queue -- 5 ms of work --> hello
 *          drops what comes when it is full                  an edge gives up 3 s after it dialled and begins again
 */
import { describe, expect, test } from 'vitest'
import { retryPauseMs } from '../../agent/edge/handshake.ts'

const EDGES = 5000
const SOCKET_QUEUE = 90
const READ_AT_ONCE = 32
const INIT_MS = 3
const PROOF_MS = 5
const DIAL_DEADLINE_MS = 3000
const RETRY_MS = 500
const HORIZON_MS = 200_000

interface Edge {
  tries: number
  /** The initiation whose answer it would take. */
  current: number
  state: 'asking' | 'dialling' | 'up'
}

/** Events in the order of their times. */
class Agenda {
  readonly #slots = new Map<number, (() => void)[]>()
  at(ms: number, run: () => void): void {
    const slot = Math.ceil(ms)
    const runs = this.#slots.get(slot)
    if (runs) runs.push(run)
    else this.#slots.set(slot, [run])
  }
  take(ms: number): (() => void)[] {
    const runs = this.#slots.get(ms) ?? []
    this.#slots.delete(ms)
    return runs
  }
}

interface Result {
  /** s until the last edge is up; Infinity: not within the time given. */
  allUp: number
  /** ms of the gateway's work that brought no edge up. */
  wasted: number
}

function comeBack(options: { rttMs: number; pause: (shortestMs: number, tries: number) => number }): Result {
  const { rttMs, pause } = options
  const agenda = new Agenda()
  const socket: { edge: Edge; attempt: number }[] = []
  const connections: { edge: Edge; deadline: number }[] = []
  let [busyUntil, useful, spent, up, now] = [0, 0, 0, 0, 0]

  const ask = (edge: Edge) => {
    if (edge.state !== 'asking') return
    const attempt = ++edge.current
    agenda.at(now + rttMs / 2, () => {
      if (socket.length < SOCKET_QUEUE) socket.push({ edge, attempt })
    })
    agenda.at(now + pause(RETRY_MS, edge.tries++), () => {
      if (edge.current === attempt) ask(edge)
    })
  }
  const answered = (edge: Edge, attempt: number) => {
    if (edge.state !== 'asking' || edge.current !== attempt) return
    edge.state = 'dialling'
    const deadline = now + DIAL_DEADLINE_MS
    agenda.at(now + 1.5 * rttMs, () => connections.push({ edge, deadline }))
    agenda.at(deadline, () => {
      if (edge.state === 'up') return
      edge.state = 'asking'
      edge.tries = 0
      ask(edge)
    })
  }
  /** One turn of the gateway's event loop: what its sockets hold, then what its connections brought. */
  const turn = () => {
    let work = 0
    for (const { edge, attempt } of socket.splice(0, READ_AT_ONCE)) {
      work += INIT_MS
      agenda.at(now + work + rttMs / 2, () => answered(edge, attempt))
    }
    for (const { edge, deadline } of connections.splice(0, READ_AT_ONCE)) {
      work += PROOF_MS
      if (now + work > deadline || edge.state !== 'dialling') continue
      edge.state = 'up'
      up += 1
      useful += INIT_MS + PROOF_MS
    }
    spent += work
    busyUntil = now + work
  }

  for (let index = 0; index < EDGES; index++) {
    const edge: Edge = { tries: 0, current: 0, state: 'asking' }
    // They miss the gateway within one probe interval.
    agenda.at(Math.random() * 500, () => ask(edge))
  }
  for (; now < HORIZON_MS && up < EDGES; now++) {
    for (const run of agenda.take(now)) run()
    if (now >= busyUntil) turn()
  }
  return { allUp: up === EDGES ? now / 1000 : Number.POSITIVE_INFINITY, wasted: spent - useful }
}

describe('a gateway comes back to 5,000 edges', () => {
  const work = (EDGES * (INIT_MS + PROOF_MS)) / 1000

  test.each([20, 200, 600])('round trip %i ms: all are up in little more than the time that the work takes', rttMs => {
    const { allUp, wasted } = comeBack({ rttMs, pause: retryPauseMs })
    console.log(
      `${EDGES} edges, ${rttMs} ms: all up after ${allUp.toFixed(0)} s, ${work} s of work, ${(wasted / 1000).toFixed(1)} s of it in vain`,
    )
    expect(allUp).toBeLessThan(2 * work)
    expect(wasted / 1000).toBeLessThan(work / 4)
  })

  test('with pauses that do not grow, and shorter than the round trip, none would ever be up: every answer is to an earlier try', () => {
    const { allUp, wasted } = comeBack({ rttMs: 600, pause: shortest => shortest })
    expect(allUp).toBe(Number.POSITIVE_INFINITY)
    expect(wasted / 1000).toBeGreaterThan(work)
  })
})
