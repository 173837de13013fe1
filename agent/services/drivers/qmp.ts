/** QEMU's machine protocol (docs/interop/qmp-spec.rst): JSON objects, one a line, over a Unix socket. */
import { connect } from 'node:net'
import { createInterface } from 'node:readline'

const TIMEOUT_MS = 5000

export type Ask = (command: string, args?: Record<string, unknown>) => Promise<unknown>

interface Answer {
  QMP?: unknown
  return?: unknown
  error?: { desc?: string }
}

/** Talks to one machine. @throws Error with QEMU's own words, or when nothing answers in time */
export async function qmp<T>(path: string, talk: (ask: Ask) => Promise<T>): Promise<T> {
  const socket = connect(path)
  socket.setTimeout(TIMEOUT_MS, () => socket.destroy(new Error('QEMU does not answer')))
  const waiting: { resolve: (value: unknown) => void; reject: (error: Error) => void }[] = []
  const next = () => new Promise<unknown>((resolve, reject) => waiting.push({ resolve, reject }))
  const fail = (error: Error) => {
    for (const { reject } of waiting.splice(0)) reject(error)
  }
  socket.once('error', fail)
  socket.once('close', () => fail(new Error('QEMU hung up')))
  const greeting = next()
  createInterface({ input: socket }).on('line', line => {
    const answer = JSON.parse(line) as Answer
    if (answer.error) waiting.shift()?.reject(new Error(answer.error.desc ?? 'QEMU refused'))
    // Events come at any time and answer nothing.
    else if (answer.QMP !== undefined || 'return' in answer) waiting.shift()?.resolve(answer.return)
  })
  const ask: Ask = (command, args) => {
    const answer = next()
    socket.write(`${JSON.stringify({ execute: command, ...(args && { arguments: args }) })}\n`)
    return answer
  }
  try {
    await greeting
    await ask('qmp_capabilities')
    return await talk(ask)
  } finally {
    socket.destroy()
  }
}
