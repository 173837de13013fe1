/**
 * A guest's run directory, `.cache/guest/run/<name>`: who runs it and how to reach it, so that another process can use the guest,
 * and so that a start after a kill -9 finds and ends what was left behind.
 *
 *   state.json    State
 *   console.log   kernel and init messages
 *   share/        the writable share, at the same path in the guest; token and ready.json lie in it
 */

import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'

export const REPO = resolve(import.meta.dirname, '../..')
const RUNS = join(REPO, '.cache/guest/run')

/** A process, told apart from a later one with the same pid by its start time in clock ticks after boot (proc_pid_stat(5), field 22). */
export type ProcessMark = { readonly pid: number; readonly start: string }

export type State = {
  readonly qemu: ProcessMark
  /** whose end is the guest's end; null for a detached guest */
  readonly owner: ProcessMark | null
  /** TCP port of the guest's agent on the host's loopback */
  readonly port: number
  /** null until the guest has booted */
  readonly kernel: string | null
}

export type RunDir = {
  readonly path: string
  readonly console: string
  readonly share: string
  readonly stateFile: string
}

export function runDir(name: string): RunDir {
  if (!/^[\w.-]+$/.test(name) || name.startsWith('.'))
    throw new Error(`guest name ${JSON.stringify(name)}: letters, digits, . _ - only`)
  const path = join(RUNS, name)
  return { path, console: join(path, 'console.log'), share: join(path, 'share'), stateFile: join(path, 'state.json') }
}

export function createRunDir(name: string): RunDir {
  const dir = runDir(name)
  mkdirSync(dir.share, { recursive: true, mode: 0o700 })
  return dir
}

export function writeState(dir: RunDir, state: State): void {
  writeFileSync(`${dir.stateFile}.new`, JSON.stringify(state), { mode: 0o600 })
  renameSync(`${dir.stateFile}.new`, dir.stateFile)
}

/** null when there is no such guest, or its directory was left half made. */
export function readState(dir: RunDir): State | null {
  try {
    return JSON.parse(readFileSync(dir.stateFile, 'utf8')) as State
  } catch {
    return null
  }
}

/** null when the process is gone or a zombie. */
export function markProcess(pid: number): ProcessMark | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // The command name, in parentheses, may hold anything; the fields after it are plain. state is field 3, start time field 22.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    const start = fields[19]
    return start === undefined || fields[0] === 'Z' ? null : { pid, start }
  } catch {
    return null
  }
}

export function isAlive(mark: ProcessMark): boolean {
  return markProcess(mark.pid)?.start === mark.start
}

/** Kills the guest's QEMU if it still runs, and removes its directory. */
export function removeGuest(dir: RunDir): void {
  const state = readState(dir)
  if (state !== null && isAlive(state.qemu)) process.kill(state.qemu.pid, 'SIGKILL')
  rmSync(dir.path, { recursive: true, force: true })
}

/** Ends every guest whose owner is gone. Returns their names. Detached guests without QEMU go too. */
export function reapGuests(): string[] {
  const reaped: string[] = []
  for (const name of listNames()) {
    const dir = runDir(name)
    const state = readState(dir)
    if (state === null) continue
    if (isAlive(state.qemu) && (state.owner === null || isAlive(state.owner))) continue
    removeGuest(dir)
    reaped.push(name)
  }
  return reaped
}

function listNames(): string[] {
  try {
    return readdirSync(RUNS)
  } catch {
    return []
  }
}
