import { createPrivateKey, generateKeyPairSync, X509Certificate } from 'node:crypto'
import { beforeAll, expect, test } from 'vitest'
import { Authority, fingerprintOf } from './authority.ts'

let authority: Authority
let ca: X509Certificate
beforeAll(async () => {
  const made = await Authority.create()
  authority = await Authority.load(made.certificate, made.key)
  ca = new X509Certificate(made.certificate)
})

test('the CA signs itself, may sign others and no further CA', () => {
  expect(ca.verify(ca.publicKey)).toBe(true)
  expect(ca.ca).toBe(true)
  expect(Buffer.from(authority.fingerprint).toString('hex')).toBe(fingerprintOf(authority.certificate))
})

test('a server certificate carries the fixed name and those given', async () => {
  const server = await authority.issueServer(['orch.example.net', '192.0.2.9', '2001:db8::9'])
  const certificate = new X509Certificate(server.pem)
  expect(certificate.checkIssued(ca) && certificate.verify(ca.publicKey)).toBe(true)
  for (const host of ['orchestrator', 'orch.example.net']) expect(certificate.checkHost(host)).toBe(host)
  for (const ip of ['192.0.2.9', '2001:db8::9']) expect(certificate.checkIP(ip)).toBeDefined()
  expect(certificate.checkHost('elsewhere.example.net')).toBeUndefined()
  expect(certificate.checkPrivateKey(createPrivateKey(server.key))).toBe(true)
  // id-kp-serverAuth, RFC 5280 §4.2.1.12
  expect(certificate.keyUsage).toEqual(['1.3.6.1.5.5.7.3.1'])
})

test("a node certificate is for the node's own key and for clients only", async () => {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const issued = await authority.issueNode(
    '5f0c0000-0000-4000-8000-000000000000',
    publicKey.export({ type: 'spki', format: 'der' }),
  )
  const certificate = new X509Certificate(issued.pem)
  expect(certificate.subject).toBe('O=Branchline\nOU=node\nCN=5f0c0000-0000-4000-8000-000000000000')
  expect(certificate.verify(ca.publicKey) && certificate.checkPrivateKey(privateKey)).toBe(true)
  expect(certificate.ca).toBe(false)
  // id-kp-clientAuth
  expect(certificate.keyUsage).toEqual(['1.3.6.1.5.5.7.3.2'])
  expect(issued.fingerprint).toBe(certificate.fingerprint256.replaceAll(':', '').toLowerCase())
  expect(certificate.validToDate.getTime()).toBe(Math.floor(issued.expires.getTime() / 1000) * 1000)
})

test.each(['ed25519', 'p384', 'garbage'])('%s is no TLS key of a node', async kind => {
  const key =
    kind === 'garbage'
      ? Buffer.from('garbage')
      : (kind === 'p384'
          ? generateKeyPairSync('ec', { namedCurve: 'P-384' })
          : generateKeyPairSync('ed25519')
        ).publicKey.export({
          type: 'spki',
          format: 'der',
        })
  await expect(authority.issueNode('x', key)).rejects.toThrow()
})
