/**
 * The MTU of each path of the sessions in use (mtu-search.ts says what is asked, this when). A round leaves at once, its sizes side by side; the
 * programs keep the largest that came back, so all that is waited for is one round trip.
 *
 * While a path carries traffic the size in use is asked for again at every look: large packets that are lost while small ones get through stall a
 * connection, and only asking tells. An idle path is asked when it is new, and when it is time to try a larger size.
 */
import type { PathState } from '../../schema/abi.gen.ts'
import { LEAST_MTU } from '../mp/mtu.ts'
import type { Prober } from '../mp/prober.ts'
import { handleOf } from '../mp/session.ts'
import type { Node } from '../node/node.ts'
import { carriedBy } from '../node/path-sizes.ts'
import type { LiveSession } from '../node/sessions.ts'
import { MtuSearch } from './mtu-search.ts'

/** Bytes between two looks that are more than keepalives. */
const TRAFFIC = 1000
const POLL_MS = 10
/** A round trip is taken for so long while none is measured. */
const UNKNOWN_RTT_MS = 250
const LEAST_WAIT_MS = 60
const MOST_WAIT_MS = 3000
/** After the first answer: for those that overtook it. */
const GRACE_MS = 20
/** A path that does not answer at all is asked again after so long, and each time after twice as long. */
const SILENT_FIRST_MS = 500
const SILENT_LAST_MS = 10_000

export interface PathMtusOptions {
  node: Pick<Node, 'pathState' | 'pathConf' | 'now' | 'log'>
  prober: Prober
  /** Another size than the session's path has; 0: it is of no use. */
  changed: (path: number, mtu: number) => void
  /** So many packets are on their way that may be too large; below 0: as many of them were not, and their loss would be a fault. */
  tried: (path: number, packets: number) => void
}

interface Ends {
  vaddrLocal: string
  vaddrRemote: string
}

interface Watched {
  readonly search: MtuSearch
  readonly most: number
  /** Rounds are numbered 1 to 255. */
  round: number
  asking: boolean
  /** Sent and received until the last look. */
  bytes: bigint
  silentMs: number
  /** ms, monotonic. */
  notBefore: number
}

/** Of one peer. */
export class PathMtus {
  readonly #options: PathMtusOptions
  /** By path id: what was found holds for the sessions to come. */
  readonly #paths = new Map<number, Watched>()
  #closed = false

  constructor(options: PathMtusOptions) {
    this.#options = options
  }

  /** Every probeMs or sooner. Only of the session that the peer is sent to: probes go there. */
  look(session: LiveSession, ends: Ends): void {
    const { node, changed } = this.#options
    const now = node.now()
    for (const known of session.paths) {
      const handle = handleOf(session.sid, known.path)
      const conf = node.pathConf(handle)
      const state = conf && node.pathState(handle)
      if (!conf || !state) continue
      const watched = this.#watch(known, conf.family === 6 ? 6 : 4)
      if (watched.search.mtu !== carriedBy(known)) changed(known.path, watched.search.mtu)
      if (watched.asking || now < watched.notBefore) continue
      const bytes = state.txBytes + state.rxBytes
      // A new session counts from 0.
      if (bytes - watched.bytes > TRAFFIC || bytes < watched.bytes) watched.search.doubt()
      watched.bytes = bytes
      if (watched.search.due(now))
        this.#ask(watched, handle, ends).catch(error => node.log.error({ err: error }, 'MTU of a path not found out'))
    }
  }

  #watch(known: LiveSession['paths'][number], family: 4 | 6): Watched {
    let watched = this.#paths.get(known.path)
    if (watched?.most === known.mtu) return watched
    const search = new MtuSearch({ least: LEAST_MTU[family], most: known.mtu }, carriedBy(known))
    watched = {
      search,
      most: known.mtu,
      round: 0,
      asking: false,
      bytes: 0n,
      silentMs: SILENT_FIRST_MS,
      notBefore: 0,
    }
    this.#paths.set(known.path, watched)
    return watched
  }

  /** The path may not carry what it did: the next look asks, whatever traffic says. */
  doubt(path: number): void {
    const watched = this.#paths.get(path)
    if (!watched) return
    watched.search.doubt()
    watched.notBefore = 0
  }

  close(): void {
    this.#closed = true
  }

  /** Round after round until the search has settled, or nothing comes back. */
  async #ask(watched: Watched, handle: number, ends: Ends): Promise<void> {
    const { node, changed } = this.#options
    const { search } = watched
    watched.asking = true
    do {
      const answered = await this.#round(watched, handle, ends)
      if (this.#closed) return
      if (answered === undefined) {
        watched.notBefore = node.now() + watched.silentMs
        watched.silentMs = Math.min(2 * watched.silentMs, SILENT_LAST_MS)
        break
      }
      watched.silentMs = SILENT_FIRST_MS
      const before = search.mtu
      search.judge(answered, node.now())
      if (search.mtu !== before) changed(handle & 15, search.mtu)
    } while (search.due(node.now()))
    watched.asking = false
    const state = node.pathState(handle)
    // Our own probes are no traffic.
    if (state) watched.bytes = state.txBytes + state.rxBytes
  }

  /** @returns the largest size that came back, 0: the smallest probe alone; undefined: none */
  async #round(watched: Watched, handle: number, { vaddrLocal, vaddrRemote }: Ends): Promise<number | undefined> {
    const { node, prober } = this.#options
    watched.round = (watched.round % 255) + 1
    const sizes = watched.search.round()
    // The size in use is no try: its loss is a fault.
    const tries = sizes.filter(size => size > 0).length
    if (tries > 1) this.#options.tried(handle & 15, tries)
    for (const size of sizes) prober.probe(vaddrLocal, vaddrRemote, handle & 15, { round: watched.round, size })
    const most = Math.max(...sizes)
    const least = Math.min(...sizes.filter(size => size > 0))
    let deadline = node.now() + waitMs(node.pathState(handle))
    let answered: number | undefined
    while (node.now() < deadline && !this.#closed) {
      await new Promise(resolve => setTimeout(resolve, POLL_MS))
      if (this.#closed) break
      const { probedSize = 0 } = node.pathState(handle) ?? {}
      if (probedSize >>> 16 !== watched.round) continue
      if (answered === undefined) deadline = Math.min(deadline, node.now() + GRACE_MS)
      answered = probedSize & 0xffff
      if (answered >= most) break
    }
    const fitting = sizes.filter(size => size > 0 && size <= (answered ?? 0)).length
    if (tries > 1 && fitting > 0) this.#options.tried(handle & 15, -fitting)
    // The small probe has a size as well, below any that was asked for.
    return answered !== undefined && answered < least ? 0 : answered
  }
}

/** RFC 6298 (2.3), doubled: the probes of a round wait for each other. */
function waitMs(state: PathState | undefined): number {
  const { srttUs = 0, rttvarUs = 0 } = state ?? {}
  const rtt = srttUs > 0 ? (srttUs + 4 * rttvarUs) / 1000 : UNKNOWN_RTT_MS
  return Math.min(MOST_WAIT_MS, Math.max(LEAST_WAIT_MS, 2 * rtt))
}
