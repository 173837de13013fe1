/** A server of this process is the instance; its answers are what the test wants them to be. */
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { checkHealth, type HealthCheck } from './monitor.ts'

const settings = { port: 0, path: '/', intervalMs: 50, timeoutMs: 200, changes: 2 }
let status = 200
let hang = false
let asked = 0
let server: Server
let check: HealthCheck | undefined
const changes: string[] = []

beforeEach(async () => {
  ;[status, hang, asked] = [200, false, 0]
  changes.length = 0
  server = createServer((_question, answer) => {
    asked += 1
    if (!hang) answer.writeHead(status).end()
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
})
afterEach(() => {
  check?.close()
  server.close()
  server.closeAllConnections()
})

function begin(kind: 'http' | 'tcp', healthy = true, change: Partial<typeof settings> = {}): void {
  const { port } = server.address() as AddressInfo
  check = checkHealth({ address: '127.0.0.1', port }, { ...settings, ...change, kind }, healthy, (well, reason) =>
    changes.push(`${well ? 'healthy' : 'dead'}: ${reason}`),
  )
}

it('takes 200 to 399 for healthy, and needs two others in a row to change its mind', async () => {
  begin('http')
  status = 399
  await vi.waitFor(() => expect(asked).toBeGreaterThanOrEqual(3))
  expect(changes).toEqual([])
  status = 503
  await vi.waitFor(() => expect(changes).toEqual(['dead: it answers 503']))
  status = 200
  await vi.waitFor(() => expect(changes).toEqual(['dead: it answers 503', 'healthy: it answers']))
})

it('gives up on one that does not answer', async () => {
  hang = true
  begin('http')
  await vi.waitFor(() => expect(changes).toEqual(['dead: no answer within 200 ms']), { timeout: 3000 })
})

it('asks by TCP alone', async () => {
  begin('tcp', false)
  await vi.waitFor(() => expect(changes).toEqual(['healthy: it answers']))
  server.close()
  await vi.waitFor(() => expect(changes[1]).toMatch(/^dead: connect ECONNREFUSED/))
})
