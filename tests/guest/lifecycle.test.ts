/**
 * runner (node scripts/guest/run.ts)  --owns-->  QEMU        the guest ends with its runner, however the runner ends
 * starter (detach)  -.->  QEMU  <--finds-- this file          a detached guest stays until stop()
 */

import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { afterEach, expect, it } from 'vitest'
import { findGuest, startGuest } from '../../scripts/guest/guest.ts'
import {
  createRunDir,
  isAlive,
  markProcess,
  REPO,
  readState,
  reapGuests,
  runDir,
  type State,
  writeState,
} from '../../scripts/guest/rundir.ts'

const DETACHED = `lifecycle-${process.pid}`
const children: ChildProcess[] = []

afterEach(async () => {
  for (const child of children.splice(0)) child.kill('SIGKILL')
  await findGuest(DETACHED)?.stop()
})

/** Starts the runner and waits until QEMU runs; its state names both. */
async function startRunner(...command: string[]): Promise<{ runner: ChildProcess; name: string; state: State }> {
  const runner = spawn(process.execPath, ['scripts/guest/run.ts', '--quiet', '--', ...command], {
    cwd: REPO,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  children.push(runner)
  const name = `pid-${runner.pid}-0`
  await expect.poll(() => readState(runDir(name)), { timeout: 20_000 }).not.toBeNull()
  const state = readState(runDir(name))
  if (state === null) throw new Error('the state went away')
  expect(isAlive(state.qemu)).toBe(true)
  return { runner, name, state }
}

it('leaves no QEMU after a kill -9 of the runner, and the next start clears its directory', async () => {
  const { runner, name, state } = await startRunner('sleep', '1000')
  runner.kill('SIGKILL')
  await once(runner, 'exit')
  await expect.poll(() => isAlive(state.qemu), { timeout: 2000 }).toBe(false)
  expect(existsSync(runDir(name).path)).toBe(true)
  expect(reapGuests()).toContain(name)
  expect(existsSync(runDir(name).path)).toBe(false)
})

it.each([
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const)('ends the guest and its directory on %s during the boot', async (signal, code) => {
  const { runner, name, state } = await startRunner('sleep', '1000')
  runner.kill(signal)
  expect(await once(runner, 'exit')).toEqual([code, null])
  expect(isAlive(state.qemu)).toBe(false)
  expect(existsSync(runDir(name).path)).toBe(false)
})

it('reaps a leftover QEMU by its recorded pid, but no process that took the pid over', async () => {
  const leftover = spawn('sleep', ['1000'])
  const stranger = spawn('sleep', ['1000'])
  children.push(leftover, stranger)
  const dead = { pid: 1, start: 'not its start time' }
  for (const [name, child] of [
    ['reap-leftover', leftover],
    ['reap-stranger', stranger],
  ] as const) {
    const mark = markProcess(child.pid ?? 0)
    if (mark === null) throw new Error('sleep did not start')
    const qemu = child === stranger ? { ...mark, start: `${mark.start}0` } : mark
    writeState(createRunDir(name), { qemu, owner: dead, port: 1, kernel: null })
  }
  expect(reapGuests()).toEqual(expect.arrayContaining(['reap-leftover', 'reap-stranger']))
  await expect.poll(() => markProcess(leftover.pid ?? 0)).toBeNull()
  expect(markProcess(stranger.pid ?? 0)).not.toBeNull()
})

it('keeps a detached guest for others to find until it is stopped', async () => {
  const starter = `
    import { startGuest } from ${JSON.stringify(join(REPO, 'scripts/guest/guest.ts'))}
    await startGuest({ name: ${JSON.stringify(DETACHED)}, detach: true, memoryMb: 512 })`
  execFileSync(process.execPath, ['--input-type=module-typescript', '--eval', starter], { cwd: REPO })
  expect(reapGuests()).not.toContain(DETACHED)
  const guest = findGuest(DETACHED)
  if (guest === null) throw new Error('the detached guest was not found')
  expect(await guest.exec(['echo', 'still here'])).toMatchObject({ code: 0, stdout: 'still here\n' })
  const state = readState(runDir(DETACHED))
  await guest.stop()
  expect(state && isAlive(state.qemu)).toBe(false)
  expect(findGuest(DETACHED)).toBeNull()
}, 120_000)

it('says in one line what a boot lacks', async () => {
  // Too little memory for the kernel and its initramfs: the guest ends before it is ready.
  await expect(startGuest({ name: 'lifecycle-small', memoryMb: 32, bootTimeoutMs: 20_000 })).rejects.toMatchObject({
    code: 'boot',
  })
  expect(readdirSync(dirname(runDir('x').path))).not.toContain('lifecycle-small')
}, 60_000)
