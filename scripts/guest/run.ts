/**
 * node scripts/guest/run.ts [--mem MB] [--timeout s] [--quiet] -- <command…>
 * Boots a guest, runs one command in it with our standard streams, and ends with the command's exit code
 * (128 + n for signal n as a shell does; 124 when the time is up; 125 when the guest itself failed).
 */

import { constants } from 'node:os'
import { parseArgs } from 'node:util'
import { GuestError } from './error.ts'
import { type Guest, startGuest } from './guest.ts'

const USAGE = 'usage: node scripts/guest/run.ts [--mem MB] [--timeout s] [--quiet] -- <command…>'

const parsed = parseArgs({
  options: { mem: { type: 'string' }, timeout: { type: 'string' }, quiet: { type: 'boolean', default: false } },
  allowPositionals: true,
})
const command = parsed.positionals
const memoryMb = positive('--mem', parsed.values.mem ?? '2048')
const timeoutS = positive('--timeout', parsed.values.timeout ?? '3600')
if (command.length === 0) fail(USAGE)

const controller = new AbortController()
let ending: number | undefined
function end(code: number): void {
  ending ??= code
  controller.abort()
}
process.on('SIGINT', () => end(130))
process.on('SIGTERM', () => end(143))
const timer = setTimeout(() => end(124), timeoutS * 1000)

let guest: Guest | undefined
try {
  const begin = performance.now()
  guest = await startGuest({ memoryMb, signal: controller.signal })
  if (!parsed.values.quiet)
    console.error(`guest: Linux ${guest.kernel}, ready in ${((performance.now() - begin) / 1000).toFixed(1)} s`)
  const status = await guest.exec(command, {
    cwd: process.cwd(),
    stdin: process.stdin,
    onStdout: chunk => process.stdout.write(chunk),
    onStderr: chunk => process.stderr.write(chunk),
    signal: controller.signal,
  })
  process.exitCode = status.signal === null ? (status.code ?? 1) : 128 + signalNumber(status.signal)
} catch (error) {
  if (ending === undefined) {
    if (!(error instanceof GuestError)) throw error
    console.error(`guest: ${error.message}`)
  }
  process.exitCode = ending ?? 125
} finally {
  clearTimeout(timer)
  await guest?.stop()
  process.stdin.destroy()
}

function signalNumber(name: string): number {
  return constants.signals[name as NodeJS.Signals] ?? 0
}

function positive(option: string, text: string): number {
  const value = Number(text)
  if (!(value > 0)) fail(`${option} ${text}: a number above 0 is needed`)
  return value
}

function fail(message: string): never {
  console.error(message)
  process.exit(125)
}
