/** The one error of the kernel port: what was tried on which object, and what the kernel answered. */
export class KernelError extends Error {
  override readonly name = 'KernelError'
  /** errno name, e.g. EEXIST. */
  readonly code: string
  readonly operation: string
  readonly object: string

  /**
   * @param detail the kernel's own words (netlink extack, verifier log tail), where it gave any
   */
  constructor(operation: string, object: string, code: string, detail?: string, options?: ErrorOptions) {
    super(`${operation} ${object}: ${code}${detail ? ` (${detail})` : ''}`, options)
    this.operation = operation
    this.object = object
    this.code = code
  }
}
