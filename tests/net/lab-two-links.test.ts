/**
 * The network of two-links without the product: what is sent by a link reaches the gateway over that link's network.
 *
 *              +-- inet --+
 *   branch-a --+    |     +-- gw1
 *              +-- lte ---+
 */
import { afterAll, beforeAll, expect, it } from 'vitest'
import { Lab } from '../../scripts/lab/lab.ts'
import { buildTools } from '../../scripts/lab/tools.ts'

let lab: Lab

beforeAll(async () => {
  await buildTools()
  const options = { id: `l${process.pid}`, topology: 'two-links', machine: 'native', security: 'clear' } as const
  lab = await Lab.up({ ...options, detach: false, say: () => {}, signal: new AbortController().signal })
})
afterAll(() => lab?.down())

async function ping(device: string, to: string, ttl: number): Promise<string> {
  const argv = ['ping', '-n', '-c', '1', '-W', '1', '-t', String(ttl), '-I', device, to]
  return (await lab.exec('branch-a', argv)).stdout
}

it.each([
  ['wan-inet', '198.51.100.2', '203.0.113.1'],
  ['wan-inet', '198.51.100.130', '203.0.113.1'],
  ['wan-lte', '198.51.100.2', '203.0.113.129'],
  ['wan-lte', '198.51.100.130', '203.0.113.129'],
  ['wan-inet', '2001:db8:f001:1::2', '2001:db8:f000:a::1'],
  ['wan-lte', '2001:db8:f000:1::2', '2001:db8:f001:a::1'],
])('%s leads to %s by the router %s', async (device, to, router) => {
  expect(await ping(device, to, 1)).toMatch(new RegExp(`From ${router} .*exceeded`))
  expect(await ping(device, to, 64)).toContain('1 received')
})
