/** Renewal of the node's TLS certificate at half of its life, with a new key. */
import { generateKeyPairSync, X509Certificate } from 'node:crypto'
import { type IdentityFile, writeIdentity } from './identity-file.ts'

/**
 * @param renew asks the orchestrator to certify a key (SubjectPublicKeyInfo, DER, base64)
 * @returns the identity as it is on disk now, undefined when it is not time yet; the next connection uses it
 */
export async function renewIfDue(
  directory: string,
  identity: IdentityFile,
  renew: (tlsKey: string) => Promise<{ certificate: string }>,
  now = Date.now(),
): Promise<IdentityFile | undefined> {
  const { validFromDate, validToDate } = new X509Certificate(identity.certificate)
  if (now < (validFromDate.getTime() + validToDate.getTime()) / 2) return undefined
  const keys = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const { certificate } = await renew(keys.publicKey.export({ type: 'spki', format: 'der' }).toString('base64'))
  const renewed = { ...identity, certificate, tlsKey: String(keys.privateKey.export({ type: 'pkcs8', format: 'pem' })) }
  await writeIdentity(directory, renewed)
  return renewed
}
