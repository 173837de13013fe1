/**
 * A Linux 6.12 guest that shares the host's file system, for what the host's kernel lacks (ESP, xfrm interfaces, netem).
 * It sees the host's root read-only, the repository at the same path, and one writable folder, `share`, at the same path too.
 *
 *   const guest = await startGuest({ memoryMb: 2048 })
 *   const { code, stdout } = await guest.exec(['ip', 'xfrm', 'state'])
 *   await guest.stop()
 *
 * From the guest the host's loopback is 10.0.2.2, over the device host0 (10.0.2.15/24); a namespace gets there by a macvlan of mode
 * bridge on host0 with an address of its own in 10.0.2.0/24. A terminal in the guest: exec(['script', '-qefc', command, '/dev/null']).
 */

import type { ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { GuestError } from './error.ts'
import { type ExecOptions, type ExecResult, execInGuest } from './exec.ts'
import type { Ready } from './frame.ts'
import { freePort, spawnQemu } from './qemu.ts'
import {
  createRunDir,
  isAlive,
  markProcess,
  type ProcessMark,
  REPO,
  type RunDir,
  readState,
  reapGuests,
  removeGuest,
  runDir,
  writeState,
} from './rundir.ts'

export type GuestOptions = {
  /** default: one made from this process's pid */
  readonly name?: string
  readonly memoryMb?: number
  /** true: the guest outlives this process until stop(); findGuest(name) finds it again */
  readonly detach?: boolean
  readonly bootTimeoutMs?: number
  /** Aborting ends the boot, not a guest that has booted. */
  readonly signal?: AbortSignal
}

export type Guest = {
  readonly name: string
  /** `uname -r` of the guest */
  readonly kernel: string
  /** absolute path of the writable folder, on the host and in the guest */
  readonly share: string
  /** Runs a command in the guest's first network namespace; any number at once. */
  exec(argv: readonly string[], options?: ExecOptions): Promise<ExecResult>
  /** Ends the guest at once. The share goes with it. */
  stop(): Promise<void>
}

let started = 0

/** Throws GuestError: no-kernel, no-qemu, running (a guest of that name), boot (with the console's end). */
export async function startGuest(options: GuestOptions = {}): Promise<Guest> {
  reapGuests()
  const name = options.name ?? `pid-${process.pid}-${started++}`
  if (findGuest(name) !== null) throw new GuestError('running', `guest ${name} runs already`)
  removeGuest(runDir(name))
  const dir = createRunDir(name)
  const detach = options.detach ?? false
  try {
    writeFileSync(join(dir.share, 'token'), randomBytes(24).toString('hex'), { mode: 0o600 })
    const port = await freePort()
    const qemu = spawnQemu(dir, { memoryMb: options.memoryMb ?? 2048, port, detach })
    const mark = await spawned(qemu)
    const owner = detach ? null : markProcess(process.pid)
    writeState(dir, { qemu: mark, owner, port, kernel: null })
    const ready = await booted(dir, mark, options.bootTimeoutMs ?? 120_000, options.signal)
    writeState(dir, { qemu: mark, owner, port, kernel: ready.kernel })
    qemu.unref()
    return handle(name, dir, mark, port, ready.kernel)
  } catch (error) {
    removeGuest(dir)
    throw error
  }
}

/** A guest that another process started, if it runs and has booted. */
export function findGuest(name: string): Guest | null {
  const dir = runDir(name)
  const state = readState(dir)
  if (state === null || state.kernel === null || !isAlive(state.qemu)) return null
  return handle(name, dir, state.qemu, state.port, state.kernel)
}

function handle(name: string, dir: RunDir, qemu: ProcessMark, port: number, kernel: string): Guest {
  const token = readFileSync(join(dir.share, 'token'), 'utf8')
  return {
    name,
    kernel,
    share: dir.share,
    exec: (argv, options = {}) =>
      execInGuest(port, { token, argv, cwd: options.cwd ?? REPO, env: options.env ?? {} }, options),
    async stop() {
      removeGuest(dir)
      while (isAlive(qemu)) await sleep(10)
    },
  }
}

async function spawned(qemu: ChildProcess): Promise<ProcessMark> {
  await new Promise<void>((resolve, reject) => {
    qemu.on('spawn', resolve)
    qemu.on('error', cause => {
      reject(new GuestError('no-qemu', `cannot run QEMU (${cause.message}); run npm run setup`, { cause }))
    })
  })
  const mark = qemu.pid === undefined ? null : markProcess(qemu.pid)
  if (mark === null) throw new GuestError('boot', 'QEMU ended at once')
  return mark
}

async function booted(dir: RunDir, qemu: ProcessMark, timeoutMs: number, signal?: AbortSignal): Promise<Ready> {
  const file = join(dir.share, 'ready.json')
  const deadline = performance.now() + timeoutMs
  while (!existsSync(file)) {
    signal?.throwIfAborted()
    if (!isAlive(qemu)) throw new GuestError('boot', `the guest ended before it was ready\n${logTail(dir)}`)
    if (performance.now() > deadline)
      throw new GuestError('boot', `the guest is not ready after ${timeoutMs / 1000} s\n${logTail(dir)}`)
    await sleep(50)
  }
  return JSON.parse(readFileSync(file, 'utf8')) as Ready
}

function logTail(dir: RunDir): string {
  const text = ['qemu.log', 'console.log'].map(name => {
    const path = join(dir.path, name)
    return existsSync(path) ? readFileSync(path, 'utf8') : ''
  })
  return text.join('').trimEnd().split('\n').slice(-20).join('\n')
}
