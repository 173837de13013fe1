/** The traffic tools of tools/*.c, at the same path on the host and in the guest. */
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { REPO } from '../guest/rundir.ts'
import { LabError } from './error.ts'

export const FLOW = join(REPO, '.cache/lab/flow')
export const FORWARD = join(REPO, '.cache/lab/forward')
export const IMPAIR = join(REPO, '.cache/lab/impair')
export const CONNECTIONS = join(REPO, '.cache/lab/connections')
export const APPLIANCE = join(REPO, '.cache/lab/appliance')

/** Compiles what is older than its source. @throws LabError `command` */
export async function buildTools(): Promise<void> {
  try {
    await promisify(execFile)('make', ['-s', '-C', join(REPO, 'scripts/lab/tools')])
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new LabError('command', `the lab's tools do not compile; run npm run setup\n${why}`, { cause })
  }
}

/** Before a command: it runs when it is ready to, whatever else the machine does. A link is no slower, and a clock reads no later, for a busy machine. */
export const FIRST = ['chrt', '--fifo', '1']
