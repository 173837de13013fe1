export type ErrorCode =
  /** What the request names does not exist. */
  | 'not-found'
  /** The name, id, endpoint or key is taken. */
  | 'exists'
  /** Overlaps another owner's prefix. */
  | 'overlap'
  /** Understood, but not possible as things are. */
  | 'refused'
  /** Who asks may not. */
  | 'denied'
  /** The orchestrator's own files or database. */
  | 'setup'

/** The orchestrator's one error: a line for people that says what is wrong and, where there is something, what to do. */
export class OrchestratorError extends Error {
  override readonly name = 'OrchestratorError'
  readonly code: ErrorCode

  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}
