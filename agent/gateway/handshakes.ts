/**
 * MP_INIT at a gateway, from an edge's packet to the session that it asked for: the responder finds out who asks, admission.ts decides and installs,
 * and only then the answer leaves.
 */
import { availableParallelism } from 'node:os'
import type { NodeEvent } from '../../schema/node-state.ts'
import type { AgentConfig } from '../config.ts'
import type { Identity } from '../identity.ts'
import { Load } from '../mp/load.ts'
import type { Endpoint } from '../mp/net.ts'
import { createResponder, type Responder, type ResponderResult } from '../mp/responder.ts'
import { cryptoOnDemand } from '../mp/responder-demand.ts'
import { cryptoPool } from '../mp/responder-pool.ts'
import type { TimestampTable } from '../mp/timestamp.ts'
import type { Arrival } from '../node/links.ts'
import { type Admission, type AdmissionContext, abandon, install, prepare } from './admission.ts'
import type { EdgePeer } from './peers.ts'

export interface HandshakesOptions {
  identity: Identity
  config: AgentConfig['handshake']
  admission: AdmissionContext
  /** The session is in the kernel, and its answer on the way; the edge has still to prove that it holds the keys. */
  installed: (peer: EdgePeer, sid: number) => void
  report: (event: Omit<NodeEvent, 'time'>) => void
}

/** Where a handshake packet came from, and in. */
interface Origin extends Endpoint {
  arrival: Arrival
}

type Established = Extract<ResponderResult, { kind: 'established' }>

/** Handshakes per second that a worker does with time to spare: no cookies are asked for up to here. */
const RATE_PER_WORKER = 800

export class Handshakes {
  readonly #options: HandshakesOptions
  readonly #responder: Responder<Origin>
  /** Set aside for answers that are being made, by session. */
  readonly #admissions = new Map<number, Admission>()
  readonly #ignored = new Map<string, number>()
  #closed = false

  constructor(options: HandshakesOptions) {
    this.#options = options
    const { identity, config, admission: context } = options
    const { workers = Math.max(1, availableParallelism() - 1) } = config
    this.#responder = createResponder({
      staticKey: identity.staticKey,
      ownGrant: identity.signedGrant,
      trust: identity.trust,
      now: Date.now,
      hybrid: config.hybrid,
      ...(workers > 0 && {
        crypto: cryptoOnDemand(cryptoPool({ workers, log: context.node.log })),
        load: new Load({ now: Date.now, rate: RATE_PER_WORKER * workers, burst: RATE_PER_WORKER * workers }),
      }),
      accept: (init, grant, { arrival }) => {
        const decision = prepare(context, init, grant, arrival)
        if (decision.kind === 'refused')
          return { localSid: 0, payload: { ok: false, code: decision.code, message: decision.message } }
        this.#admissions.set(decision.admission.localSid, decision.admission)
        return { localSid: decision.admission.localSid, payload: decision.payload }
      },
      undo: ({ localSid }) => {
        const admission = this.#take(localSid)
        if (admission) abandon(context, admission)
      },
      done: (result, { arrival }) => this.#onOutcome(result, arrival),
    })
  }

  /** When each edge asked last: a successor of this agent has to know, or old questions could be asked again. */
  get timestamps(): TimestampTable {
    return this.#responder.timestamps
  }

  receive(packet: Uint8Array, arrival: Arrival): void {
    if (!this.#closed) this.#responder.receive(packet, { ...arrival.from, arrival })
  }

  /** Packets refused without an answer, by reason. */
  ignored(): ReadonlyMap<string, number> {
    return this.#ignored
  }

  close(): void {
    this.#closed = true
    this.#responder.close()
  }

  #take(localSid: number): Admission | undefined {
    const admission = this.#admissions.get(localSid)
    this.#admissions.delete(localSid)
    return admission
  }

  #onOutcome(outcome: ResponderResult, arrival: Arrival): void {
    if (this.#closed) return
    if (outcome.kind === 'ignored') this.#ignored.set(outcome.reason, (this.#ignored.get(outcome.reason) ?? 0) + 1)
    else if (outcome.kind === 'reply') this.#reply(outcome, arrival)
    else
      this.#establish(outcome, arrival).catch(error =>
        this.#options.admission.node.log.error({ err: error }, 'admission failed'),
      )
  }

  #reply({ packet, refused }: Extract<ResponderResult, { kind: 'reply' }>, arrival: Arrival): void {
    if (refused)
      this.#options.report({
        severity: 'warning',
        code: 'handshake-refused',
        message: `${arrival.from.address}: ${refused.message}`,
        detail: { reason: refused.code, node: refused.grant?.node },
      })
    arrival.socket.send(packet, arrival.from)
  }

  async #establish({ localSid, remoteSid, secrets, packets }: Established, arrival: Arrival): Promise<void> {
    const admission = this.#take(localSid)
    if (!admission) return
    const installed = await install(this.#options.admission, admission, remoteSid, secrets)
    if (!installed || this.#closed) return
    for (const packet of packets) arrival.socket.send(packet, arrival.from)
    this.#options.installed(admission.peer, localSid)
  }
}
