/** A responder that gives its result back, as tests like to read it. Not part of the product. */
import type { Source } from './cookie.ts'
import { createResponder, type Responder, type ResponderOptions, type ResponderResult } from './responder.ts'

export type TestOptions = Omit<ResponderOptions, 'done'>

/** Without a crypto port of its own it works in the caller's thread. */
export class TestResponder {
  readonly #responder: Responder
  /** In the order in which they came, without those that `receive` gave back. */
  readonly later: ResponderResult[] = []
  #result: ResponderResult | undefined

  constructor(options: TestOptions) {
    this.#responder = createResponder({
      ...options,
      done: result => {
        if (this.#result) this.later.push(this.#result)
        this.#result = result
      },
    })
  }

  get timestamps() {
    return this.#responder.timestamps
  }

  get size() {
    return this.#responder.size
  }

  /** @returns the newest result, `waiting` when there is none yet */
  receive(bytes: Uint8Array, source: Source): ResponderResult | { kind: 'waiting' } {
    this.#result = undefined
    this.#responder.receive(bytes, source)
    const result = this.#result
    this.#result = undefined
    return result ?? { kind: 'waiting' }
  }
}
