/** What suite `ipsec` sends over a lane: bytes over TCP, and small packets from the kernel's own generator. */
import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Namespace } from '../../../tests/net/dataplane/namespace.ts'
import { BenchError } from '../error.ts'
import { HOST_B, type Lane, SINK } from './ipsec-lanes.ts'

/** Starts a server that the rounds' transfers go to. */
export async function startReceiver(lane: Lane): Promise<Disposable> {
  const server = lane.hostB.spawn(['iperf3', '--server'], { stdio: 'ignore' })
  for (let tries = 0; ; tries++) {
    if (lane.hostB.run('ss -Hltn').includes(':5201')) break
    if (tries === 100) throw new BenchError('iperf3 does not listen')
    await sleep(50)
  }
  return { [Symbol.dispose]: () => void server.kill('SIGKILL') }
}

/**
 * One TCP transfer, its ends on two CPUs. @param mss largest segment, so that all lanes send packets of one size; none: what the path takes
 * @returns Mb/s that arrived
 */
export function transfer(lane: Lane, megabytes: number, mss?: number): number {
  const size = mss === undefined ? [] : ['--set-mss', `${mss}`]
  const affinity = cpus().length > 1 ? ['--affinity', '0,1'] : []
  const command = ['iperf3', '--client', HOST_B, '--bytes', `${megabytes}M`, '--json', ...affinity, ...size]
  const { end } = JSON.parse(lane.hostA.execute(command)) as { end: { sum_received: { bits_per_second: number } } }
  return end.sum_received.bits_per_second / 1e6
}

/** Frames of 64 bytes as fast as one CPU sends them. @returns packets per second that host B's device counted */
export async function flood(lane: Lane, packets: number): Promise<number> {
  const before = received(lane.hostB)
  const { started, stopped } = await generate(lane.hostA, packets)
  let [count, last] = [received(lane.hostB), stopped]
  // WireGuard's packets are still in its queues when the last one is sent.
  for (let now = last; count - before < packets && now - last < 100_000; now = microseconds()) {
    await sleep(1)
    const more = received(lane.hostB)
    if (more > count) [count, last] = [more, microseconds()]
  }
  return ((count - before) / (last - started)) * 1e6
}

/** Sets host A's generator up: pktgen, kernel/net/core/pktgen.c, on the first CPU. */
export function aimGenerator(lane: Lane): void {
  const settings = [
    // Without the checksum of the frame, which nobody sends over a veth: 64 bytes on a wire.
    'pkt_size 60',
    'delay 0',
    // A packet that the generator keeps a reference to must not be changed, and every lane changes it.
    'flag !SHARED',
    'src_min 10.1.0.2',
    `dst ${SINK}`,
    `dst_mac ${lane.routerMac}`,
    'udp_src_min 7000',
    'udp_src_max 7000',
    'udp_dst_min 7001',
    'udp_dst_max 7001',
  ]
  lane.hostA.enter(() => {
    pktgen('kpktgend_0', 'add_device eth0')
    for (const setting of settings) pktgen('eth0', setting)
  })
}

/** @returns when the first packet was sent and the last, µs of the monotonic clock */
async function generate(host: Namespace, packets: number): Promise<{ started: number; stopped: number }> {
  host.enter(() => {
    pktgen('eth0', `count ${packets}`)
    pktgen('pgctrl', 'start')
  })
  // `start` waits for a thread that has begun, which it may not have.
  for (let tries = 0; tries < 500; tries++) {
    const report = host.enter(() => readFileSync('/proc/thread-self/net/pktgen/eth0', 'utf8'))
    const [, sent, started, stopped] = /pkts-sofar: (\d+).*started: (\d+)us\s+stopped: (\d+)us/s.exec(report) ?? []
    if (Number(sent) === packets && report.includes('Result: OK'))
      return { started: Number(started), stopped: Number(stopped) }
    await sleep(10)
  }
  throw new BenchError('pktgen does not come to an end')
}

function microseconds(): number {
  return Number(process.hrtime.bigint() / 1000n)
}

function pktgen(file: string, command: string): void {
  writeFileSync(`/proc/thread-self/net/pktgen/${file}`, `${command}\n`)
}

export function loadGenerator(): void {
  execFileSync('modprobe', ['pktgen'])
}

function received(host: Namespace): number {
  const table = host.enter(() => readFileSync('/proc/thread-self/net/dev', 'utf8'))
  const fields = /^\s*eth0:\s*(.*)$/m.exec(table)?.[1]?.split(/\s+/)
  return Number(fields?.[1])
}
