import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { NodeEvent } from '../schema/node-state.ts'
import { type AgentView, agentClient, listen } from './api.ts'

const events: NodeEvent[] = Array.from({ length: 5 }, (_, at) => ({
  time: 5 - at,
  severity: 'info',
  code: 'x',
  message: `${5 - at}`,
}))
const view: AgentView = {
  status: () => {
    throw new Error('the node has no status yet')
  },
  routes: async () => [
    {
      enterprise: 'acme',
      prefix: '10.1.0.0/24',
      reachable: true,
      security: 'esp',
      owner: 'edge-a',
      via: 'local lan0',
      source: 'connected',
    },
  ],
  drops: () => ({ drops: { 'no-route': 3 }, counters: {}, samples: [] }),
  metrics: () => 'branchline_sessions 2\n',
  paths: () => [],
  pathHistory: () => [],
  services: () => ({ chains: [], pools: [], instances: [] }),
  rekey: ({ peer }) => ({ peers: peer === undefined ? ['gw1', 'gw2'] : [peer] }),
  events: () => events,
}

let directory: string
let socket: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'branchline-api-'))
  socket = join(directory, 'run', 'agent.sock')
})
afterEach(() => rmSync(directory, { recursive: true }))

test('answers its owner alone, and is gone after close', async () => {
  const server = await listen(socket, view)
  expect(statSync(socket).mode & 0o777).toBe(0o600)
  const client = agentClient(socket)
  expect(await client.routes.query()).toMatchObject([{ prefix: '10.1.0.0/24' }])
  expect(await client.drops.query()).toEqual({ drops: { 'no-route': 3 }, counters: {}, samples: [] })
  expect(await client.metrics.query()).toBe('branchline_sessions 2\n')
  expect(await client.rekey.mutate({})).toEqual({ peers: ['gw1', 'gw2'] })
  expect(await client.rekey.mutate({ peer: 'gw2' })).toEqual({ peers: ['gw2'] })
  expect((await client.events.query({ limit: 2 })).map(event => event.time)).toEqual([5, 4])
  await expect(client.status.query()).rejects.toThrow('the node has no status yet')
  await server.close()
  expect(existsSync(socket)).toBe(false)
  await expect(client.routes.query()).rejects.toMatchObject({ cause: { code: 'ENOENT' } })
})

test('a second agent on the same socket is refused', async () => {
  const server = await listen(socket, view)
  await expect(listen(socket, view)).rejects.toThrow(`another agent listens on ${socket}`)
  await server.close()
})

test('the socket of an agent that was killed is replaced', async () => {
  await (await listen(socket, view)).close()
  const script = `require('net').createServer().listen(${JSON.stringify(socket)}, () => console.log('up'))`
  const other = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] })
  await once(other.stdout, 'data')
  other.kill('SIGKILL')
  await once(other, 'exit')
  expect(existsSync(socket)).toBe(true)
  const server = await listen(socket, view)
  expect(await agentClient(socket).rekey.mutate({})).toEqual({ peers: ['gw1', 'gw2'] })
  await server.close()
})

test('a file in its place is not touched', async () => {
  await (await listen(socket, view)).close()
  writeFileSync(socket, 'precious')
  await expect(listen(socket, view)).rejects.toThrow('exists and is not a socket')
})
