/** Runs one command in a guest over one connection to its agent (protocol in frame.ts). */

import { connect } from 'node:net'
import { Readable } from 'node:stream'
import { GuestError } from './error.ts'
import { type ExitStatus, encodeFrame, FRAME, FrameReader, pumpFrames, type Request } from './frame.ts'

export type ExecOptions = {
  /** default: the repository, which has the same path in the guest */
  readonly cwd?: string
  /** added to PATH, HOME and LANG; the host's environment is not passed on */
  readonly env?: Readonly<Record<string, string>>
  /** default: empty */
  readonly stdin?: string | Uint8Array | Readable
  /** Called with each chunk as it comes; the result's `stdout` then stays empty. */
  readonly onStdout?: (chunk: Buffer) => void
  readonly onStderr?: (chunk: Buffer) => void
  /** Aborting kills the command's process group. */
  readonly signal?: AbortSignal
}

/** An exit code other than 0 is a result, not an error. */
export type ExecResult = ExitStatus & { readonly stdout: string; readonly stderr: string }

/** Throws GuestError `connection` when the guest is gone, `refused` when the command cannot be started; the abort reason when aborted. */
export function execInGuest(port: number, request: Request, options: ExecOptions): Promise<ExecResult> {
  options.signal?.throwIfAborted()
  return new Promise((resolve, reject) => {
    const stdout: Buffer[] = []
    const stderr: Buffer[] = []
    const onStdout = options.onStdout ?? (chunk => void stdout.push(chunk))
    const onStderr = options.onStderr ?? (chunk => void stderr.push(chunk))
    const socket = connect({
      port,
      host: '127.0.0.1',
      noDelay: true,
      ...(options.signal && { signal: options.signal }),
    })
    const reader = new FrameReader((type, payload) => {
      if (type === FRAME.stdout) onStdout(payload)
      else if (type === FRAME.stderr) onStderr(payload)
      else if (type === FRAME.refused) reject(new GuestError('refused', `${request.argv[0]}: ${payload.toString()}`))
      else if (type === FRAME.exit) {
        const status = JSON.parse(payload.toString()) as ExitStatus
        resolve({ ...status, stdout: Buffer.concat(stdout).toString(), stderr: Buffer.concat(stderr).toString() })
      }
    })
    socket.on('data', chunk => reader.push(chunk))
    socket.on('error', cause => reject(options.signal?.aborted ? options.signal.reason : lost(request, cause)))
    // After an exit frame this is the promise's second settling, which does nothing.
    socket.on('close', () => reject(options.signal?.aborted ? options.signal.reason : lost(request)))
    socket.write(encodeFrame(FRAME.request, JSON.stringify(request)))
    if (options.stdin instanceof Readable) {
      pumpFrames(options.stdin, socket, FRAME.stdin)
      options.stdin.on('end', () => socket.write(encodeFrame(FRAME.stdinEnd)))
    } else {
      if (options.stdin !== undefined) socket.write(encodeFrame(FRAME.stdin, options.stdin))
      socket.write(encodeFrame(FRAME.stdinEnd))
    }
  })
}

function lost(request: Request, cause?: Error): GuestError {
  return new GuestError('connection', `the guest went away while it ran ${request.argv.join(' ')}`, cause && { cause })
}
