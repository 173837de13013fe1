/**
 * Runs in the guest: executes the commands that the host sends, any number at once (protocol in frame.ts).
 * Arguments: the share's path, which holds `token` (written by the host, known to nobody else) and gets `ready.json`; a named
 * pipe that init closes when the guest is set up.
 * A connection that ends before its command takes the command's whole process group with it.
 */

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { createServer, type Socket } from 'node:net'
import { release } from 'node:os'
import { join } from 'node:path'
import { encodeFrame, FRAME, FrameReader, pumpFrames, type Ready, type Request } from './frame.ts'

const AGENT_PORT = 7

const [share, booted] = process.argv.slice(2)
if (share === undefined || booted === undefined) throw new Error('usage: agent.ts <share> <booted>')
const token = readFileSync(join(share, 'token'), 'utf8')

const server = createServer(serve)
server.listen(AGENT_PORT, '10.0.3.15')
await Promise.all([once(server, 'listening'), readFile(booted)])
const ready: Ready = { kernel: release() }
const readyFile = join(share, 'ready.json')
writeFileSync(`${readyFile}.new`, JSON.stringify(ready))
renameSync(`${readyFile}.new`, readyFile)

function serve(socket: Socket): void {
  let child: ChildProcess | undefined
  const reader = new FrameReader((type, payload) => {
    if (child === undefined) {
      if (type !== FRAME.request) return refuse(socket, 'a connection begins with a request')
      const request = JSON.parse(payload.toString()) as Request
      if (request.token !== token) return refuse(socket, 'wrong token')
      if (!existsSync(request.cwd)) return refuse(socket, `no directory ${request.cwd} in the guest`)
      child = start(request, socket)
    } else if (type === FRAME.stdin) child.stdin?.write(payload)
    else if (type === FRAME.stdinEnd) child.stdin?.end()
    else if (type === FRAME.signal) signalGroup(child, payload.toString() as NodeJS.Signals)
  })
  socket.on('data', chunk => {
    try {
      reader.push(chunk)
    } catch (error) {
      refuse(socket, String(error))
    }
  })
  socket.on('error', () => socket.destroy())
  socket.on('close', () => {
    if (child !== undefined && child.exitCode === null && child.signalCode === null) signalGroup(child, 'SIGKILL')
  })
}

/** The agent sits in a network namespace of its own; commands belong in PID 1's. */
function start(request: Request, socket: Socket): ChildProcess {
  const child = spawn('nsenter', ['--net=/proc/1/ns/net', '--', ...request.argv], {
    cwd: request.cwd,
    env: { ...process.env, ...request.env },
    detached: true,
    stdio: 'pipe',
  })
  pumpFrames(child.stdout, socket, FRAME.stdout)
  pumpFrames(child.stderr, socket, FRAME.stderr)
  // A command may close its input early; that is its right.
  child.stdin.on('error', () => child.stdin.destroy())
  child.on('error', error => refuse(socket, error.message))
  child.on('close', (code, signal) => socket.end(encodeFrame(FRAME.exit, JSON.stringify({ code, signal }))))
  return child
}

function signalGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  if (child.pid === undefined) return
  try {
    process.kill(-child.pid, signal)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

function refuse(socket: Socket, why: string): void {
  socket.end(encodeFrame(FRAME.refused, why))
}
