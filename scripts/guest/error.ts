export type GuestErrorCode =
  | 'no-kernel'
  | 'no-qemu'
  | 'path'
  | 'accelerator'
  | 'running'
  | 'not-running'
  | 'boot'
  | 'connection'
  | 'refused'

/** What went wrong with a guest, in one line that says what to do; for `boot` the console's last lines follow. */
export class GuestError extends Error {
  override readonly name = 'GuestError'
  readonly code: GuestErrorCode

  constructor(code: GuestErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}
