/** What tests do over a Branches topology: ping, a TCP transfer with its hash, a capture of the WAN. */
import { once } from 'node:events'
import { readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { mpTriggerCodec } from '../../../schema/abi.gen.ts'
import type { Namespace } from './namespace.ts'

const TRANSFER = join(import.meta.dirname, 'transfer.ts')

/** Packets answered of `count`. */
export function ping(from: Namespace, address: string, count: number, options: readonly string[] = []): number {
  // ping fails when nothing came back, which is an answer here.
  const command = ['ping', '-n', '-c', `${count}`, '-i', '0.02', '-W', '2', ...options, address]
  const out = from.execute(['sh', '-c', `${command.join(' ')} || true`])
  return Number(/(\d+) received/.exec(out)?.[1])
}

/** Sends megabytes over TCP. @returns what each end hashed, and how long it took in seconds */
export async function transfer(from: Namespace, to: Namespace, address: string, megabytes: number) {
  const receiver = to.spawn([process.execPath, TRANSFER, 'receive', address, '7001'])
  const received = text(receiver.stdout)
  await once(receiver.stdout ?? raise('no output'), 'data')
  const begin = performance.now()
  const sender = from.spawn([process.execPath, TRANSFER, 'send', address, '7001', String(megabytes)])
  const sent = await text(sender.stdout)
  const seconds = (performance.now() - begin) / 1000
  return { sent: sent.trim(), received: (await received).replace('ready', '').trim(), seconds }
}

/** The node's own packet that mp_ingress makes a probe of. */
export function sendProbe(node: Namespace, vaddr: string, path: number): void {
  const trigger = mpTriggerCodec.encode({ path, round: 0, size: 0, reserved: new Uint8Array(12) })
  const code = `const s = require('node:dgram').createSocket('udp4'); s.send(Buffer.from([${trigger}]), 2426, '${vaddr}', () => s.close())`
  node.execute([process.execPath, '-e', code])
}

/** What connect(2) says within 3 s. */
export function connectError(from: Namespace, address: string): string {
  const code = `const s = require('node:net').connect({ host: '${address}', port: 9, timeout: 3000 })
    s.on('error', e => console.log(e.code)).on('timeout', () => { console.log('timeout'); s.destroy() })`
  return from.execute([process.execPath, '-e', code]).trim()
}

export interface Capture {
  /** Packets that are anything else than UDP with port 2426, ARP and IPv6 neighbour discovery. */
  foreign: string[]
  packets: number
  bytes: Buffer
}

/** Captures a device while `action` runs. */
export async function capture(namespace: Namespace, device: string, action: () => Promise<void>): Promise<Capture> {
  const file = join(tmpdir(), `branchline-${namespace.name}-${process.pid}.pcap`)
  const tcpdump = namespace.spawn(['tcpdump', '-i', device, '-s', '0', '-U', '-B', '65536', '-w', file])
  await once(tcpdump.stderr ?? raise('no output'), 'data')
  await sleep(200)
  await action()
  await sleep(300)
  tcpdump.kill('SIGINT')
  await once(tcpdump, 'exit')
  const lines = (filter: string) => namespace.run(`tcpdump -n -q -r ${file} ${filter}`).split('\n').filter(Boolean)
  const result = {
    foreign: lines('not udp port 2426 and not arp and not icmp6'),
    packets: lines('udp port 2426').length,
    bytes: readFileSync(file),
  }
  rmSync(file)
  return result
}

async function text(stream: NodeJS.ReadableStream | null): Promise<string> {
  let all = ''
  for await (const part of stream ?? []) all += part
  return all
}

function raise(message: string): never {
  throw new Error(message)
}
