/**
 * IPsec in MP beside a tunnel made by hand with `ip xfrm`, WireGuard, and plain forwarding, over the same two nodes and two hosts
 * (ipsec-lanes.ts), all in one boot of the guest: its kernel has ESP, and its CPU is emulated, which costs cipher and code alike.
 */
import { join } from 'node:path'
import { type Guest, startGuest } from '../../guest/guest.ts'
import { BenchError } from '../error.ts'
import { ratioAtLeast } from '../figure.ts'
import type { Bench, Suite } from '../suite.ts'
import type { LaneName, Result } from './ipsec-inside.ts'

const INSIDE = join(import.meta.dirname, 'ipsec-inside.ts')
const PEERS: Record<Exclude<LaneName, 'branchline'>, string> = {
  xfrm: 'ip xfrm by hand',
  wireguard: 'WireGuard',
  plain: 'plain forwarding',
}

export const suite: Suite = {
  name: 'ipsec',
  about: 'IPsec in MP and a hand-made ip xfrm tunnel, WireGuard, plain forwarding; two nodes in the 6.12 guest',
  packages: [
    { name: 'iperf3', file: '/usr/bin/iperf3' },
    { name: 'wireguard-tools', file: '/usr/bin/wg' },
  ],
  minutes: 15,
  async measure(bench) {
    const guest = await startGuest({ signal: bench.signal })
    try {
      bench.note(`guest: Linux ${guest.kernel}, emulated`)
      report(bench, await inside(guest, bench))
    } finally {
      await guest.stop()
    }
  },
}

async function inside(guest: Guest, { rounds, random, quick, signal }: Bench): Promise<Result> {
  const [megabytes, packets] = quick ? [2, 1000] : [8, 4000]
  const words = [rounds, random.u32(), megabytes, packets].map(String)
  const result = await guest.exec(['node', INSIDE, ...words], { signal })
  if (result.code !== 0)
    throw new BenchError(`the measurement in the guest ended with ${result.code}\n${result.stderr}`)
  return JSON.parse(result.stdout) as Result
}

function report(bench: Bench, { tcp, pps, faults }: Result): void {
  for (const [name, count] of Object.entries(faults)) bench.check(name, count, 0)
  for (const [lane, peer] of Object.entries(PEERS) as [keyof typeof PEERS, string][]) {
    const bar = lane === 'xfrm' ? { bar: ratioAtLeast(0.95) } : {}
    bench.figure({
      name: 'TCP, packets of 1378 B',
      value: tcp.branchline,
      unit: 'Mb/s',
      peer: { name: peer, value: tcp[lane] },
      ...bar,
    })
    bench.figure({
      name: 'frames of 64 B',
      value: pps.branchline,
      unit: 'pps',
      peer: { name: peer, value: pps[lane] },
      ...bar,
    })
  }
  bench.figure({
    name: 'TCP, packets as large as a WAN of 1500 takes',
    value: tcp.branchline,
    unit: 'Mb/s',
    peer: { name: 'ip xfrm by hand, packets of 1446 B', value: tcp['xfrm-full'] },
  })
}
