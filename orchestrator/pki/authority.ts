/**
 * The orchestrator's certificate authority: ECDSA P-256, one level. The role of a certificate's holder is its OU (`server`, `admin`, `node`), the
 * name its CN; nothing else signs with this CA, so both can be trusted.
 */
import { createHash, randomBytes, webcrypto, X509Certificate } from 'node:crypto'
import './reflect.ts'
import * as x509 from '@peculiar/x509'

/** Every server certificate carries it, so a client can check the server through whatever address or proxy it dialled. */
export const SERVER_NAME = 'orchestrator'

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }
const DAY = 86_400_000
/** Clocks differ: a new certificate is good already a little earlier. */
const BACKDATE = 300_000
export const LIFETIME_DAYS = { ca: 3650, server: 365, admin: 730, node: 365 }

export interface IssuedCertificate {
  pem: string
  /** SHA-256 of the DER, lower-case hex. */
  fingerprint: string
  expires: Date
}

export interface IssuedIdentity extends IssuedCertificate {
  /** PKCS #8, PEM. */
  key: string
}

export class Authority {
  /** PEM. */
  readonly certificate: string
  /** SHA-256 of the DER, 32 bytes. */
  readonly fingerprint: Uint8Array
  readonly #issuer: x509.X509Certificate
  readonly #key: webcrypto.CryptoKey

  private constructor(certificate: string, key: webcrypto.CryptoKey) {
    this.certificate = certificate
    this.#issuer = new x509.X509Certificate(certificate)
    this.#key = key
    this.fingerprint = createHash('sha256').update(new Uint8Array(this.#issuer.rawData)).digest()
  }

  static async load(certificate: string, keyPem: string): Promise<Authority> {
    const der = x509.PemConverter.decodeFirst(keyPem)
    const key = await webcrypto.subtle.importKey('pkcs8', der, ALGORITHM, false, ['sign'])
    return new Authority(certificate, key)
  }

  static async create(now = new Date()): Promise<{ certificate: string; key: string }> {
    const keys = await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify'])
    const certificate = await x509.X509CertificateGenerator.createSelfSigned({
      serialNumber: serialNumber(),
      name: [{ O: ['Branchline'] }, { CN: ['Branchline CA'] }],
      notBefore: new Date(now.getTime() - BACKDATE),
      notAfter: new Date(now.getTime() + LIFETIME_DAYS.ca * DAY),
      keys,
      signingAlgorithm: ALGORITHM,
      extensions: [
        new x509.BasicConstraintsExtension(true, 0, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
        await x509.SubjectKeyIdentifierExtension.create(keys.publicKey, false),
      ],
    })
    return { certificate: certificate.toString('pem'), key: await exportKey(keys.privateKey) }
  }

  /** @param names DNS names and IP addresses by which people call the server, beside SERVER_NAME */
  async issueServer(names: readonly string[], now = new Date()): Promise<IssuedIdentity> {
    const san = [...new Set([SERVER_NAME, ...names])].map(name => ({
      type: isAddress(name) ? ('ip' as const) : ('dns' as const),
      value: name,
    }))
    return await this.#withKey('server', SERVER_NAME, LIFETIME_DAYS.server, now, [
      new x509.SubjectAlternativeNameExtension(san),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
    ])
  }

  async issueAdmin(name: string, now = new Date()): Promise<IssuedIdentity> {
    return await this.#withKey('admin', name, LIFETIME_DAYS.admin, now, [
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.clientAuth]),
    ])
  }

  /**
   * @param tlsKey SubjectPublicKeyInfo, DER
   * @throws when it is no P-256 key
   */
  async issueNode(id: string, tlsKey: Uint8Array, now = new Date()): Promise<IssuedCertificate> {
    const key = await webcrypto.subtle.importKey('spki', tlsKey, ALGORITHM, true, ['verify'])
    return await this.#issue(key, 'node', id, LIFETIME_DAYS.node, now, [
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.clientAuth]),
    ])
  }

  async #withKey(
    unit: string,
    name: string,
    days: number,
    now: Date,
    extensions: x509.Extension[],
  ): Promise<IssuedIdentity> {
    const keys = await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify'])
    const issued = await this.#issue(keys.publicKey, unit, name, days, now, extensions)
    return { ...issued, key: await exportKey(keys.privateKey) }
  }

  async #issue(
    publicKey: webcrypto.CryptoKey,
    unit: string,
    name: string,
    days: number,
    now: Date,
    extensions: x509.Extension[],
  ): Promise<IssuedCertificate> {
    const expires = new Date(Math.min(now.getTime() + days * DAY, this.#issuer.notAfter.getTime()))
    const certificate = await x509.X509CertificateGenerator.create({
      serialNumber: serialNumber(),
      subject: [{ O: ['Branchline'] }, { OU: [unit] }, { CN: [name] }],
      issuer: this.#issuer.subject,
      notBefore: new Date(now.getTime() - BACKDATE),
      notAfter: expires,
      publicKey,
      signingKey: this.#key,
      signingAlgorithm: ALGORITHM,
      extensions: [
        new x509.BasicConstraintsExtension(false, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
        await x509.AuthorityKeyIdentifierExtension.create(this.#issuer, false),
        ...extensions,
      ],
    })
    const pem = certificate.toString('pem')
    return { pem, expires, fingerprint: fingerprintOf(pem) }
  }
}

/** SHA-256 of the DER, lower-case hex. */
export function fingerprintOf(pem: string): string {
  return new X509Certificate(pem).fingerprint256.replaceAll(':', '').toLowerCase()
}

/** RFC 5280 §4.1.2.2: positive, at most 20 bytes. */
function serialNumber(): string {
  const bytes = randomBytes(16)
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40
  return bytes.toString('hex')
}

async function exportKey(key: webcrypto.CryptoKey): Promise<string> {
  return x509.PemConverter.encode(await webcrypto.subtle.exportKey('pkcs8', key), 'PRIVATE KEY')
}

function isAddress(name: string): boolean {
  return name.includes(':') || /^\d+(\.\d+){3}$/.test(name)
}
