/** Real descriptors: eventfds, readable from the first write until they are read. */
import { spawnSync } from 'node:child_process'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { checkErrno, closeFd, libc } from './native.ts'
import { type Registration, watchReadable } from './reactor.ts'

const EFD_NONBLOCK = 0o4000
const eventfd: (value: number, flags: number) => number = libc.func('int eventfd(uint, int)')
const write: (fd: number, data: Uint8Array, length: number) => number = libc.func(
  'long write(int, const void *, size_t)',
)
const read: (fd: number, data: Uint8Array, length: number) => number = libc.func('long read(int, void *, size_t)')

let fd: number
let registration: Registration | undefined
beforeEach(() => {
  fd = checkErrno(eventfd(0, EFD_NONBLOCK), 'open', 'eventfd')
})
afterEach(() => {
  registration?.close()
  closeFd(fd)
})

const signal = () => write(fd, Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0), 8)
const drain = () => read(fd, new Uint8Array(8), 8)

it('calls while there is something to read, and lets promises go on at once', async () => {
  let calls = 0
  let wake: (() => void) | undefined
  registration = watchReadable(fd, () => {
    drain()
    calls++
    wake?.()
  })
  for (let turn = 1; turn <= 3; turn++) {
    const woken = new Promise<void>(resolve => {
      wake = resolve
    })
    signal()
    await woken
    expect(calls).toBe(turn)
  }
})

it('may be closed by its own callback, and then twice and asked to hold', async () => {
  let calls = 0
  registration = watchReadable(fd, () => {
    calls++
    registration?.close()
  })
  signal()
  await new Promise(resolve => setTimeout(resolve, 30))
  expect(calls).toBe(1)
  registration.close()
  registration.hold(true)
  registration.hold(false)
})

it('keeps a process alive while it holds; an exception of a callback ends it at once, as any uncaught one', () => {
  const script = (body: string) => `
    import { libc } from ${JSON.stringify(`${import.meta.dirname}/native.ts`)}
    import { watchReadable } from ${JSON.stringify(`${import.meta.dirname}/reactor.ts`)}
    const fd = libc.func('int eventfd(uint, int)')(${body.includes('boom') ? 1 : 0}, 2048)
    ${body}`
  const run = (body: string) =>
    spawnSync(process.execPath, ['--input-type=module', '--eval', script(body)], { encoding: 'utf8', timeout: 10_000 })

  expect(run('watchReadable(fd, () => {}).hold(false)').status).toBe(0)
  const held = run('watchReadable(fd, () => {}).hold(true); setTimeout(() => process.exit(7), 100).unref()')
  expect(held.status).toBe(7)
  const failed = run("watchReadable(fd, () => { throw new Error('boom') }).hold(true)")
  expect(failed.status).toBe(1)
  expect(failed.stderr).toContain('Error: boom')
})
