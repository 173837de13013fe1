/** The node's client against files and orchestrators that are not as they should be. */
import { cpSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { renewIfDue } from '../../agent/intent/certificate.ts'
import { readNode } from '../../agent/intent/identity-file.ts'
import { Bench, type Client, messageOf, stateWhere } from './harness.ts'

let bench: Bench
let admin: Client['admin']
beforeAll(async () => {
  bench = await Bench.start()
  admin = bench.admin()
  await admin.enterprise.create.mutate({ name: 'acme' })
  for (const name of ['edge-a', 'edge-b']) {
    await bench.activate(name, (await admin.node.create.mutate({ name, enterprise: 'acme' })).activationKey)
  }
})
afterAll(() => bench?.close())

/** A copy of edge-a's directory, changed. */
function variant(name: string, change: (directory: string) => void): string {
  cpSync(bench.stateDir('edge-a'), bench.stateDir(name), { recursive: true })
  change(bench.stateDir(name))
  return name
}

test.each([
  [
    'a state cut short',
    'cut',
    (directory: string) =>
      writeFileSync(join(directory, 'state'), readFileSync(join(directory, 'state')).subarray(0, 300)),
    /state is damaged, its checksum does not match: activate this node again/,
  ],
  [
    "another node's state",
    'foreign',
    (directory: string) => cpSync(join(bench.stateDir('edge-b'), 'state'), join(directory, 'state')),
    /state belongs to node edge-b, the identity beside it to edge-a/,
  ],
  [
    'files swapped',
    'swapped',
    (directory: string) => cpSync(join(directory, 'identity'), join(directory, 'state')),
    /state is not a Branchline state file/,
  ],
])('%s stops the node with one line', (_what, name, change, message) => {
  variant(name, change)
  expect(() => bench.intent(name)).toThrow(message)
})

test('a directory without identity says how to get one', () => {
  expect(() => bench.intent('nobody')).toThrow(/nobody\/identity is missing: activate this node again with a new key/)
})

test('the state file holds what the node was last told', async () => {
  const client = await bench.connect('edge-a')
  await admin.vpn.set.mutate({ enterprise: 'acme', enabled: true })
  const state = await stateWhere(client, candidate => candidate.vpn?.enabled === true)
  await client.close()
  expect(readNode(bench.stateDir('edge-a')).state).toEqual(state)
})

test('a listener that throws does not end the stream of states', async () => {
  const client = await bench.connect('edge-a')
  const enabled = () => client.state.vpn?.enabled
  client.on('state', () => {
    throw new Error('the listener is broken')
  })
  await admin.vpn.set.mutate({ enterprise: 'acme', enabled: false })
  while (enabled() !== false) await delay(10)
  await admin.vpn.set.mutate({ enterprise: 'acme', enabled: true })
  while (enabled() !== true) await delay(10)
  await client.close()
  expect(readNode(bench.stateDir('edge-a')).state).toEqual(client.state)
})

test('a certificate past half of its life is renewed with a new key, and the new one connects', async () => {
  const directory = bench.stateDir('edge-b')
  const { identity } = readNode(directory)
  const old = bench.dial({ ca: identity.ca, certificate: identity.certificate, key: identity.tlsKey })
  const renew = (tlsKey: string) => old.trpc.agent.renewCertificate.mutate({ tlsKey })
  expect(await renewIfDue(directory, identity, renew)).toBeUndefined()
  const halfYear = Date.now() + 183 * 86_400_000
  const renewed = await renewIfDue(directory, identity, renew, halfYear)
  expect(renewed?.tlsKey).not.toBe(identity.tlsKey)
  expect(readNode(directory).identity).toEqual(renewed)
  expect((await bench.connect('edge-b')).connected).toBe(true)
  expect(await messageOf(renew('bm90IGEga2V5'))).toBe(
    'tlsKey: must be a P-256 public key (SubjectPublicKeyInfo, DER, base64)',
  )
})
