/** Tunnels whose packets pass through a process: nebula, tinc and OpenVPN as Debian ships them, with their default ciphers. */
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { BenchError } from '../error.ts'
import type { AptPackage } from '../packages.ts'
import { HOST, LAN, other, type Pair, SITES, type Site, WAN } from './tunnel-pair.ts'

export const userspacePackages: readonly AptPackage[] = [
  { name: 'nebula', file: '/usr/bin/nebula' },
  { name: 'tinc', file: '/usr/sbin/tincd' },
  { name: 'openvpn', file: '/usr/sbin/openvpn' },
  { name: 'openssl', file: '/usr/bin/openssl' },
]

const START_MS = 20_000
const INNER: Record<Site, string> = { a: '172.17.0.1', b: '172.17.0.2' }
/** WAN MTU less what they put around a packet, at most 60 bytes. */
const MTU = 1440

/** Writes what the two ends need into `folder` and says how each is started. */
type Prepare = (pair: Pair, folder: string) => Record<Site, string[]>

export class UserspaceTunnel implements AsyncDisposable {
  readonly #folder: string
  readonly #processes: ChildProcess[]

  private constructor(folder: string, processes: ChildProcess[]) {
    this.#folder = folder
    this.#processes = processes
  }

  /** @throws BenchError when no packet comes through in time */
  static async start(pair: Pair, prepare: Prepare): Promise<UserspaceTunnel> {
    const folder = mkdtempSync(join(tmpdir(), 'branchline-bench-'))
    const commands = prepare(pair, folder)
    const processes = SITES.map(site => pair.nodes[site].spawn(commands[site], { stdio: 'ignore' }))
    const tunnel = new UserspaceTunnel(folder, processes)
    const begin = performance.now()
    while (!answers(pair)) {
      if (performance.now() - begin > START_MS || processes.some(child => child.exitCode !== null)) {
        await tunnel[Symbol.asyncDispose]()
        throw new BenchError(`${commands.a[0]} does not carry a packet`)
      }
      await sleep(200)
    }
    return tunnel
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#processes) {
      if (child.exitCode !== null || child.signalCode !== null) continue
      const ended = once(child, 'exit')
      child.kill('SIGKILL')
      await ended
    }
    rmSync(this.#folder, { recursive: true })
  }
}

function answers({ hosts }: Pair): boolean {
  return hosts.a.execute(['sh', '-c', `ping -n -c 1 -W 1 ${HOST.b} || true`]).includes(' 1 received')
}

export function nebula(pair: Pair, folder: string): Record<Site, string[]> {
  const cert = (...words: string[]) => pair.nodes.a.execute(['nebula-cert', ...words])
  const file = (name: string) => join(folder, name)
  cert('ca', '-name', 'bench', '-out-crt', file('ca.crt'), '-out-key', file('ca.key'))
  const end = (site: Site) => {
    const far = other(site)
    const own = ['-name', site, '-ip', `${INNER[site]}/24`, '-subnets', LAN[site]]
    const out = ['-out-crt', file(`${site}.crt`), '-out-key', file(`${site}.key`)]
    cert('sign', '-ca-crt', file('ca.crt'), '-ca-key', file('ca.key'), ...own, ...out)
    const any = [{ port: 'any', proto: 'any', host: 'any' }]
    // YAML is a superset of JSON.
    const config = {
      pki: { ca: file('ca.crt'), cert: file(`${site}.crt`), key: file(`${site}.key`) },
      static_host_map: { [INNER[far]]: [`${WAN[far]}:4242`] },
      lighthouse: { am_lighthouse: false },
      listen: { host: '0.0.0.0', port: 4242 },
      tun: { dev: 'nebula0', mtu: MTU, unsafe_routes: [{ route: LAN[far], via: INNER[far] }] },
      firewall: { outbound: any, inbound: any },
      logging: { level: 'error' },
    }
    writeFileSync(file(`${site}.yml`), JSON.stringify(config))
    return ['nebula', '-config', file(`${site}.yml`)]
  }
  return { a: end('a'), b: end('b') }
}

export function tinc(pair: Pair, folder: string): Record<Site, string[]> {
  for (const site of SITES) {
    const own = join(folder, site)
    mkdirSync(join(own, 'hosts'), { recursive: true })
    writeFileSync(
      join(own, 'tinc.conf'),
      `Name = ${site}\nConnectTo = ${other(site)}\nInterface = tinc0\nAddressFamily = ipv4\n`,
    )
    writeFileSync(join(own, 'hosts', site), `Address = ${WAN[site]}\nSubnet = ${LAN[site]}\n`)
    writeFileSync(
      join(own, 'tinc-up'),
      `#!/bin/sh\nip addr add ${INNER[site]}/24 dev $INTERFACE\nip link set $INTERFACE mtu ${MTU} up\nip route add ${LAN[other(site)]} dev $INTERFACE\n`,
    )
    chmodSync(join(own, 'tinc-up'), 0o755)
    pair.nodes[site].execute(['tincd', '-c', own, '-K2048'])
  }
  for (const site of SITES)
    writeFileSync(join(folder, other(site), 'hosts', site), readFileSync(join(folder, site, 'hosts', site)))
  const command = (site: Site) => ['tincd', '-c', join(folder, site), '-D', `--pidfile=${join(folder, site, 'pid')}`]
  return { a: command('a'), b: command('b') }
}

export function openvpn({ nodes }: Pair, folder: string): Record<Site, string[]> {
  const file = (name: string) => join(folder, name)
  const fingerprint = (site: Site): string => {
    const kind = [
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:prime256v1',
      '-nodes',
      '-days',
      '2',
      '-subj',
      `/CN=${site}`,
    ]
    nodes[site].execute(['openssl', 'req', ...kind, '-keyout', file(`${site}.key`), '-out', file(`${site}.crt`)])
    const line = nodes[site].execute([
      'openssl',
      'x509',
      '-in',
      file(`${site}.crt`),
      '-noout',
      '-fingerprint',
      '-sha256',
    ])
    return line.trim().replace(/.*=/, '')
  }
  const fingerprints = { a: fingerprint('a'), b: fingerprint('b') }
  const command = (site: Site) => {
    const far = other(site)
    const words = [
      `--dev tun0 --dev-type tun --disable-dco --local ${WAN[site]} --remote ${WAN[far]} --port 1194 --tun-mtu ${MTU} --mssfix 0`,
      `--ifconfig ${INNER[site]} ${INNER[far]} --route ${LAN[far].replace('/24', '')} 255.255.255.0`,
      site === 'a' ? '--tls-server --dh none' : '--tls-client',
      `--cert ${file(`${site}.crt`)} --key ${file(`${site}.key`)} --peer-fingerprint ${fingerprints[far]}`,
    ]
    return ['openvpn', ...words.join(' ').split(' ')]
  }
  return { a: command('a'), b: command('b') }
}
