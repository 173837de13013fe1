/**
 * Brings each connected node its newest state. Changes only mark nodes; one pump loads all marked nodes at once, so a toggle of a thousand edges
 * costs as many statements as that of one, and what changes twice while the pump runs is sent once.
 */
import { setTimeout as delay } from 'node:timers/promises'
import type { NodeState } from '../../schema/node-state.ts'
import { compileNodeState, type NodeIntent } from '../compile/node-state.ts'
import type { Change } from './change.ts'

/** The node's mailbox: holds the newest state until it is taken. */
class Subscriber {
  readonly node: string
  readonly enterprise: string | null
  #revision: number | undefined
  #waiting: NodeState | undefined
  #wake: (() => void) | undefined

  constructor(node: string, enterprise: string | null, revision: number | undefined) {
    this.node = node
    this.enterprise = enterprise
    this.#revision = revision
  }

  /** A state that the node has already is not offered again. */
  offer(state: NodeState): void {
    if (state.revision === this.#revision) return
    this.#revision = state.revision
    this.#waiting = state
    this.wake()
  }

  take(): NodeState | undefined {
    const state = this.#waiting
    this.#waiting = undefined
    return state
  }

  wake(): void {
    this.#wake?.()
  }

  /** Until there may be something to take. */
  async wait(): Promise<void> {
    if (this.#waiting) return
    await new Promise<void>(resolve => {
      this.#wake = resolve
    })
    this.#wake = undefined
  }
}

export interface PublisherOptions {
  /** Reads the intent of these nodes at one moment; nodes that are not active are left out. */
  load: (nodes: string[]) => Promise<NodeIntent[]>
  onError: (error: unknown) => void
}

export class Publisher {
  readonly #load: PublisherOptions['load']
  readonly #onError: PublisherOptions['onError']
  readonly #subscribers = new Map<string, Set<Subscriber>>()
  #marked = new Set<string>()
  #pumping = false

  constructor(options: PublisherOptions) {
    this.#load = options.load
    this.#onError = options.onError
  }

  /** Marks the connected nodes that the change may touch. */
  notice(change: Change): void {
    if (change.scope === 'node') this.#mark(change.node)
    else if (change.scope !== 'shut-out') {
      for (const [node, [subscriber]] of this.#subscribers) {
        if (change.scope === 'all' || subscriber?.enterprise === change.enterprise) this.#mark(node)
      }
    }
  }

  #mark(node: string): void {
    if (!this.#subscribers.has(node)) return
    this.#marked.add(node)
    if (this.#pumping) return
    this.#pumping = true
    void this.#pump()
  }

  async #pump(): Promise<void> {
    // One turn of the event loop gathers what arrives together, e.g. a thousand nodes that reconnect.
    await delay(0)
    while (this.#marked.size > 0) {
      const batch = this.#marked
      this.#marked = new Set()
      try {
        for (const intent of await this.#load([...batch])) {
          const state = compileNodeState(intent)
          for (const subscriber of this.#subscribers.get(state.node) ?? []) subscriber.offer(state)
        }
      } catch (error) {
        this.#onError(error)
        for (const node of batch) if (this.#subscribers.has(node)) this.#marked.add(node)
        await delay(1000, undefined, { ref: false })
      }
    }
    this.#pumping = false
  }

  /**
   * States of one node, newest only, until `signal` aborts.
   * @param revision what the node has already: sent only when the state is another
   * @param ready resolves once the node can take more; meanwhile states are replaced by newer ones
   */
  async *states(
    node: { id: string; enterprise: string | null },
    revision: number | undefined,
    ready: () => Promise<void>,
    signal: AbortSignal,
  ): AsyncGenerator<NodeState> {
    const subscriber = new Subscriber(node.id, node.enterprise, revision)
    const all = this.#subscribers.get(node.id) ?? new Set()
    this.#subscribers.set(node.id, all.add(subscriber))
    const stop = () => subscriber.wake()
    signal.addEventListener('abort', stop)
    try {
      this.#mark(node.id)
      while (!signal.aborted) {
        await subscriber.wait()
        await ready()
        const state = subscriber.take()
        if (state && !signal.aborted) yield state
      }
    } finally {
      signal.removeEventListener('abort', stop)
      all.delete(subscriber)
      if (all.size === 0) this.#subscribers.delete(node.id)
    }
  }
}
