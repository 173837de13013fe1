/**
 * The orchestrator's data directory: CA, server certificate, grant-signing key and the admin's connection file.
 *
 *   ca.crt ca.key  server.crt server.key  grant.key  admin.json  settings.json  db/
 *
 * Everything but db/ is made once by `init`; lose it and every node has to be activated again, so back it up.
 */
import { createPrivateKey, generateKeyPairSync, X509Certificate } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { type SigningKey, signingKey } from '../../agent/mp/signed.ts'
import { type AdminFile, adminFileSchema } from '../../schema/admin-file.ts'
import { OrchestratorError } from '../error.ts'
import { Authority, type IssuedIdentity } from './authority.ts'

const settingsSchema = z.object({
  version: z.literal(1),
  /** Names and addresses in the server certificate. */
  names: z.array(z.string()),
})

export { type AdminFile, adminFileSchema }

export interface ServerIdentity {
  certificate: string
  key: string
}

export interface DataDirectory {
  directory: string
  authority: Authority
  grantKey: SigningKey
  /** Renewed with the same names when less than half of its life is left. */
  serverIdentity(now?: Date): Promise<ServerIdentity>
}

/**
 * @param names what the server is called from outside: DNS names and IP addresses
 * @param url what the admin's command dials
 * @throws OrchestratorError when the directory holds an orchestrator already
 */
export async function initDataDirectory(
  directory: string,
  names: readonly string[],
  url: string,
): Promise<{ adminFile: string }> {
  if (existsSync(join(directory, 'ca.key'))) {
    throw new OrchestratorError('setup', `${directory} holds an orchestrator already; it is not overwritten`)
  }
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  const made = await Authority.create()
  const authority = await Authority.load(made.certificate, made.key)
  const server = await authority.issueServer(names)
  const admin = await authority.issueAdmin('admin')
  const grantKey = generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' })
  write(directory, 'ca.crt', made.certificate, 0o644)
  writeServer(directory, server)
  write(directory, 'grant.key', String(grantKey))
  write(directory, 'settings.json', `${JSON.stringify({ version: 1, names }, null, 2)}\n`)
  const file: AdminFile = { url, name: 'admin', ca: made.certificate, certificate: admin.pem, key: admin.key }
  write(directory, 'admin.json', `${JSON.stringify(file, null, 2)}\n`)
  // Last: a directory with it is complete.
  write(directory, 'ca.key', made.key)
  return { adminFile: join(directory, 'admin.json') }
}

/** @throws OrchestratorError naming the file that is missing or broken */
export async function openDataDirectory(directory: string): Promise<DataDirectory> {
  if (!existsSync(join(directory, 'ca.key'))) {
    throw new OrchestratorError(
      'setup',
      `${directory} holds no orchestrator; make one with 'branchline orchestrator init --data-dir ${directory}'`,
    )
  }
  const authority = await load(directory, 'ca.key', key => Authority.load(read(directory, 'ca.crt'), key))
  const grantKey = await load(directory, 'grant.key', pem => signingKey(createPrivateKey(pem)))
  const { names } = await load(directory, 'settings.json', text => settingsSchema.parse(JSON.parse(text)))
  return {
    directory,
    authority,
    grantKey,
    serverIdentity: async (now = new Date()) => {
      const current = { certificate: read(directory, 'server.crt'), key: read(directory, 'server.key') }
      if (!agedBeyondHalf(current.certificate, now)) return withChain(current, authority)
      const renewed = await authority.issueServer(names, now)
      writeServer(directory, renewed)
      return withChain({ certificate: renewed.pem, key: renewed.key }, authority)
    },
  }
}

/** The admin file in the directory itself follows where this orchestrator listens; copies elsewhere keep their address. */
export async function pointAdminFile(directory: string, url: string): Promise<void> {
  const file = await load(directory, 'admin.json', text => adminFileSchema.parse(JSON.parse(text)))
  if (file.url !== url) write(directory, 'admin.json', `${JSON.stringify({ ...file, url }, null, 2)}\n`)
}

/** The CA goes along: a node that activates knows it by fingerprint only. */
function withChain(identity: ServerIdentity, authority: Authority): ServerIdentity {
  return { key: identity.key, certificate: `${identity.certificate.trim()}\n${authority.certificate}` }
}

function agedBeyondHalf(certificate: string, now: Date): boolean {
  const { validFromDate, validToDate } = new X509Certificate(certificate)
  return now.getTime() > (validFromDate.getTime() + validToDate.getTime()) / 2
}

function writeServer(directory: string, server: IssuedIdentity): void {
  write(directory, 'server.key', server.key)
  write(directory, 'server.crt', server.pem, 0o644)
}

async function load<T>(directory: string, name: string, parse: (text: string) => T | Promise<T>): Promise<T> {
  const text = read(directory, name)
  try {
    return await parse(text)
  } catch (cause) {
    throw new OrchestratorError('setup', `${join(directory, name)} is damaged; restore it from a backup`, { cause })
  }
}

function read(directory: string, name: string): string {
  try {
    return readFileSync(join(directory, name), 'utf8')
  } catch (cause) {
    throw new OrchestratorError('setup', `${join(directory, name)} cannot be read; restore it from a backup`, { cause })
  }
}

/** Whole or not at all. */
function write(directory: string, name: string, text: string, mode = 0o600): void {
  const file = join(directory, name)
  writeFileSync(`${file}.new`, text, { mode })
  renameSync(`${file}.new`, file)
}
