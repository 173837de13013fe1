export type IntentErrorCode =
  /** No node lives in this directory yet. */
  | 'not-activated'
  /** A file of the directory is damaged, of another version or of another node. */
  | 'state'
  /** The text is no activation key, or is not good at this orchestrator. */
  | 'key'
  /** Nobody answers at the orchestrator's address. */
  | 'unreachable'
  /** The orchestrator answers and says no. */
  | 'refused'

/** One line for people: what is wrong and what to do. */
export class IntentError extends Error {
  override readonly name = 'IntentError'
  readonly code: IntentErrorCode

  constructor(code: IntentErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}
